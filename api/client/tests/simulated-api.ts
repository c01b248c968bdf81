// The HTTP API of the simulated server: routes, pages, cursors, entity tags, preconditions and idempotency keys.

import { eventJson, eventUser } from "./simulated-events.js"
import { activity, chatJson, countUnread, listChats, memberJson, publicUser, syncChat } from "./simulated-json.js"
import {
  ApiError,
  type Database,
  type LogEntry,
  type ServerChat,
  type SimulatedServer,
  type StoredMessage,
} from "./simulated-server.js"

export interface ApiRequest {
  userId: string
  method: string
  url: URL
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: a body of JSON
  body: any
  /** What a read sees: the primary, or a replica. */
  database: Database
}

export interface ApiResponse {
  status: number
  body?: unknown
  headers?: Record<string, string>
}

const BASE = "https://chat.example.org"

export class SimulatedApi {
  readonly #responses = new Map<string, ApiResponse>()

  constructor(readonly server: SimulatedServer) {}

  handle(request: ApiRequest): ApiResponse {
    const key = request.method === "POST" && request.headers.get("Idempotency-Key")
    const stored = key && this.#responses.get(`${request.userId} ${key}`)
    if (stored) return stored
    try {
      const response = this.#route(request)
      if (key) this.#responses.set(`${request.userId} ${key}`, response)
      return response
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      return { status: error.status, body: { error: { message: error.code, code: error.code } } }
    }
  }

