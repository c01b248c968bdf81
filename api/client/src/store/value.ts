// A value that changes over time.

import type { Subscribable } from "../types.js"
import { Listeners } from "./listeners.js"

/** A subscribable value that is set by its owner. */
export class Value<T> implements Subscribable<T> {
  #value: T
  readonly #listeners = new Listeners()

  constructor(initial: T) {
    this.#value = initial
  }

  getSnapshot = (): T => this.#value

  subscribe = this.#listeners.subscribe

  /** Replace the value; calls the subscribers if it is another one. */
  set(value: T): void {
    if (Object.is(value, this.#value)) return
    this.#value = value
    this.#listeners.notify()
  }
}
