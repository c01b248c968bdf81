// The network between clients and the simulated server: latencies and faults of requests, and Pusher's connections.

import { ParleyError } from "../src/http/errors.js"
import type { LiveConnection, LiveHandlers, LiveStatus, LiveSubscription } from "../src/live/connection.js"
import { type ChatPresence, createPresence } from "../src/live/presence.js"
import { Value } from "../src/store/value.js"
import { SimulatedApi } from "./simulated-api.js"
import { eventUser, liveEvent, truncate } from "./simulated-events.js"
import { isSmall, publicUser } from "./simulated-json.js"
import type { LogEntry, ServerChat, SimulatedServer } from "./simulated-server.js"

/** The probabilities of faults. */
export interface Faults {
  lostRequest: number
  lostResponse: number
  rateLimit: number
  staleRead: number
  lostEvent: number
  repeatedEvent: number
}

export const NO_FAULTS: Faults = {
  lostRequest: 0,
  lostResponse: 0,
  rateLimit: 0,
  staleRead: 0,
  lostEvent: 0,
  repeatedEvent: 0,
}
export const FAULTS: Faults = {
  lostRequest: 0.1,
  lostResponse: 0.1,
  rateLimit: 0.1,
  staleRead: 0.4,
  lostEvent: 0.05,
  repeatedEvent: 0.1,
}

const delay = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

export class SimulatedNetwork {
  readonly api: SimulatedApi
  readonly connections = new Set<SimulatedConnection>()
  readonly requests: string[] = []
  faults = NO_FAULTS
  isOffline = false
  /** The longest latencies, in milliseconds. */
  requestLatency = 100
  eventLatency = 200
  pending = 0
  readonly #random: () => number
  readonly #publishAt = new Map<string, number>()
  readonly #published = new Map<string, LogEntry[]>()
  readonly #lastWrites = new Map<string, number>()

  constructor(
    readonly server: SimulatedServer,
    random: () => number,
  ) {
    this.#random = random
    this.api = new SimulatedApi(server)
    server.onEvent = (entry) => this.#schedule(entry)
    server.onUserUpdated = ({ id }) => this.#publishUser(id)
  }

  latency(): number {
    return this.#random() * this.requestLatency
  }

  occurs(fault: keyof Faults): boolean {
    return this.#random() < this.faults[fault]
  }

