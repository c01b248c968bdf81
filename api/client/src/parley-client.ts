// The client: requests of the user, and what they change in the store at once.

import type { ChatSession, MessagePage, MessageQuery, Parley, SearchQuery } from "./client.js"
import { type Api, unwrap } from "./http/api.js"
import { fetchPages, parseLinks } from "./pages.js"
import type { components } from "./schema.js"
import { SessionFacade } from "./session-facade.js"
import { NO_CACHE, WITH_USERS } from "./store/request-options.js"
import type { Store } from "./store/store.js"
import type { Sync } from "./store/sync.js"
import { createUploadForm } from "./store/upload-form.js"
import type { Chat, ChatList, ConnectionStatus, Profile, Settings, Subscribable, User } from "./types.js"

type Schemas = components["schemas"]

export class ParleyClient implements Parley {
  readonly api: Api
  readonly status: Subscribable<ConnectionStatus>
  readonly profile: Subscribable<Profile | null>
  readonly settings: Subscribable<Settings | null>
  readonly chats: Subscribable<ChatList>
  readonly users: Subscribable<ReadonlyMap<string, User>>
  readonly #sync: Sync
  readonly #store: Store
  readonly #sessions = new Map<string, ChatSession>()
  #moreChats: Promise<void> | undefined

  constructor(sync: Sync) {
    const { store } = sync
    this.#sync = sync
    this.#store = store
    this.api = store.api
    this.status = sync.status
    this.profile = store.users.profile
    this.settings = store.users.settings
    this.chats = store.chats.list
    this.users = store.users.all
  }

  start(): void {
    this.#sync.start()
  }

  stop(): void {
    this.#sync.stop()
  }

  chat(chatId: string): ChatSession {
    const session = this.#sessions.get(chatId) ?? new SessionFacade(this.#store, this.#store.session(chatId))
    this.#sessions.set(chatId, session)
    return session
  }

  loadMoreChats(): Promise<void> {
    this.#moreChats ??= this.#loadMoreChats().finally(() => {
      this.#moreChats = undefined
    })
    return this.#moreChats
  }

  async #loadMoreChats(): Promise<void> {
    const { chats, users } = this.#store
    const { boundary: before, removals } = chats
    if (before === undefined) return
    const params = { query: { before, limit: 100, ...WITH_USERS } }
    const { data, response } = await unwrap(this.api.GET("/api/chats", { params, headers: NO_CACHE }))
    // A response to a request that was sent before a chat was removed may still have the chat.
    if (removals !== chats.removals) return this.#loadMoreChats()
    users.add(data.users)
    chats.addPage(data.chats, "next" in parseLinks(response))
  }

  /** Create a chat. Returns it with an estimated number of members, which its live event corrects. */
  async createChat(body: Schemas["NewChat"]): Promise<Chat> {
    const { chats, epoch } = this.#store
    const { data } = await unwrap(this.api.POST("/api/chats", { body }))
    const memberCount = 1 + (body.members?.length ?? 0)
    const activity = { updatedAt: data.createdAt, lastMessageAt: null, lastMessage: null }
    const chat = { ...data, role: "owner" as const, ...activity, unreadCount: 0, lastReadMessageId: null, memberCount }
    if (epoch === this.#store.epoch && !chats.get(data.id)) chats.put({ ...chat, seq: 0 })
    return chats.get(data.id) ?? chat
  }

  async updateChat(chatId: string, body: { title: string }): Promise<void> {
    const { data } = await unwrap(this.api.PUT("/api/chats/{chatId}", { params: { path: { chatId } }, body }))
    this.#store.chats.update(chatId, { title: data.title })
  }

  async deleteChat(chatId: string): Promise<void> {
    await unwrap(this.api.DELETE("/api/chats/{chatId}", { params: { path: { chatId } } }))
    this.#store.removeChat(chatId)
  }

  async leaveChat(chatId: string): Promise<void> {
    const userId = this.#store.userId ?? ""
    const params = { path: { chatId, userId } }
    await unwrap(this.api.DELETE("/api/chats/{chatId}/members/{userId}", { params }))
    this.#store.removeChat(chatId)
  }

  search({ chatId, ...query }: SearchQuery, signal?: AbortSignal): AsyncIterableIterator<MessagePage> {
    if (chatId) return this.messages(chatId, query, signal)
    return fetchPages(async (cursor) => {
      const params = { query: { ...query, ...cursor, ...WITH_USERS } }
      const page = await unwrap(this.api.GET("/api/search", { params, signal: signal ?? null }))
      this.#store.users.add(page.data.users)
      return page
    })
  }

  messages(chatId: string, query: MessageQuery = {}, signal?: AbortSignal): AsyncIterableIterator<MessagePage> {
    return fetchPages(async (cursor) => {
      const params = { path: { chatId }, query: { ...query, ...cursor, ...WITH_USERS } }
      const call = this.api.GET("/api/chats/{chatId}/messages", { params, signal: signal ?? null })
      const { data, response } = await unwrap(call)
      this.#store.users.add(data.users)
      const messages = data.messages.map((message) => ({ ...message, chatId }))
      return { data: { messages, total: data.total }, response }
    })
  }

  async findUser(email: string): Promise<User | null> {
    const { data } = await unwrap(this.api.GET("/api/users", { params: { query: { email } } }))
    this.#store.users.add(data.users)
    return data.users[0] ?? null
  }

  async updateProfile(body: { name?: string; email?: string }): Promise<void> {
    const { data } = await unwrap(this.api.PUT("/api/profile", { body }))
    this.#store.users.updateProfile(data.user)
  }

  async uploadProfileImage(file: Blob): Promise<void> {
    const body = await createUploadForm(file)
    const { data } = await unwrap(this.api.POST("/api/profile/image", { body }))
    this.#store.users.updateProfile(data)
  }

  async updateSettings(settings: Schemas["ChosenSettings"]): Promise<void> {
    const { data } = await unwrap(this.api.PUT("/api/settings", { body: { settings } }))
    this.#store.users.settings.set(data.settings)
  }
}
