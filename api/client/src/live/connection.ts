// The connection to Pusher, and the subscriptions to its channels.

import pusherModule, { type Options } from "pusher-js"
import type { PusherOptions } from "../client.js"
import type { Api } from "../http/api.js"
import type { ParleyError } from "../http/errors.js"
import { Value } from "../store/value.js"
import type { Subscribable } from "../types.js"
import { type AuthorizationCallback, Authorizer } from "./authorizer.js"
import { encodeUserId } from "./channel-names.js"
import { type ChatPresence, createPresence } from "./presence.js"
import { Reconnector } from "./reconnector.js"

// pusher-js would take 150 s to find that a connection is dead, as after a change of the network. This takes 40 s.
const ACTIVITY_TIMEOUT_MS = 30_000 // without a message, until a ping
const PONG_TIMEOUT_MS = 10_000
const CONNECT_TIMEOUT_MS = 10_000 // of an attempt: Pusher's default, which a slow network needs

/** `connecting`: also between two attempts. `disconnected`: before `connect()`, and after `disconnect()`. */
export type LiveStatus = "connecting" | "connected" | "disconnected"

export interface LiveHandlers {
  /** Called after each success, also after a reconnection; with the IDs of the subscribers of a presence channel. */
  onSubscribed?: (members?: ReadonlySet<string>) => void
  /** Also called for `pusher_internal:member_added` and `…_removed`. `userId` is the sender of a client event. */
  onEvent: (event: string, data: unknown, userId?: string) => void
  /** The API rejected the authorization (401 or 403), which is not retried until the next `connect()`. */
  onRejected?: (error: ParleyError) => void
}

export interface LiveSubscription {
  unsubscribe(): void
  /** Send a client event. Returns false if it is not subscribed at present. */
  trigger(event: string, data: unknown): boolean
}

export interface LiveConnection {
  readonly status: Subscribable<LiveStatus>
  /** Connect, and stay connected. Subscribes again to channels that were rejected. */
  connect(): void
  /** Close the connection; the subscriptions wait for the next `connect()`. */
  disconnect(): void
  /** Subscribe to a channel, and again after each reconnection. A channel has one subscription at a time. */
  subscribe(channel: string, handlers: LiveHandlers): LiveSubscription
  /** Create the presence of a chat, as the user sees it. */
  createPresence(chatId: string): ChatPresence
}

export type Pusher = InstanceType<typeof pusherModule.default>

/** The types of pusher-js declare an ES module, whereas the package exports the class itself. */
export const PusherClass = pusherModule.default ?? (pusherModule as unknown as typeof pusherModule.default)

/** Create a connection of a user, which signs in at Pusher. */
export async function createConnection(options: PusherOptions & { userId: string }, api: Api): Promise<LiveConnection> {
  return new Connection(options, await encodeUserId(options.userId), api)
}

/** A message as pusher-js receives it. */
interface Message {
  event: string
  channel?: string
  data?: unknown
  user_id?: string
}

class Connection implements LiveConnection {
  readonly status = new Value<LiveStatus>("disconnected")
  readonly #options: PusherOptions & { userId: string }
  readonly #signInChannel: string
  readonly #authorizer: Authorizer
  readonly #reconnector = new Reconnector(this.status, () => this.#createPusher())
  readonly #subscriptions = new Map<string, LiveHandlers>()

  constructor(options: PusherOptions & { userId: string }, encodedUserId: string, api: Api) {
    this.#options = options
    this.#signInChannel = `#server-to-user-${encodedUserId}`
    this.#authorizer = new Authorizer(api)
    this.status.subscribe(() => {
      if (this.status.getSnapshot() !== "connected") this.#reset()
    })
  }

  connect(): void {
    for (const channel of this.#subscriptions.keys()) this.#pusher?.subscribe(channel)
    this.#reconnector.start()
  }

  disconnect(): void {
    this.#reconnector.stop()
  }

  subscribe(channel: string, handlers: LiveHandlers): LiveSubscription {
    this.#subscriptions.set(channel, handlers)
    this.#pusher?.subscribe(channel)
    return {
      unsubscribe: () => {
        if (this.#subscriptions.get(channel) !== handlers) return
        this.#subscriptions.delete(channel)
        this.#pusher?.unsubscribe(channel)
      },
      trigger: (event, data) => {
        const subscribed = this.#pusher?.channel(channel)
        return subscribed?.subscribed ? subscribed.trigger(event, data) : false
      },
    }
  }

  get #pusher(): Pusher | undefined {
    return this.#reconnector.pusher
  }

  createPresence(chatId: string): ChatPresence {
    return createPresence(this, chatId, this.#options.userId)
  }

  #createPusher(): Pusher {
    const pusher = new PusherClass(this.#options.key, this.#createOptions())
    pusher.connection.bind("message", (message: Message) => this.#receive(pusher, message))
    // Pusher terminates the connections of a former member only if they are signed in.
    pusher.signin()
    for (const channel of this.#subscriptions.keys()) pusher.subscribe(channel)
    return pusher
  }

  #createOptions(): Options {
    const { cluster = "", host, port, useTLS = true } = this.#options
    return {
      cluster,
      ...(host && { wsHost: host, wsPort: port ?? 80, wssPort: port ?? 443 }),
      forceTLS: useTLS,
      enabledTransports: ["ws"], // the others load scripts from Pusher's hosts
      activityTimeout: ACTIVITY_TIMEOUT_MS,
      pongTimeout: PONG_TIMEOUT_MS,
      unavailableTimeout: CONNECT_TIMEOUT_MS,
      userAuthentication: {
        customHandler: ({ socketId }, callback) =>
          this.#authorizer.authorize(socketId, this.#signInChannel, callback as AuthorizationCallback),
      },
      channelAuthorization: {
        customHandler: ({ socketId, channelName }, callback) =>
          this.#authorizer.authorize(socketId, channelName, (error, authorization) => {
            callback(error, authorization)
            if (error) this.#rejectChannel(channelName, error)
          }),
      },
    }
  }

  /** Unsubscribe, because pusher-js would otherwise request the authorization again after each reconnection. */
  #rejectChannel(channel: string, error: ParleyError): void {
    this.#pusher?.unsubscribe(channel)
    this.#subscriptions.get(channel)?.onRejected?.(error)
  }

  #receive(pusher: Pusher, { event, channel = "", data, user_id }: Message): void {
    const handlers = this.#subscriptions.get(channel)
    if (event === "pusher_internal:subscription_succeeded") {
      this.#reconnector.onSubscribed()
      const { presence } = (data ?? {}) as { presence?: { ids: string[] } }
      handlers?.onSubscribed?.(presence && new Set(presence.ids))
    } else if (event === "pusher:subscription_error") {
      const rejected = pusher.channel(channel)
      if (rejected) rejected.subscriptionPending = false // or pusher-js would never subscribe to it again
    } else handlers?.onEvent(event, data, user_id)
  }

  /** A channel that was left before the response is subscribed again by pusher-js, unless it is removed in between. */
  #reset(): void {
    this.#authorizer.reset()
    for (const { name } of this.#pusher?.allChannels() ?? []) {
      if (!this.#subscriptions.has(name)) this.#pusher?.unsubscribe(name)
    }
  }
}
