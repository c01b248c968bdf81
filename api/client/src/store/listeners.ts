// The subscribers of a value.

/** The subscribers of a value, and the `subscribe` of a `Subscribable`. */
export class Listeners {
  readonly #all = new Set<() => void>()

  /** Call `onChange` at each notification, until the returned function is called. */
  subscribe = (onChange: () => void): (() => void) => {
    const listener = () => onChange() // A function that subscribes twice is called twice.
    this.#all.add(listener)
    return () => void this.#all.delete(listener)
  }

  /** Call the subscribers, except for those that subscribe meanwhile. */
  notify(): void {
    for (const listener of [...this.#all]) listener()
  }
}
