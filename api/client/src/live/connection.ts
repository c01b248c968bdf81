// The connection to Pusher.

import type { ParleyError } from "../http/errors.js"
import type { Subscribable } from "../types.js"

/** The Pusher app: `key`, and `cluster` or the `host` of another server for Pusher's protocol. */
export interface PusherOptions {
  key: string
  cluster?: string
  host?: string
  /** The port of `host`; by default 443, or 80 without TLS. */
  port?: number
  /** True by default. */
  useTLS?: boolean
}

export type LiveStatus = "connecting" | "connected" | "disconnected"

export interface LiveHandlers {
  /** Called after each success, also after a reconnection; with the IDs of the subscribers of a presence channel. */
  onSubscribed?: (members?: ReadonlySet<string>) => void
  /** `userId` is the sender of a client event. */
  onEvent: (event: string, data: unknown, userId?: string) => void
  /** The API rejected the authorization (401 or 403), which is not retried until the next `connect()`. */
  onRefused?: (error: ParleyError) => void
}

export interface LiveSubscription {
  unsubscribe(): void
  /** Send a client event; without effect while there is no subscription. */
  trigger(event: string, data: unknown): void
}

export interface LiveConnection {
  readonly status: Subscribable<LiveStatus>
  /** Idempotent; after a refusal, subscribes again. */
  connect(): void
  disconnect(): void
  /** Subscribe to a channel, and again after each reconnection. Each channel has at most one subscription. */
  subscribe(channel: string, handlers: LiveHandlers): LiveSubscription
}
