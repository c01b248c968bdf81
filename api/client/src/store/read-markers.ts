// The user's read markers: moved at once on the screen, and at most once in two seconds at the server.

import { unwrap } from "../http/api.js"
import { ParleyError } from "../http/errors.js"
import { isLarge, type StoredChat } from "./chat-list.js"
import { TEMPORARY } from "./outbox.js"
import type { Store } from "./store.js"

const INTERVAL_MS = 2000

export class ReadMarkers {
  readonly #store: Store
  /** The messages that are still to be marked, by chat. */
  readonly #pending = new Map<string, string>()
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>()

  constructor(store: Store) {
    this.#store = store
  }

  /** Mark a message and all older ones as read. The marker never moves back. */
  mark(chatId: string, messageId: string): void {
    const chat = this.#store.chats.get(chatId)
    if (!chat?.unreadCount || messageId <= (chat.lastReadMessageId ?? "")) return
    const unreadCount = this.#countUnread(chat, messageId)
    this.#store.chats.update(chatId, { lastReadMessageId: messageId, unreadCount })
    this.#pending.set(chatId, messageId)
    if (!this.#timers.has(chatId)) void this.#send(chatId)
  }

  /** Send the markers that were moved while no changes could be sent. */
  resume(): void {
    for (const chatId of this.#pending.keys()) if (!this.#timers.has(chatId)) void this.#send(chatId)
  }

  clear(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
    this.#pending.clear()
  }

  /** The event has the exact number, also if the timeline does not reach to the message. */
  #countUnread(chat: StoredChat, messageId: string): number {
    if (messageId >= (chat.lastMessage?.id ?? "")) return 0
    const later = this.#store.sessions.get(chat.id)?.timeline.findAfter(messageId)
    return later ? later.filter(({ userId }) => userId !== this.#store.userId).length : chat.unreadCount
  }

  async #send(chatId: string): Promise<void> {
    const messageId = this.#pending.get(chatId)
    const { api, chats, catchUp, epoch, changes: signal } = this.#store
    if (messageId === undefined || !signal) return
    this.#pending.delete(chatId)
    this.#schedule(chatId)
    const params = { path: { chatId } }
    let isExact = true
    let isPostponed = false
    try {
      await unwrap(api.PUT("/api/chats/{chatId}/read", { params, body: { messageId }, priority: "low", signal }))
      isExact = !isLarge(chats.get(chatId)) // no event with the number follows in a large chat
    } catch (error) {
      isExact = false // the server's marker has not moved
      isPostponed = signal.aborted || (error instanceof ParleyError && TEMPORARY.has(error.code))
    }
    if (isExact || epoch !== this.#store.epoch) return
    if (isPostponed) {
      if (!this.#pending.has(chatId)) this.#pending.set(chatId, messageId)
      if (!this.#timers.has(chatId)) this.#schedule(chatId)
      return
    }
    chats.update(chatId, { isStale: true })
    catchUp.request(chatId)
  }

  #schedule(chatId: string): void {
    const onTimeout = () => {
      this.#timers.delete(chatId)
      void this.#send(chatId)
    }
    this.#timers.set(chatId, setTimeout(onTimeout, INTERVAL_MS))
  }
}
