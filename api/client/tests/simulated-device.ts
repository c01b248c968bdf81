// A device of a user: a whole client over the simulated network, and what it must show in the end.

import assert from "node:assert/strict"
import { mock } from "node:test"
import type { ChatSession } from "../src/client.js"
import { createApi } from "../src/http/api.js"
import { createTransport } from "../src/http/transport.js"
import { ParleyClient } from "../src/parley-client.js"
import type { StoredChat } from "../src/store/chat-list.js"
import { Sync } from "../src/store/sync.js"
import { chatJson, listChats, memberJson, publicUser } from "./simulated-json.js"
import { NO_FAULTS, SimulatedConnection, SimulatedNetwork } from "./simulated-network.js"
import { type ServerChat, SimulatedServer } from "./simulated-server.js"

const URL_OF_API = "https://chat.example.org"

/** A pseudo-random number generator (mulberry32), so that a run can be repeated. */
export function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

export class Device {
  readonly client: ParleyClient
  readonly #sync: Sync
  /** The ID of the signed-in user; empty after the session has expired. */
  token: string
  /** What was sent, by chat, in order. */
  readonly sent: { chatId: string; content: string }[] = []

  constructor(
    readonly network: SimulatedNetwork,
    readonly userId: string,
    { knowsUserId = true, failedLoads = 0 } = {},
  ) {
    this.token = userId
    const fetch = ((request: Request) => network.fetch(request)) as typeof globalThis.fetch
    const getToken = () => this.token || "expired"
    const onSignedOut = () => this.#sync.signOut()
    const api = createApi(URL_OF_API, createTransport({ url: URL_OF_API, fetch, getToken, onSignedOut }))
    let loads = 0
    const connect = async (userId: string) => {
      loads += 1
      if (loads <= failedLoads) throw new TypeError("Failed to fetch dynamically imported module")
      return new SimulatedConnection(network, userId, () => this.token)
    }
    this.#sync = new Sync(api, knowsUserId ? userId : undefined, connect)
    this.client = new ParleyClient(this.#sync)
  }

  get status(): string {
    return this.client.status.getSnapshot()
  }

  get chats() {
    return this.client.chats.getSnapshot().chats
  }

  chat(chatId: string): ChatSession {
    return this.client.chat(chatId)
  }

  messages(chatId: string) {
    return this.chat(chatId).timeline.getSnapshot().messages
  }

  contents(chatId: string): (string | undefined)[] {
    return this.messages(chatId).map(({ content }) => content)
  }

  send(chatId: string, content: string): void {
    this.sent.push({ chatId, content })
    this.chat(chatId).send({ content })
  }

  /** Assert that the device shows what the server has. */
  assertCurrent(): void {
    const { database } = this.network.server
    assert.equal(this.status, "live")
    const expected = listChats(database, this.token)
    const known = new Set(this.chats.map(({ id }) => id))
    // The moves of read markers in a large chat are not published.
    const read = (chat: ServerChat) => chatJson(database, chat, this.token)
    const listed = expected.filter((chat, index) => index < 100 || known.has(chat.id))
    const shown = (this.chats as readonly StoredChat[]).map((chat, index) => {
      const { seq: _, isStale: __, channel: ___, lastMessage, ...fields } = chat as StoredChat & { channel?: string }
      const { author: ____, ...message } = { ...lastMessage } as NonNullable<typeof lastMessage> & { author?: unknown }
      const { lastReadMessageId, unreadCount } = listed[index]?.wasLarge ? read(listed[index]) : chat
      return { ...fields, lastReadMessageId, unreadCount, lastMessage: lastMessage && message }
    })
    assert.deepEqual(
      shown,
      listed.map((chat) => chatJson(database, chat, this.token)),
    )
    for (const chat of expected) this.#assertChat(chat)
    const users = this.client.users.getSnapshot()
    for (const { lastMessage } of this.chats) if (lastMessage) assert.ok(users.has(lastMessage.userId), "author")
    for (const [id, user] of users) assert.deepEqual(user, publicUser(database, id))
    const { id, name, imageUrl } = this.client.profile.getSnapshot() ?? {}
    assert.deepEqual({ id, name, imageUrl }, publicUser(database, this.token))
  }

  #assertChat(chat: ServerChat): void {
    const { status, messages: all, hasOlder, hasNewer } = this.chat(chat.id).timeline.getSnapshot()
    // A message that was sent while the user was no member has failed visibly.
    const messages = all.filter(({ error }) => error?.code !== "not_found")
    assert.notEqual(status, "gone")
    if (status === "ready") {
      const [first = "", last = ""] = [messages[0]?.id ?? "", messages.at(-1)?.id ?? ""]
      const window = chat.messages.filter(({ id }) => (!hasOlder || id >= first) && (!hasNewer || id <= last))
      const shown = messages.map(({ id, content, type, userId, createdAt, updatedAt, status }) => {
        assert.equal(status, "sent")
        return { id, content, type, userId, createdAt, updatedAt }
      })
      assert.deepEqual(shown, window)
      assert.equal(new Set(messages.map(({ key }) => key)).size, messages.length)
    }
    const members = this.chat(chat.id).members.getSnapshot()
    if (members.status !== "ready") return
    const { database } = this.network.server
    const expected = chat.members.map(({ userId }) => memberJson(database, chat, userId))
    const shown = members.members.map((member, index) => {
      // The read marker of a member who has returned is unknown, and so are those in a large chat.
      const isUnknown = chat.wasLarge || member.lastReadMessageId === null
      const lastReadMessageId = isUnknown ? expected[index]?.["lastReadMessageId"] : member.lastReadMessageId
      return { ...member, lastReadMessageId }
    })
    assert.deepEqual(shown, expected)
    assert.equal(members.total, expected.length)
  }
}

