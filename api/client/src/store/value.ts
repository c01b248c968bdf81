// A value that changes over time.

import type { Subscribable } from "../types.js"

/** A subscribable value that is set by its owner. */
export class Value<T> implements Subscribable<T> {
  #value: T
  readonly #listeners = new Set<() => void>()

  constructor(initial: T) {
    this.#value = initial
  }

  getSnapshot = (): T => this.#value

  subscribe = (onChange: () => void): (() => void) => {
    const listener = () => onChange()
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Replace the value; calls the subscribers if it is another one. */
  set(value: T): void {
    if (Object.is(value, this.#value)) return
    this.#value = value
    for (const listener of [...this.#listeners]) listener()
  }
}