  /** Send a request; `token` is the ID of the signed-in user. */
  async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url)
    this.requests.push(`${request.method} ${url.pathname}${url.search}`)
    this.pending += 1
    try {
      const { headers, method } = request
      const text = headers.get("Content-Type")?.startsWith("application/json") ? await request.text() : "null"
      await delay(this.latency())
      if (this.isOffline || this.occurs("lostRequest")) throw new TypeError("The request was lost.")
      const body = JSON.parse(text)
      const response = this.#execute({ method, url, headers, body })
      await delay(this.latency())
      if (this.isOffline || this.occurs("lostResponse")) throw new TypeError("The response was lost.")
      return response
    } finally {
      this.pending -= 1
    }
  }

  #execute({ method, url, headers, body }: { method: string; url: URL; headers: Headers; body: unknown }): Response {
    if (this.occurs("rateLimit")) return respond(429, { error: { code: "rate_limited" } }, { "Retry-After": "1" })
    const userId = headers.get("Authorization")?.slice("Bearer ".length) ?? ""
    if (!this.server.database.users[userId]) return respond(401, { error: { code: "unauthorized" } })
    const isFresh = method !== "GET" || headers.get("Cache-Control") === "no-cache" || !this.occurs("staleRead")
    const replicas = this.server.snapshots.filter(
      ({ transaction }) => transaction >= (this.#lastWrites.get(userId) ?? 0),
    )
    const replica = isFresh ? undefined : replicas[Math.floor(this.#random() * replicas.length)]
    const { database } = this.server
    const response = this.api.handle({ userId, method, url, headers, body, database: replica ?? database })
    if (method !== "GET") this.#lastWrites.set(userId, this.server.database.transaction)
    return respond(response.status, response.body, response.headers)
  }

  /** Publish an event later, after the earlier ones of its chat. */
  #schedule(entry: LogEntry): void {
    const earliest = (this.#publishAt.get(entry.chatId) ?? 0) + 1
    const at = Math.max(earliest, Date.now() + Math.floor(this.#random() * this.eventLatency))
    this.#publishAt.set(entry.chatId, at)
    setTimeout(() => {
      const published = [...(this.#published.get(entry.chatId) ?? []), entry].slice(-3)
      this.#published.set(entry.chatId, published)
      this.#publish(entry)
      if (this.occurs("repeatedEvent")) for (const repeated of published) this.#publish(repeated)
    }, at - Date.now())
  }

  #publish(entry: LogEntry): void {
    const { server } = this
    const { chatId, event, data } = entry
    const chat = server.database.chats[chatId] as ServerChat
    const isPlain = event === "chat:updated" || event === "chat:deleted"
    const payload = truncate(entry, server.maxEventContent)
    if (isPlain || event.startsWith("message:")) this.#deliver(`private-chat-${chatId}`, event, payload)
    const members = chat.members.filter(({ joinedSeq }) => joinedSeq <= entry.seq).map(({ userId }) => userId)
    const recipients = entry.recipients ?? members
    if (isPlain) for (const userId of recipients) this.#deliver(userChannelOf(userId), event, data)
    const own = eventUser(entry)
    const isOwn = event === "member:added" || event === "member:updated" || entry.nonce !== undefined
    const small = entry.isSmall ? recipients : members.filter((userId) => isOwn && userId === own)
    const all = new Set([...small, ...(entry.removedUser === undefined ? [] : [entry.removedUser])])
    for (const userId of all) this.#deliver(userChannelOf(userId), "chat:event", liveEvent(server, entry, userId))
    if (entry.removedUser !== undefined) this.#terminate(chatId, entry.removedUser)
  }

  #deliver(channel: string, event: string, data: unknown): void {
    for (const connection of this.connections) {
      if (!this.occurs("lostEvent")) connection.receive(channel, event, structuredClone(data))
    }
  }

  #publishUser(userId: string): void {
    const contacts = Object.values(this.server.database.chats)
      .filter((chat) => isSmall(chat) && chat.members.some((member) => member.userId === userId))
      .flatMap(({ members }) => members.map((member) => member.userId))
    setTimeout(() => {
      const user = publicUser(this.server.database, userId)
      for (const contact of new Set([userId, ...contacts])) this.#deliver(userChannelOf(contact), "user:updated", user)
    }, this.#random() * this.eventLatency)
  }

  /** Disconnect a removed member who was authorized for a channel of the chat (code 4009). */
  #terminate(chatId: string, userId: string): void {
    for (const connection of this.connections) {
      if (connection.userId === userId && connection.wasAuthorizedFor(chatId)) connection.close()
    }
  }
}

export function userChannelOf(userId: string): string {
  return `private-user-${btoa(userId).replaceAll("=", "")}`
}

function respond(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  const text = body === undefined ? null : JSON.stringify(body)
  return new Response(text, { status, headers: { ...headers, "Content-Type": "application/json" } })
}

interface Channel {
  handlers: LiveHandlers
  isSubscribed: boolean
  isRejected: boolean
}

/** A connection of a user's device, which reconnects after a second. */
export class SimulatedConnection implements LiveConnection {
  readonly status = new Value<LiveStatus>("disconnected")
  readonly #channels = new Map<string, Channel>()
  /** The channels that were authorized on this socket. */
  readonly #authorized = new Set<string>()
  #isWanted = false
  /** Increases with each connection. */
  #socket = 0

  /** `getToken` returns the ID of the user who is signed in on the device. */
  constructor(
    readonly network: SimulatedNetwork,
    readonly userId: string,
    readonly getToken: () => string,
  ) {
    network.connections.add(this)
  }

  createPresence(chatId: string): ChatPresence {
    return createPresence(this, chatId, this.userId)
  }

  connect(): void {
    for (const channel of this.#channels.values()) channel.isRejected = false
    if (this.#isWanted) void this.#authorize()
    else {
      this.#isWanted = true
      this.#open()
    }
  }

  disconnect(): void {
    this.#isWanted = false
    this.#socket += 1
    this.#authorized.clear()
    for (const channel of this.#channels.values()) channel.isSubscribed = false
    this.status.set("disconnected")
  }

  /** Lose the connection. */
  close(): void {
    if (!this.#isWanted) return
    this.disconnect()
    this.#isWanted = true
    const socket = this.#socket
    setTimeout(() => socket === this.#socket && this.#isWanted && this.#open(), 1000)
  }

  subscribe(name: string, handlers: LiveHandlers): LiveSubscription {
    const channel = { handlers, isSubscribed: false, isRejected: false }
    this.#channels.set(name, channel)
    void this.#authorize()
    return {
      unsubscribe: () => this.#channels.get(name) === channel && this.#channels.delete(name),
      trigger: () => true,
    } as LiveSubscription
  }

  wasAuthorizedFor(chatId: string): boolean {
    return [...this.#authorized].some((name) => name.endsWith(chatId))
  }

  receive(name: string, event: string, data: unknown): void {
    const channel = this.#channels.get(name)
    if (channel?.isSubscribed) channel.handlers.onEvent(event, data)
  }

  #open(): void {
    this.status.set("connecting")
    const socket = this.#socket
    setTimeout(() => {
      if (socket !== this.#socket) return
      if (this.network.isOffline) return this.close()
      this.status.set("connected")
      void this.#authorize()
    }, this.network.latency())
  }

  /** Authorize all channels that are not, in one request. */
  async #authorize(): Promise<void> {
    await Promise.resolve()
    const socket = this.#socket
    const due = [...this.#channels].filter(([, { isSubscribed, isRejected }]) => !isSubscribed && !isRejected)
    if (this.status.getSnapshot() !== "connected" || !due.length) return
    this.network.requests.push("POST /api/pusher/auth")
    await delay(this.network.latency())
    if (socket !== this.#socket) return
    for (const [name, channel] of due) {
      if (this.#channels.get(name) !== channel || channel.isSubscribed) continue
      const status = this.#check(name)
      channel.isSubscribed = status === 200
      channel.isRejected = status !== 200
      if (status === 200) this.#authorized.add(name)
      if (status === 200) channel.handlers.onSubscribed?.(new Set())
      else
        channel.handlers.onRejected?.(
          new ParleyError("rejected", status === 401 ? "unauthorized" : "forbidden", status),
        )
    }
  }

  #check(name: string): number {
    const token = this.getToken()
    const { users, chats } = this.network.server.database
    if (!users[token]) return 401
    const chat = chats[name.replace(/^(private|presence)-chat-/, "")]
    if (chat) return !chat.isDeleted && chat.members.some(({ userId }) => userId === token) ? 200 : 403
    return name === userChannelOf(token) ? 200 : 403
  }
}