/** Let promises settle, without advancing the clock. */
export async function flush(): Promise<void> {
  for (let round = 0; round < 8; round++) await new Promise(setImmediate)
}

/** Advance the clock, step by step. */
export async function advance(milliseconds: number, step = 50): Promise<void> {
  await flush()
  for (let rest = milliseconds; rest > 0; rest -= step) {
    mock.timers.tick(Math.min(step, rest))
    await flush()
  }
}

export class World {
  readonly server = new SimulatedServer()
  readonly network: SimulatedNetwork
  readonly devices: Device[] = []

  constructor(seed = 1, users: readonly string[] = ["alice", "bob", "carol"]) {
    mock.timers.reset()
    mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: Date.UTC(2026, 10, 23) })
    this.network = new SimulatedNetwork(this.server, createRandom(seed))
    mock.method(Math, "random", createRandom(seed)) // the transport's jitter
    for (const user of users) this.server.addUser(user)
  }

  createChat(title: string, ...members: string[]): string {
    return this.server.change(() => this.server.createChat("alice", title, members)).id
  }

  /** Send a message at the server, as a user without a device. */
  send(chatId: string, userId: string, content: string) {
    return this.server.change(() => this.server.send(this.server.findChat(userId, chatId), userId, content))
  }

  /** Start a device of Alice, who is in chats of Bob with these titles. */
  async startAlice(...titles: string[]): Promise<{ alice: Device; chatIds: string[] }> {
    const chatIds = titles.map((title) => this.createChat(title, "bob"))
    await advance(1000) // the events of the chats have been published
    const [alice] = (await this.start("alice")) as [Device]
    this.network.requests.length = 0
    return { alice, chatIds }
  }

  /** Return the first connection of a user. */
  connectionOf(userId: string): SimulatedConnection {
    return [...this.network.connections].find((connection) => connection.userId === userId) as SimulatedConnection
  }

  /** Start a device of Alice with an open chat, in which Bob has sent so many messages. */
  async openChat(
    count = 0,
    members: readonly string[] = [],
  ): Promise<{ alice: Device; chatId: string; ids: string[] }> {
    for (const member of members) this.server.addUser(member)
    const chatId = this.createChat("Plans", "bob", ...members)
    const ids = Array.from({ length: count }, (_, index) => this.send(chatId, "bob", `${index}`).id)
    await advance(1000)
    const [alice] = (await this.start("alice")) as [Device]
    alice.chat(chatId).open()
    await advance(3000)
    this.network.requests.length = 0
    return { alice, chatId, ids }
  }

  find(chatId: string): ServerChat {
    return this.server.findChat("alice", chatId)
  }

  edit(chatId: string, messageId: string, content: string): void {
    const chat = this.find(chatId)
    this.server.change(() => this.server.updateMessage(chat, this.server.findMessage(chat, messageId), { content }))
  }

  remove(chatId: string, messageId: string): void {
    const chat = this.find(chatId)
    this.server.change(() => this.server.deleteMessage(chat, this.server.findMessage(chat, messageId)))
  }

  async start(...userIds: string[]): Promise<Device[]> {
    for (const userId of userIds) {
      const device = new Device(this.network, userId)
      this.devices.push(device)
      device.client.start()
    }
    await advance(1000)
    return this.devices
  }

  /** Make the network healthy and reconnect, then wait until nothing happens any more. */
  async settle(): Promise<void> {
    this.network.faults = NO_FAULTS
    this.network.isOffline = false
    // Requests that are still on their way change the server. A large chat shows some changes after a reconnection only.
    for (let waited = 0; waited < 200 && (this.network.pending || waited < 20); waited += 1) await advance(500, 500)
    for (const connection of this.network.connections) connection.close()
    await advance(5000, 100)
    let count = -1
    for (let quiet = 0, waited = 0; quiet < 70 && waited < 600; waited += 1) {
      await advance(500, 500)
      // A request with the expired token may have signed a device out after it had signed in again.
      for (const { status, client } of this.devices) if (status === "signed-out") client.start()
      quiet = count === this.network.requests.length && !this.network.pending ? quiet + 1 : 0
      count = this.network.requests.length
    }
  }

  stop(): void {
    for (const { client } of this.devices) client.stop()
    mock.restoreAll()
    mock.timers.reset()
  }
}
