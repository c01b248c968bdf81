// A server of Pusher's protocol without a network, and an API that authorizes channels, for the real pusher-js.

import type { TestContext } from "node:test"
import { setImmediate as nextTurn } from "node:timers/promises"
import { createApi } from "../src/http/api.js"
import { createConnection, type LiveConnection, type LiveHandlers, PusherClass } from "../src/live/connection.js"

export const SIGN_IN = "#server-to-user-YWxpY2U"
export const OWN = "private-user-YWxpY2U"

interface Frame {
  event: string
  channel?: string
  data?: { channel?: string; auth?: string; user_data?: string }
}

/** A request to authorize channels; `respond` sends the response. */
export class AuthorizationRequest {
  readonly socketId: string
  readonly channels: string[]
  readonly signal: AbortSignal
  readonly response: Promise<Response>
  respond: (response: Response) => void = () => {}

  constructor(body: string, signal: AbortSignal) {
    const form = new URLSearchParams(body)
    this.socketId = form.get("socket_id") ?? ""
    this.channels = form.getAll("channel_name[]")
    this.signal = signal
    this.response = new Promise((resolve, reject) => {
      this.respond = resolve
      signal.addEventListener("abort", () => reject(signal.reason))
    })
  }

  /** Authorize the channels but those that are rejected. */
  grant(...rejected: string[]): void {
    const channels = this.channels.map((name) => [name, rejected.includes(name) ? null : this.#sign(name)])
    this.respond(Response.json({ channels: Object.fromEntries(channels) }))
  }

  reject(status: number, code: string): void {
    this.respond(Response.json({ error: { code, message: "Rejected" } }, { status }))
  }

  #sign(name: string) {
    const auth = `${this.socketId} ${name}`
    if (name === SIGN_IN) return { auth, user_data: JSON.stringify({ id: "YWxpY2U" }) }
    return name.startsWith("presence-") ? { auth, channel_data: JSON.stringify({ user_id: "alice" }) } : { auth }
  }
}

/** The server's end of a connection, with the interface of a browser's WebSocket at the other. */
export class SimulatedSocket {
  onopen?: (() => void) | undefined
  onmessage?: ((message: { data: string }) => void) | undefined
  onclose?: ((event: { code: number; reason: string; wasClean: boolean }) => void) | undefined
  onerror?: ((error: Error) => void) | undefined
  /** What the client sent, besides pings. */
  readonly frames: Frame[] = []
  isClosed = false
  /** Whether pings have no answer. */
  isSilent = false

  constructor(readonly id: string) {}

  establish(): void {
    this.onopen?.()
    this.emit("pusher:connection_established", { socket_id: this.id, activity_timeout: 120 })
  }

  emit(event: string, data: unknown, channel?: string, userId?: string): void {
    const frame = { event, channel, user_id: userId, data: typeof data === "string" ? data : JSON.stringify(data) }
    this.onmessage?.({ data: JSON.stringify(frame) })
  }

  send(content: string): void {
    const frame = JSON.parse(content) as Frame
    if (frame.event !== "pusher:ping") this.frames.push(frame)
    else if (!this.isSilent) this.emit("pusher:pong", {})
  }

  /** Confirm the sign-in and all subscriptions that have a valid signature. */
  accept(online: string[] = []): void {
    for (const { event, data } of this.frames.splice(0)) {
      const channel = data?.channel ?? ""
      const hash = Object.fromEntries(online.map((user) => [user, {}]))
      const presence = { presence: { ids: online, hash, count: online.length } }
      if (event === "pusher:signin") this.emit("pusher:signin_success", { user_data: data?.user_data })
      if (event !== "pusher:subscribe" || channel.startsWith("#")) continue
      if (data?.auth !== `${this.id} ${channel}`) throw new Error(`Invalid signature of ${channel}`)
      this.emit("pusher_internal:subscription_succeeded", channel.startsWith("presence-") ? presence : {}, channel)
    }
  }

  /** The client closes the connection. */
  close(): void {
    if (!this.isClosed) this.end(1000)
  }

  /** Close the connection with a code. */
  end(code: number): void {
    this.isClosed = true
    this.onclose?.({ code, reason: "", wasClean: true })
  }
}

/** Pusher and the API; pusher-js connects to them as long as the test runs, by a simulated clock. */
export class SimulatedPusher {
  readonly sockets: SimulatedSocket[] = []
  readonly requests: AuthorizationRequest[] = []
  /** Decides about a new connection. */
  onConnect = (socket: SimulatedSocket): void => socket.establish()
  /** Decides about a new request. */
  onRequest = (request: AuthorizationRequest): void => request.grant()
  readonly #test: TestContext
  #attempts = 1

  constructor(test: TestContext) {
    test.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] })
    this.#test = test
  }

  /** Create a connection of the user `alice`. */
  async createConnection(): Promise<LiveConnection> {
    const connect = (): SimulatedSocket => {
      const socket = new SimulatedSocket(`1.${this.#attempts++}`)
      queueMicrotask(() => this.#accept(socket))
      return socket
    }
    this.#test.mock.method(PusherClass.Runtime, "createWebSocket", connect as never)
    const api = createApi("http://api", async (request) => {
      const authorization = new AuthorizationRequest(await request.text(), request.signal)
      this.requests.push(authorization)
      this.onRequest(authorization)
      return authorization.response
    })
    const connection = await createConnection({ key: "key", host: "pusher", userId: "alice" }, api)
    this.#test.after(() => connection.disconnect())
    return connection
  }

  /** pusher-js starts some attempts of its own, which the client aborts at once. */
  #accept(socket: SimulatedSocket): void {
    if (socket.isClosed) return
    this.sockets.push(socket)
    this.onConnect(socket)
  }

  /** The newest connection. */
  get socket(): SimulatedSocket {
    const socket = this.sockets.at(-1)
    if (!socket) throw new Error("There is no connection")
    return socket
  }

  /** Let time pass, in steps after each of which all that is due without a timer is done. */
  async pass(ms: number, step = 100): Promise<void> {
    for (let passed = 0; passed < ms; passed += step) {
      this.#test.mock.timers.tick(Math.min(step, ms - passed))
      for (let turn = 0; turn < 4; turn += 1) await nextTurn()
    }
  }

  /** Let all happen that is due. pusher-js sends by timers without a delay. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 8; turn += 1) {
      await nextTurn()
      await this.pass(1, 1)
    }
  }

  /** Connect, and confirm all. */
  async start(connection: LiveConnection, online: string[] = []): Promise<void> {
    connection.connect()
    await this.settle()
    this.socket.accept(online)
    await this.settle()
  }
}

/** Record what a subscription reports. */
export function record(connection: LiveConnection, channel: string) {
  const log: unknown[] = []
  const handlers: LiveHandlers = {
    onSubscribed: (members) => log.push(members ? [...members] : "subscribed"),
    onEvent: (event, data, userId) => log.push([event, data, userId]),
    onRejected: ({ code }) => log.push(code),
  }
  return { log, subscription: connection.subscribe(channel, handlers) }
}

/** Create a connection that subscribes to the user's own channel. */
export async function createLive(t: TestContext) {
  const pusher = new SimulatedPusher(t)
  const connection = await pusher.createConnection()
  return { pusher, connection, own: record(connection, OWN) }
}
