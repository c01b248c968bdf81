// A simulation of Parley's server as a client sees it: chats, members, messages, read markers and the log of events, by
// the rules of sql/functions. Times are those of the (mocked) clock of the test.

import type { ChatEvent } from "../src/types.js"
import { countUnread, isSmall } from "./simulated-json.js"

export interface Member {
  userId: string
  joinedAt: string
  joinedSeq: number
}

export interface StoredMessage {
  id: string
  content: string
  type: "text" | "code" | "image"
  userId: string
  createdAt: string
  updatedAt: string
}

export interface LogEntry {
  chatId: string
  seq: number
  event: ChatEvent["event"]
  data: unknown
  at: string
  nonce?: string
  /** The transaction, by which cursors are compared. */
  transaction: number
  isSmall: boolean
  removedUser?: string
  recipients?: string[]
}

export interface ServerChat {
  id: string
  title: string
  createdAt: string
  updatedAt: string
  ownerId: string
  seq: number
  members: Member[]
  messages: StoredMessage[]
  isDeleted: boolean
  /** The chat had over 100 members: read markers were moved without an event. */
  wasLarge?: boolean
}

export interface ServerUser {
  id: string
  name: string | null
  imageUrl: string | null
  email: string | null
  updatedAt: string
  settings: Record<string, unknown>
}

/** All that a transaction may change; a replica has an older one. */
export interface Database {
  users: Record<string, ServerUser>
  chats: Record<string, ServerChat>
  markers: Record<string, string>
  log: LogEntry[]
  /** Transactions up to this one may have lost events. */
  removedUntil: number
  transaction: number
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
  ) {
    super(code)
  }
}

const MAX_SNAPSHOTS = 10

export class SimulatedServer {
  database: Database = { users: {}, chats: {}, markers: {}, log: [], removedUntil: 0, transaction: 0 }
  /** Earlier states of the database, which a replica may serve. */
  readonly snapshots: Database[] = []
  /** The longest content of an event; longer ones are truncated. */
  maxEventContent = 40
  /** The largest page of messages. */
  maxPage = 100
  onEvent: (entry: LogEntry) => void = () => {}
  onUserUpdated: (user: ServerUser) => void = () => {}
  #ids = 0

  now(): string {
    return new Date().toISOString()
  }