  #route(request: ApiRequest): ApiResponse {
    const { method, url } = request
    const [, resource, id, kind, item] = url.pathname.slice(1).split("/")
    if (resource === "sync") return this.#sync(request)
    if (resource === "chats" && id && kind === "messages") return this.#messages(request, id, item)
    if (resource === "chats" && id && kind === "members") return this.#members(request, id, item)
    if (resource === "chats" && id) return this.#chat(request, id, kind)
    if (resource === "chats") return method === "POST" ? this.#createChat(request) : this.#listChats(request)
    if (resource === "profile") return this.#profile(request, id)
    if (resource === "settings") {
      const settings = this.server.change(() => this.server.updateSettings(request.userId, request.body.settings))
      return { status: 200, body: { settings: { ...settings } } }
    }
    throw new ApiError(404, "not_found")
  }

  #sync({ userId, url }: ApiRequest): ApiResponse {
    const { database } = this.server
    const after = url.searchParams.get("after")
    if (after) return this.#listEvents(userId, after, Number(url.searchParams.get("limit")))
    const { settings, ...user } = database.users[userId] as Database["users"][string]
    const all = listChats(database, userId)
    const chats = all.slice(0, 100).map((chat) => syncChat(database, chat, userId))
    const cursor = String(database.transaction)
    return ok({ cursor, user, settings: { ...settings }, chats, total: all.length, limit: 100, users: [] })
  }

  /** The events of transactions after the cursor, grouped by chat; of a former member only that which ended the access. */
  #listEvents(userId: string, after: string, limit: number): ApiResponse {
    const { database } = this.server
    const [from = 0, until = database.transaction, skipped = 0] = after.split(".").map(Number)
    if (from < database.removedUntil) throw new ApiError(410, "cursor_expired")
    const entries = database.log.filter(({ transaction }) => transaction > from && transaction <= until)
    const events = [...new Set(entries.map(({ chatId }) => chatId))].flatMap((id) => {
      const log = entries.filter(({ chatId }) => chatId === id)
      const chat = database.chats[id] as ServerChat
      if (!chat.isDeleted && chat.members.some((member) => member.userId === userId)) return log
      return log.filter((e) => e.removedUser === userId || e.recipients?.includes(userId)).slice(-1)
    })
    const page = events.slice(skipped, skipped + limit)
    const hasMore = events.length > skipped + limit
    const next = hasMore ? `${from}.${until}.${skipped + limit}` : String(until)
    const users = this.#namedUsers(page)
    const hasNewer = !hasMore && until < database.transaction
    return ok({ events: page.map((e) => eventJson(database, e, userId)), next, hasMore: hasMore || hasNewer, users })
  }

  #namedUsers(entries: readonly LogEntry[]) {
    const ids = entries.map((entry) => eventUser(entry)).filter((id) => id !== undefined)
    return [...new Set(ids)].map((id) => publicUser(this.server.database, id))
  }

  #listChats({ userId, url, database }: ApiRequest): ApiResponse {
    const before = url.searchParams.get("before") ?? "~"
    const all = listChats(database, userId).filter((chat) => activity(chat) < before)
    const page = all.slice(0, 100)
    const users = page.flatMap(({ messages }) => messages.slice(-1)).map((m) => publicUser(database, m.userId))
    const chats = page.map((chat) => chatJson(database, chat, userId))
    const last = page.at(-1)
    const headers = last && all.length > 100 ? link({ next: `before=${activity(last)}` }) : {}
    return { ...ok({ chats, total: all.length, page: null, limit: 100, users }), headers }
  }

  #createChat({ userId, body }: ApiRequest): ApiResponse {
    const { id, title, createdAt } = this.server.change(() => this.server.createChat(userId, body.title, body.members))
    return { status: 201, body: { id, title, createdAt } }
  }

  #chat({ userId, method, url, body, database }: ApiRequest, id: string, kind: string | undefined): ApiResponse {
    const { server } = this
    if (kind === "events") return this.#chatEvents(userId, id, Number(url.searchParams.get("after")))
    if (kind === "images") return { status: 201, body: { imageUrl: `${BASE}/images/${server.newId()}.png` } }
    if (method === "GET") {
      const chat = server.findChat(userId, id, database)
      return { ...ok(chatJson(database, chat, userId)), headers: { "X-Chat-Seq": String(chat.seq) } }
    }
    return server.change(() => {
      const chat = server.findChat(userId, id)
      if (kind === "read") {
        server.markRead(chat, userId, body.messageId)
        const lastReadMessageId = server.database.markers[`${id} ${userId}`] ?? null
        return ok({ lastReadMessageId, unreadCount: countUnread(server.database, chat, userId) })
      }
      assertOwner(chat, userId)
      if (method === "DELETE") {
        server.deleteChat(chat)
        return { status: 204 }
      }
      server.updateChat(chat, body.title)
      return ok(chatJson(server.database, chat, userId))
    })
  }

  /** The events after a seq, up to the first gap. No event follows a seq that was lost. */
  #chatEvents(userId: string, id: string, after: number): ApiResponse {
    const { database } = this.server
    const chat = this.server.findChat(userId, id)
    const all = database.log.filter(({ chatId }) => chatId === id)
    const entries = all.filter(({ seq }) => seq > after).slice(0, 1000)
    const reachesBack = entries[0]?.seq === after + 1 || (chat.seq === after && !entries.length)
    const isBeforeGap = entries[0] !== undefined && this.server.seqBeforeGap(id) === after
    if (!reachesBack && !isBeforeGap) throw new ApiError(410, "cursor_expired")
    const events = entries.map((entry) => eventJson(database, entry, userId))
    const next = entries.at(-1)?.seq ?? after
    const body = { events, next, hasMore: next < chat.seq, users: this.#namedUsers(entries) }
    return { ...ok(body), headers: { "X-Chat-Seq": String(chat.seq) } }
  }

  #messages(request: ApiRequest, chatId: string, messageId: string | undefined): ApiResponse {
    const { userId, method, body, database, headers } = request
    const { server } = this
    if (method === "GET") {
      const chat = server.findChat(userId, chatId, database)
      const seq = { "X-Chat-Seq": String(chat.seq) }
      if (!messageId) return listMessages(request, chat, server.maxPage)
      const message = server.findMessage(chat, messageId)
      const users = [publicUser(database, message.userId)]
      return { ...ok({ ...message, users }), headers: { ...seq, ETag: etag(message, userId) } }
    }
    return server.change(() => {
      const chat = server.findChat(userId, chatId)
      if (!messageId) {
        const { updatedAt: _, ...sent } = server.send(chat, userId, body.content, body.type, body.nonce)
        return { status: 201, body: sent }
      }
      const message = server.findMessage(chat, messageId)
      if (message.userId !== userId && !(method === "DELETE" && chat.ownerId === userId))
        throw new ApiError(403, "forbidden")
      const match = headers.get("If-Match")
      if (match && match !== "*" && match !== etag(message, userId)) throw new ApiError(412, "precondition_failed")
      if (method === "DELETE") {
        server.deleteMessage(chat, message)
        return { status: 204 }
      }
      server.updateMessage(chat, message, body)
      const { id, content, type, updatedAt } = message
      return { ...ok({ id, content, type, updatedAt }), headers: { ETag: etag(message, userId) } }
    })
  }

  #members({ userId, method, body, database }: ApiRequest, chatId: string, memberId: string | undefined): ApiResponse {
    const { server } = this
    if (method === "GET") {
      const chat = server.findChat(userId, chatId, database)
      const members = chat.members.map(({ userId }) => memberJson(database, chat, userId))
      const page = { members, total: members.length, page: 1, limit: 1000 }
      return { ...ok(page), headers: { "X-Chat-Seq": String(chat.seq) } }
    }
    return server.change(() => {
      const chat = server.findChat(userId, chatId)
      const isLeaving = method === "DELETE" && memberId === userId
      if (!isLeaving) assertOwner(chat, userId)
      else if (chat.ownerId === userId) throw new ApiError(409, "conflict")
      if (method === "POST") {
        server.addMember(chat, body.userId)
        return { status: 201, body: memberJson(server.database, chat, body.userId) }
      }
      if (method === "PUT") {
        server.setOwner(chat, memberId ?? "")
        return ok(memberJson(server.database, chat, memberId ?? ""))
      }
      server.removeMember(chat, memberId ?? "")
      return { status: 204 }
    })
  }

  #profile({ userId, body }: ApiRequest, kind: string | undefined): ApiResponse {
    return this.server.change(() => {
      const changes = kind === "image" ? { imageUrl: `${BASE}/images/${this.server.newId()}.png` } : body
      const { name, email, imageUrl, updatedAt } = this.server.updateProfile(userId, changes)
      return ok(kind === "image" ? { imageUrl, updatedAt } : { user: { name, email, updatedAt } })
    })
  }
}

