// The list of chats: how an event changes a chat, and the order of the list.

import type { components } from "../schema.js"
import type { Chat, ChatEvent, ChatList } from "../types.js"
import { Derived } from "./derived.js"
import type { StoredMessage } from "./message-window.js"

type SyncState = components["schemas"]["InitialState"]

/** A chat with its position in the event log. */
export interface StoredChat extends Chat {
  /** The last event that is applied; 0 if it is unknown, since pages of the list have no `seq`. */
  readonly seq: number
  /** The chat must be fetched: an event arrived while `seq` is unknown, or the read marker may be wrong. */
  readonly isStale?: boolean
}

export const MAX_SMALL_CHAT = 100 // members; the events of larger chats are published on channels of their own

export function isLarge(chat: Chat | undefined): boolean {
  return chat !== undefined && chat.memberCount > MAX_SMALL_CHAT
}

/** Whether the last message was deleted, or its content has not been fetched. */
export function lacksLastMessage({ lastMessage }: Chat): boolean {
  return lastMessage !== null && lastMessage.content === undefined
}

/** The chats of the user that are loaded. */
export class Chats {
  readonly list = new Derived<ChatList>(() => this.#compute())
  readonly #chats = new Map<string, StoredChat>()
  #status: ChatList["status"] = "loading"
  #hasMore = false
  /** The activity of the last chat of the last page, from which the next page continues. */
  #boundary: string | undefined
  /** Increases with each removal, so that a response that was sent before a removal is recognized. */
  removals = 0

  get isReady(): boolean {
    return this.#status === "ready"
  }

  get boundary(): string | undefined {
    return this.#hasMore ? this.#boundary : undefined
  }

  get(chatId: string): StoredChat | undefined {
    return this.#chats.get(chatId)
  }

  put(chat: StoredChat): void {
    this.#chats.set(chat.id, chat)
    this.list.invalidate()
  }

  /** Change fields of a chat, if it is loaded. */
  update(chatId: string, changes: Partial<StoredChat>): void {
    const chat = this.#chats.get(chatId)
    if (chat) this.put({ ...chat, ...changes })
  }

  remove(chatId: string): void {
    this.removals += 1
    if (this.#chats.delete(chatId)) this.list.invalidate()
  }

  /** Replace all chats by those of the state. */
  show({ chats, total }: SyncState): void {
    this.clear()
    for (const chat of chats) this.#chats.set(chat.id, chat)
    this.#status = "ready"
    this.#setEnd(chats, total > chats.length)
  }

  /** Add a page of further chats. Those that are loaded already are more current. */
  addPage(chats: readonly Omit<StoredChat, "seq">[], hasMore: boolean): void {
    for (const chat of chats) if (!this.#chats.has(chat.id)) this.#chats.set(chat.id, { ...chat, seq: 0 })
    this.#setEnd(chats, hasMore)
  }

  clear(): void {
    this.removals += 1
    this.#chats.clear()
    this.#status = "loading"
    this.#setEnd([], false)
  }

  #setEnd(chats: readonly Chat[], hasMore: boolean): void {
    const last = chats.at(-1)
    this.#boundary = last ? getActivity(last) : this.#boundary
    this.#hasMore = hasMore
    this.list.invalidate()
  }

  #compute(): ChatList {
    const chats = [...this.#chats.values()].sort((a, b) => (getActivity(a) < getActivity(b) ? 1 : -1))
    return { status: this.#status, chats, hasMore: this.#hasMore }
  }
}

/** The sort key of chats: the ID of the newest message or, without messages, of the chat. */
function getActivity({ id, lastMessage }: Chat): string {
  return lastMessage?.id ?? id
}

/** Apply the next event of a chat, as the user with `userId` sees it. */
export function applyToChat(chat: StoredChat, event: ChatEvent, userId: string | null): StoredChat {
  const next = { ...chat, seq: event.seq }
  const { lastMessage, memberCount, unreadCount } = chat
  switch (event.event) {
    case "message:sent":
      return { ...next, ...addMessage(chat, event.data, userId) }
    case "message:updated": {
      if (lastMessage?.id !== event.data.id || event.data.deleted) return next
      const { updates, truncated } = event.data
      const content = truncated ? undefined : (shorten(updates.content) ?? lastMessage.content)
      const type = updates.type ?? lastMessage.type
      return { ...next, lastMessage: { ...lastMessage, content, type } }
    }
    case "message:deleted": {
      const isUnread = event.data > (chat.lastReadMessageId ?? "")
      const counted = { ...next, unreadCount: Math.max(0, unreadCount - (isUnread ? 1 : 0)) }
      if (lastMessage?.id !== event.data) return counted
      return { ...counted, lastMessage: { ...lastMessage, content: undefined } }
    }
    case "chat:updated":
      return { ...next, title: event.data.updates.title ?? chat.title, updatedAt: event.at }
    case "chat:read": {
      const { lastReadMessageId } = event.data
      const isOwn = event.data.userId === userId && lastReadMessageId >= (chat.lastReadMessageId ?? "")
      return isOwn ? { ...next, lastReadMessageId, unreadCount: event.data.unreadCount } : next
    }
    case "member:added":
      return { ...next, memberCount: memberCount + 1 }
    case "member:removed":
      return { ...next, memberCount: memberCount - 1 }
    case "member:updated":
      return { ...next, role: event.data.userId === userId ? "owner" : "member" }
    default:
      return next
  }
}

type LastMessage = Pick<StoredMessage, "id" | "type" | "userId" | "createdAt"> & { content?: string | undefined }

/** The fields of a chat that depend on its newest message, null if there is none. */
export function toLastMessage(message: LastMessage | null): Partial<StoredChat> {
  if (!message) return { lastMessage: null, lastMessageAt: null }
  const { id, type, content, userId, createdAt } = message
  return { lastMessage: { id, type, content: shorten(content), userId, createdAt }, lastMessageAt: createdAt }
}

type Sent = Extract<ChatEvent, { event: "message:sent" }>["data"]

/** The log marks a message that was deleted later: the event of the deletion follows, and subtracts it again. */
function addMessage(chat: StoredChat, message: Sent, userId: string | null): Partial<StoredChat> {
  const isOwn = message.userId === userId
  const read = isOwn ? { unreadCount: 0, lastReadMessageId: message.id } : { unreadCount: chat.unreadCount + 1 }
  return message.deleted ? read : { ...read, ...toLastMessage(message) }
}

/** Return the first 200 characters, as the API does; `slice()` alone would count UTF-16 code units. */
function shorten(content: string | undefined): string | undefined {
  return content && Array.from(content.slice(0, 400)).slice(0, 200).join("")
}
