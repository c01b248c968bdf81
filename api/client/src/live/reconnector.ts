// pusher-js, kept connected.

import type { Value } from "../store/value.js"
import { computeBackoff } from "./backoff.js"
import type { LiveStatus, Pusher } from "./connection.js"

const STABLE_MS = 10_000 // a subscription that lasted as long ends a series of failures

/**
 * Connects pusher-js, and connects it again after each loss, with backoff. pusher-js by itself stays disconnected after
 * codes 4001 to 4099, of which 4009 follows each removal of a member; it reconnects at once after codes from 4200, after
 * a second after others, and after up to a minute if the server is down. So each loss ends its own reconnection.
 */
export class Reconnector {
  pusher: Pusher | undefined
  readonly #status: Value<LiveStatus>
  readonly #create: () => Pusher
  /** The listeners for events of the page; undefined before `start()` and after `stop()`. */
  #page: AbortController | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  /** Whether pusher-js changes its state because this class called it. */
  #isOwnChange = false
  #failures = 0
  #subscribedAt: number | undefined

  /** `create` creates the instance of pusher-js, at the first attempt. */
  constructor(status: Value<LiveStatus>, create: () => Pusher) {
    this.#status = status
    this.#create = create
  }

  /** Connect and stay connected. */
  start(): void {
    if (this.#page) return
    this.#page = new AbortController()
    this.#listen(this.#page.signal)
    this.#failures = 0
    this.#attempt()
  }

  /** Close the connection, and remove all timers and listeners. */
  stop(): void {
    this.#page?.abort()
    this.#page = undefined
    this.#suspend()
    this.#status.set("disconnected")
  }

  /** Report that a subscription succeeded. */
  onSubscribed(): void {
    this.#subscribedAt ??= Date.now()
  }

  /**
   * End the wait when the network or the page is back. A lost network closes the connection at once, but is checked by
   * attempts, since browsers may be wrong. A page in the back/forward cache must have no connection.
   */
  #listen(signal: AbortSignal): void {
    const listen = (event: string, handler: () => void) => globalThis.addEventListener?.(event, handler, { signal })
    listen("online", this.#attempt)
    listen("pageshow", this.#attempt)
    listen("pagehide", this.#suspend)
    listen("offline", () => {
      this.#suspend()
      this.#retry()
    })
    listen("visibilitychange", () => document.visibilityState === "visible" && this.#attempt())
  }

  #suspend = (): void => {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#changeOwnState((pusher) => pusher.disconnect())
    if (this.#page) this.#status.set("connecting")
  }

  #attempt = (): void => {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.pusher ??= this.#bind(this.#create())
    if (this.#status.getSnapshot() !== "connected") this.#status.set("connecting")
    this.#changeOwnState((pusher) => pusher.connect())
  }

  #bind(pusher: Pusher): Pusher {
    const { connection } = pusher
    connection.bind("state_change", ({ current }: { current: string }) => {
      if (current === "connected") this.#status.set("connected")
      else if (!this.#isOwnChange) this.#onLoss()
    })
    connection.bind("connecting_in", this.#onLoss)
    connection.bind("error", () => {
      if (connection.state !== "connected") this.#onLoss() // of a connection, it is an error of one message
    })
    return pusher
  }

  /** pusher-js sets its timer after the event, hence the microtask. */
  #onLoss = (): void => {
    queueMicrotask(() => {
      this.#changeOwnState((pusher) => pusher.disconnect())
      this.#retry()
    })
  }

  #retry(): void {
    if (!this.#page || this.#timer) return
    const isStable = this.#subscribedAt !== undefined && Date.now() - this.#subscribedAt >= STABLE_MS
    if (isStable) this.#failures = 0
    this.#subscribedAt = undefined
    this.#status.set("connecting")
    this.#timer = setTimeout(this.#attempt, computeBackoff(this.#failures++))
  }

  #changeOwnState(change: (pusher: Pusher) => void): void {
    this.#isOwnChange = true
    if (this.pusher) change(this.pusher)
    this.#isOwnChange = false
  }
}
