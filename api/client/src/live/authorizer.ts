// Authorization at Pusher: all that pusher-js requires at the same time, in one request.

import { type Api, unwrap } from "../http/api.js"
import { ParleyError } from "../http/errors.js"
import { computeBackoff } from "./backoff.js"

const MAX_BATCH = 100 // channels in a request
const MAX_GRANTED = 1000 // authorizations that are kept

/** What pusher-js sends to Pusher: the signature, and what is signed. */
export interface Authorization {
  auth: string
  channel_data?: string
  user_data?: string
}

/** Receives the authorization, or the error of a rejection. It is not called if the socket has changed. */
export type AuthorizationCallback = (error: ParleyError | null, authorization: Authorization | null) => void

/**
 * Authorizes the channels of a socket. `#server-to-user-{id}` signs the user in. Authorizations are kept as long as the
 * socket, so that a chat that is opened again needs no request.
 */
export class Authorizer {
  readonly #api: Api
  #socketId = ""
  #granted = new Map<string, Authorization>()
  #queue = new Map<string, AuthorizationCallback>()
  #socket = new AbortController()
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(api: Api) {
    this.#api = api
  }

  /** Authorize a channel. A rejection is final; other failures are retried as long as the socket exists. */
  authorize(socketId: string, channel: string, callback: AuthorizationCallback): void {
    if (socketId !== this.#socketId) this.reset()
    this.#socketId = socketId
    const granted = this.#granted.get(channel)
    if (granted) {
      callback(null, granted)
      return
    }
    const { signal } = this.#socket
    if (this.#queue.size === 0) queueMicrotask(() => this.#flush(signal, 0))
    this.#queue.set(channel, callback)
  }

  /** Drop the authorizations and the requests of the socket. */
  reset(): void {
    this.#socket.abort()
    this.#socket = new AbortController()
    this.#granted.clear()
    this.#queue.clear()
    clearTimeout(this.#timer)
  }

  #flush(signal: AbortSignal, failures: number): void {
    if (signal.aborted) return
    const queue = [...this.#queue]
    this.#queue.clear()
    for (let start = 0; start < queue.length; start += MAX_BATCH) {
      void this.#authorizeBatch(new Map(queue.slice(start, start + MAX_BATCH)), signal, failures)
    }
  }

  async #authorizeBatch(batch: Map<string, AuthorizationCallback>, signal: AbortSignal, failures: number) {
    let granted: Record<string, Authorization | null> = {}
    let rejection: ParleyError | undefined
    try {
      granted = await this.#fetch([...batch.keys()], signal)
    } catch (error) {
      if (signal.aborted) return
      if (!isRejection(error)) {
        for (const [channel, callback] of batch) this.#queue.set(channel, callback)
        clearTimeout(this.#timer)
        this.#timer = setTimeout(() => this.#flush(signal, failures + 1), computeBackoff(failures))
        return
      }
      rejection = error
    }
    if (this.#granted.size >= MAX_GRANTED) this.#granted.clear()
    for (const [channel, callback] of batch) {
      if (signal.aborted) return
      const authorization = granted[channel]
      if (authorization) {
        this.#granted.set(channel, authorization)
        callback(null, authorization)
      } else callback(rejection ?? new ParleyError(`Not authorized: ${channel}`, "forbidden", 403), null)
    }
  }

  async #fetch(channels: string[], signal: AbortSignal): Promise<Record<string, Authorization | null>> {
    const body = new URLSearchParams({ socket_id: this.#socketId })
    for (const channel of channels) body.append("channel_name[]", channel)
    const call = this.#api.POST("/api/pusher/auth", {
      body: { socket_id: this.#socketId },
      bodySerializer: () => body,
      headers: { "Content-Type": "application/x-www-form-urlencoded" },
      signal,
    })
    const { data } = await unwrap(call)
    return (data as { channels: Record<string, Authorization | null> }).channels
  }
}

function isRejection(error: unknown): error is ParleyError {
  return error instanceof ParleyError && (error.status === 401 || error.status === 403)
}
