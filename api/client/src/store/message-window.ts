// A window on a chat's messages: a contiguous part of them. Pure functions, without a network.
//
// A message's `updatedAt` is its version: of two copies of a message, the one with the later `updatedAt` is current.
// IDs ascend with time, in a chat and in the order of its events.

import type { components } from "../schema.js"
import type { ChatEvent, Message } from "../types.js"

type ListedMessage = components["schemas"]["ListedMessage"]

/** A message that the server has stored. `etag` is that of its version, if it is known. */
export interface StoredMessage extends Message {
  readonly id: string
  readonly etag?: string | undefined
}

export interface MessageWindow {
  /** Oldest first. */
  readonly messages: readonly StoredMessage[]
  readonly hasOlder: boolean
  readonly hasNewer: boolean
}

export const EMPTY_WINDOW: MessageWindow = { messages: [], hasOlder: false, hasNewer: false }

/** Convert a message of a response; `key` identifies it on the screen. */
export function toStoredMessage(message: ListedMessage, key: string = message.id): StoredMessage {
  const { id, type, content, userId, createdAt, updatedAt, etag } = message
  return { key, id, type, content, userId, createdAt, updatedAt, etag, status: "sent" }
}

/** Add messages in any order; of a message that is there already, keep the current version and the key. */
export function mergeMessages(
  messages: readonly StoredMessage[],
  added: readonly StoredMessage[],
): readonly StoredMessage[] {
  const merged = new Map(messages.map((message) => [message.id, message]))
  for (const message of added) {
    const existing = merged.get(message.id)
    if (!existing) merged.set(message.id, message)
    else if (message.updatedAt >= existing.updatedAt) merged.set(message.id, { ...message, key: existing.key })
  }
  return [...merged.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
}

/** Replace a message that is in the window by a version that is not older. */
export function updateMessage(window: MessageWindow, message: StoredMessage): MessageWindow {
  const isPresent = window.messages.some(({ id }) => id === message.id)
  return isPresent ? { ...window, messages: mergeMessages(window.messages, [message]) } : window
}

export function removeMessage(window: MessageWindow, messageId: string): MessageWindow {
  return { ...window, messages: window.messages.filter(({ id }) => id !== messageId) }
}

/**
 * Apply an event of the chat, also repeatedly. `sent` is the message on the screen that the event acknowledges: its content
 * is that of the event, which may be truncated.
 */
export function applyToWindow(
  window: MessageWindow,
  event: ChatEvent,
  sent?: { key: string; content: string },
): MessageWindow {
  switch (event.event) {
    case "message:sent": {
      const { id, type, content = sent?.content, userId, createdAt, deleted } = event.data
      const isPresent = window.messages.some((message) => message.id === id)
      if (deleted || isPresent || !isInWindow(window, id)) return window
      const key = sent?.key ?? id
      const message = { key, id, type, content, userId, createdAt, updatedAt: event.at, status: "sent" as const }
      return { ...window, messages: mergeMessages(window.messages, [message]) }
    }
    case "message:updated": {
      const existing = window.messages.find(({ id }) => id === event.data.id)
      if (!existing || existing.updatedAt >= event.at) return window
      const { updates, truncated } = event.data
      const content = updates.content ?? (truncated ? undefined : existing.content)
      const type = updates.type ?? existing.type
      return updateMessage(window, { ...existing, content, type, updatedAt: event.at, etag: undefined })
    }
    case "message:deleted":
      return removeMessage(window, event.data)
    default:
      return window
  }
}

/** Whether a message with this ID, if it exists, belongs to the window. */
function isInWindow({ messages, hasOlder, hasNewer }: MessageWindow, id: string): boolean {
  const oldest = messages[0]
  const newest = messages.at(-1)
  return !(hasNewer && (!newest || id > newest.id)) && !(hasOlder && (!oldest || id < oldest.id))
}
