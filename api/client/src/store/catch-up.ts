// Bringing a chat up to date: fetching what the store lacks of it, one request at a time for each chat.
//
// The chat in the list, the timeline and the members each have the `seq` of the last event that they reflect. If one of
// them is behind, the events after the lowest seq are fetched from the chat's log.

import { unwrap } from "../http/api.js"
import { ParleyError } from "../http/errors.js"
import type { ChatEvent } from "../types.js"
import { isLarge, lacksLastMessage } from "./chat-list.js"
import { getSeq, NO_CACHE, WITH_USERS } from "./request-options.js"
import type { Store } from "./store.js"

const LARGE_CHAT_MS = 2000 // between two requests for the events of a large chat

export class CatchUp {
  /** Chats that are not in the list, and have to be. */
  readonly missing = new Set<string>()
  readonly #store: Store
  readonly #onError: () => void
  /** The last event of each chat that has arrived, whether or not it was applied. */
  readonly #latestSeq = new Map<string, number>()
  /** Chats that have had events whose seq is unknown. */
  readonly #behind = new Set<string>()
  readonly #requested = new Set<string>()
  readonly #running = new Set<string>()
  readonly #lastRun = new Map<string, number>()
  #timer: ReturnType<typeof setTimeout> | undefined
  #isPaused = false

  /** `onError` is called if a request fails; what was requested remains to be done by `resume()`. */
  constructor(store: Store, onError: () => void) {
    this.#store = store
    this.#onError = onError
  }

  /** Record that an event of a chat has arrived. */
  recordEvent({ chatId, seq }: ChatEvent): void {
    this.#latestSeq.set(chatId, Math.max(seq, this.#latestSeq.get(chatId) ?? 0))
  }

  /** Fetch the events of a chat, because it has events whose seq is unknown. */
  markBehind(chatId: string): void {
    this.#behind.add(chatId)
    this.request(chatId)
  }

  /** Fetch what the store lacks of a chat, if anything. */
  request(chatId: string): void {
    if (!this.#findTask(chatId)) return
    this.#requested.add(chatId)
    this.#flush()
  }

  /** Postpone all requests until `resume()`, while the events of all chats are being fetched. */
  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#flush()
  }

  removeChat(chatId: string): void {
    for (const set of [this.missing, this.#behind, this.#requested]) set.delete(chatId)
    for (const map of [this.#latestSeq, this.#lastRun]) map.delete(chatId)
  }

  clear(): void {
    clearTimeout(this.#timer)
    for (const collection of [this.missing, this.#behind, this.#requested, this.#latestSeq]) collection.clear()
  }

  #flush(): void {
    if (this.#isPaused) return
    for (const chatId of this.#requested) {
      if (this.#running.has(chatId)) continue
      const isThrottled = isLarge(this.#store.chats.get(chatId))
      const wait = isThrottled ? (this.#lastRun.get(chatId) ?? 0) + LARGE_CHAT_MS - Date.now() : 0
      if (wait <= 0) void this.#run(chatId)
      else {
        clearTimeout(this.#timer)
        this.#timer = setTimeout(() => this.#flush(), wait)
      }
    }
  }

  async #run(chatId: string): Promise<void> {
    const { epoch } = this.#store
    this.#running.add(chatId)
    this.#requested.delete(chatId)
    this.#lastRun.set(chatId, Date.now())
    try {
      for (let task = this.#findTask(chatId); task; task = this.#findTask(chatId)) {
        await task()
        if (epoch !== this.#store.epoch) break
      }
    } catch (error) {
      if (error instanceof ParleyError && error.status === 404) this.#store.removeChat(chatId)
      else if (epoch === this.#store.epoch) {
        this.#requested.add(chatId)
        this.#onError()
      }
      this.#running.delete(chatId)
      return
    }
    this.#running.delete(chatId)
    this.request(chatId)
  }

  #findTask(chatId: string): (() => Promise<void>) | undefined {
    const chat = this.#store.chats.get(chatId)
    const session = this.#store.sessions.get(chatId)
    if (chat ? chat.isStale || lacksLastMessage(chat) : this.missing.has(chatId)) return () => this.#fetchChat(chatId)
    if (session?.isOpen && session.timeline.isStale) return () => session.timeline.load()
    if (session?.isOpen && session.members.isStale) return () => session.members.load()
    const loaded = [chat?.seq, session?.seq].filter((seq) => seq) as number[] // a seq of 0 is unknown
    const after = Math.min(...loaded)
    const isBehind = after < Math.max(this.#latestSeq.get(chatId) ?? 0, chat?.seq ?? 0) || this.#behind.has(chatId)
    if (isBehind && loaded.length) return () => this.#fetchEvents(chatId, after)
    const messageId = session?.isOpen ? session.timeline.findIncomplete() : undefined
    return messageId ? async () => void (await session?.timeline.refreshMessage(messageId)) : undefined
  }

  async #fetchChat(chatId: string): Promise<void> {
    const { api, chats, users, epoch } = this.#store
    const { removals } = chats
    const params = { path: { chatId } }
    const { data, response } = await unwrap(api.GET("/api/chats/{chatId}", { params, headers: NO_CACHE }))
    if (removals !== chats.removals) return
    const chat = chats.get(chatId)
    const seq = getSeq(response)
    if (chat && chat.seq > seq) {
      // An event has arrived meanwhile, or the server has lost changes. Accept the next response in any case.
      chats.put({ ...chat, seq: 0 })
      return
    }
    this.missing.delete(chatId)
    this.#store.addChat({ ...data, seq })
    const author = data.lastMessage
    if (!author || users.has(author.userId)) return
    const message = { path: { chatId, messageId: author.id }, query: WITH_USERS }
    const found = await api.GET("/api/chats/{chatId}/messages/{messageId}", { params: message })
    if (epoch === this.#store.epoch) users.add(found.data?.users)
  }

  async #fetchEvents(chatId: string, after: number): Promise<void> {
    const { api, chats, users, epoch } = this.#store
    const latest = this.#latestSeq.get(chatId)
    const wasSignalled = this.#behind.delete(chatId)
    try {
      const params = { path: { chatId }, query: { after, limit: 1000, ...WITH_USERS } }
      const { data } = await unwrap(api.GET("/api/chats/{chatId}/events", { params }))
      if (epoch !== this.#store.epoch) return
      users.add(data.users)
      let previousSeq = after
      for (const event of data.events as ChatEvent[]) {
        this.#store.receive(event, previousSeq)
        previousSeq = event.seq
      }
      if (data.hasMore) return
      // The log ends here: a chat with a higher seq reflects changes that the server has lost.
      if (this.#latestSeq.get(chatId) === latest) this.#latestSeq.set(chatId, data.next)
      if (!data.events.length && (chats.get(chatId)?.seq ?? 0) > data.next) this.#reload(chatId)
    } catch (error) {
      if (error instanceof ParleyError && error.status === 410) {
        this.#reload(chatId)
        return
      }
      if (wasSignalled) this.#behind.add(chatId)
      throw error
    }
  }

  /** Fetch the chat again, because its log does not reach back. */
  #reload(chatId: string): void {
    this.#store.chats.update(chatId, { seq: 0, isStale: true })
    this.#store.sessions.get(chatId)?.reload()
  }
}