function assertOwner(chat: ServerChat, userId: string): void {
  if (chat.ownerId !== userId) throw new ApiError(403, "forbidden")
}

function listMessages({ userId, url, database }: ApiRequest, chat: ServerChat, maxPage: number): ApiResponse {
  const [before, after, around] = ["before", "after", "around"].map((name) => url.searchParams.get(name))
  const limit = Math.min(maxPage, Number(url.searchParams.get("limit") ?? 50))
  const { messages } = chat
  let start = messages.length - limit
  if (before) start = messages.filter(({ id }) => id < before).length - limit
  if (after) start = messages.filter(({ id }) => id <= after).length
  if (around) {
    const index = messages.findIndex(({ id }) => id === around)
    if (index < 0) throw new ApiError(404, "not_found")
    start = Math.min(Math.max(0, index - Math.floor((limit - 1) / 2)), messages.length - limit)
  }
  const end = start + limit
  const page = messages.slice(Math.max(0, start), Math.max(0, end))
  const [oldest, newest] = [page[0], page.at(-1)]
  const links = {
    ...(oldest && (after || start > 0) && { next: `before=${oldest.id}` }),
    ...(newest && (before || end < messages.length) && { prev: `after=${newest.id}` }),
  }
  const listed = page.map((message) => ({ ...message, etag: etag(message, userId) })).reverse()
  const users = [...new Set(page.map((m) => m.userId))].map((id) => publicUser(database, id))
  const headers = { ...link(links), "X-Chat-Seq": String(chat.seq) }
  return { ...ok({ messages: listed, total: messages.length, page: null, limit, users }), headers }
}

function etag({ id, updatedAt }: StoredMessage, userId: string): string {
  return `"${id} ${updatedAt} ${userId}"`
}

function link(links: Record<string, string>): Record<string, string> {
  const values = Object.entries(links).map(([rel, query]) => `<${BASE}/api/page?${query}>; rel="${rel}"`)
  return values.length ? { Link: values.join(", ") } : {}
}

function ok(body: unknown): ApiResponse {
  return { status: 200, body: structuredClone(body) }
}
