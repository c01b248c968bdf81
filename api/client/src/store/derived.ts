// A value that is computed from other data when it is read.

import type { Subscribable } from "../types.js"
import { Listeners } from "./listeners.js"

/** A subscribable value that is computed when it is read after a change. Several changes at once notify once. */
export class Derived<T> implements Subscribable<T> {
  readonly #compute: () => T
  readonly #listeners = new Listeners()
  #value: { current: T } | undefined
  #isNotifying = false

  constructor(compute: () => T) {
    this.#compute = compute
  }

  getSnapshot = (): T => {
    this.#value ??= { current: this.#compute() }
    return this.#value.current
  }

  subscribe = this.#listeners.subscribe

  /** Discard the value, because its data has changed, and notify the subscribers in a microtask. */
  invalidate(): void {
    this.#value = undefined
    if (this.#isNotifying) return
    this.#isNotifying = true
    queueMicrotask(() => {
      this.#isNotifying = false
      this.#listeners.notify()
    })
  }
}