  newId(): string {
    this.#ids += 1
    const [time, count] = [Date.now(), this.#ids].map((value) => value.toString(16).padStart(12, "0")) as [
      string,
      string,
    ]
    return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${count}`
  }

  /** Run a change in a transaction: its events are published after it. */
  change<Result>(run: () => Result): Result {
    this.snapshots.push(structuredClone(this.database))
    if (this.snapshots.length > MAX_SNAPSHOTS) this.snapshots.shift()
    const first = this.database.log.length
    this.database.transaction += 1
    try {
      return run()
    } catch (error) {
      this.database = this.snapshots.pop() as Database
      throw error
    } finally {
      for (const entry of this.database.log.slice(first)) this.onEvent(entry)
    }
  }

  addUser(id: string): void {
    const settings = {
      model: "m",
      theme: "system",
      context: "",
      runtime: "r",
      isPremium: false,
      responseStyle: "concise",
    }
    const updatedAt = this.now()
    const user = { id, name: id.toUpperCase(), imageUrl: null, email: null, updatedAt }
    this.database.users[id] = { ...user, settings: { ...settings, alwaysShowCode: false, updatedAt } }
  }

  /** Return a chat of which the user is a member. */
  findChat(userId: string, chatId: string, database: Database = this.database): ServerChat {
    const chat = database.chats[chatId]
    if (!chat || chat.isDeleted || !chat.members.some((member) => member.userId === userId))
      throw new ApiError(404, "not_found")
    return chat
  }

  findMessage(chat: ServerChat, messageId: string): StoredMessage {
    const message = chat.messages.find(({ id }) => id === messageId)
    if (!message) throw new ApiError(404, "not_found")
    return message
  }

  createChat(userId: string, title: string, members: readonly string[] = []): ServerChat {
    const createdAt = this.now()
    const id = this.newId()
    const chat = {
      id,
      title,
      createdAt,
      updatedAt: createdAt,
      ownerId: userId,
      seq: 0,
      members: [],
      messages: [],
      isDeleted: false,
    }
    this.database.chats[id] = chat
    for (const member of new Set([userId, ...members])) this.addMember(chat, member)
    return chat
  }

  addMember(chat: ServerChat, userId: string): Member {
    if (!this.database.users[userId]) throw new ApiError(400, "validation_error")
    if (chat.members.some((member) => member.userId === userId)) throw new ApiError(409, "conflict")
    const joinedAt = this.now()
    this.record(chat, "member:added", userId, { at: joinedAt })
    const member = { userId, joinedAt, joinedSeq: chat.seq }
    chat.members.push(member)
    if (!isSmall(chat)) chat.wasLarge = true
    return member
  }

  removeMember(chat: ServerChat, userId: string): void {
    if (!chat.members.some((member) => member.userId === userId)) throw new ApiError(404, "not_found")
    chat.members = chat.members.filter((member) => member.userId !== userId)
    this.record(chat, "member:removed", userId, { removedUser: userId })
  }

  updateChat(chat: ServerChat, title: string): void {
    if (chat.title === title) return
    chat.title = title
    chat.updatedAt = this.next(chat.updatedAt)
    this.record(chat, "chat:updated", { id: chat.id, updates: { title } }, { at: chat.updatedAt })
  }

  deleteChat(chat: ServerChat): void {
    this.record(chat, "chat:deleted", chat.id, { recipients: chat.members.map(({ userId }) => userId) })
    chat.isDeleted = true
  }

  setOwner(chat: ServerChat, userId: string): void {
    if (!chat.members.some((member) => member.userId === userId)) throw new ApiError(404, "not_found")
    if (chat.ownerId === userId) return
    chat.ownerId = userId
    this.record(chat, "member:updated", { userId, role: "owner" })
  }

  send(
    chat: ServerChat,
    userId: string,
    content: string,
    type: StoredMessage["type"] = "text",
    nonce?: string,
  ): StoredMessage {
    const createdAt = this.now()
    const message: StoredMessage = { id: this.newId(), content, type, userId, createdAt, updatedAt: createdAt }
    const { updatedAt: _, ...data } = message
    this.record(chat, "message:sent", data, { at: createdAt, ...(nonce === undefined ? {} : { nonce }) })
    chat.messages.push(message)
    this.advanceMarker(chat, userId, message.id)
    return message
  }

  updateMessage(chat: ServerChat, message: StoredMessage, changes: Partial<StoredMessage>): void {
    const { content = message.content, type = message.type } = changes
    const updates = {
      ...(content !== message.content && { content }),
      ...(type !== message.type && { type }),
    }
    if (!Object.keys(updates).length) return
    Object.assign(message, updates, { updatedAt: this.next(message.updatedAt) })
    this.record(chat, "message:updated", { id: message.id, updates }, { at: message.updatedAt })
  }

  deleteMessage(chat: ServerChat, message: StoredMessage): void {
    chat.messages = chat.messages.filter((other) => other !== message)
    this.record(chat, "message:deleted", message.id)
  }

  markRead(chat: ServerChat, userId: string, messageId: string): void {
    this.findMessage(chat, messageId)
    if (!this.advanceMarker(chat, userId, messageId) || !isSmall(chat)) return
    const unreadCount = countUnread(this.database, chat, userId)
    this.record(chat, "chat:read", { userId, lastReadMessageId: messageId, unreadCount })
  }

  updateProfile(userId: string, changes: Partial<ServerUser>): ServerUser {
    const user = this.database.users[userId] as ServerUser
    Object.assign(user, changes, { updatedAt: this.next(user.updatedAt) })
    this.onUserUpdated(user)
    return user
  }

  updateSettings(userId: string, changes: Record<string, unknown>): Record<string, unknown> {
    const { settings } = this.database.users[userId] as ServerUser
    return Object.assign(settings, changes, { updatedAt: this.next(settings["updatedAt"] as string) })
  }

  /** Remove all events from the log. */
  purge(): void {
    this.database.log = []
    this.database.removedUntil = this.database.transaction
  }

  /** Lose the changes since a snapshot, as a failover may; the next event of each chat has a much higher seq. */
  failOver(snapshot: Database): void {
    this.database = structuredClone(snapshot)
    this.database.removedUntil = this.database.transaction + 1000
    this.database.transaction += 1000
    for (const chat of Object.values(this.database.chats)) this.#gaps.set(chat.id, { seq: chat.seq, isPassed: false })
    this.snapshots.length = 0
  }

  /** The last seq before the failover, by chat, and whether an event has followed. */
  readonly #gaps = new Map<string, { seq: number; isPassed: boolean }>()

  /** Return the seq that precedes the gap of a failover. */
  seqBeforeGap(chatId: string): number | undefined {
    return this.#gaps.get(chatId)?.seq
  }

  private record(chat: ServerChat, event: ChatEvent["event"], data: unknown, fields: Partial<LogEntry> = {}): void {
    const gap = this.#gaps.get(chat.id)
    chat.seq += gap && !gap.isPassed ? 1_000_000 : 1
    if (gap) gap.isPassed = true
    const { transaction } = this.database
    const base = { chatId: chat.id, seq: chat.seq, event, data, at: this.now(), transaction, isSmall: isSmall(chat) }
    this.database.log.push(structuredClone({ ...base, ...fields }))
  }

  private advanceMarker(chat: ServerChat, userId: string, messageId: string): boolean {
    const key = `${chat.id} ${userId}`
    if ((this.database.markers[key] ?? "") >= messageId) return false
    this.database.markers[key] = messageId
    return true
  }

  /** The next `updatedAt` of a resource, which is later than the last one. */
  private next(updatedAt: string): string {
    return new Date(Math.max(Date.now(), Date.parse(updatedAt) + 1)).toISOString()
  }
}
