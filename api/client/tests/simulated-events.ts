// The events of the simulated server, as its log returns them and as they are published.

import { publicUser, syncChat } from "./simulated-json.js"
import type { Database, LogEntry, ServerChat, SimulatedServer } from "./simulated-server.js"

/** An event as the log returns it: with the content that is still current. */
export function eventJson(database: Database, entry: LogEntry, userId: string): Record<string, unknown> {
  const chat = database.chats[entry.chatId] as ServerChat
  const { chatId, seq, event, at, nonce } = entry
  const data = structuredClone(entry.data) as { id?: string; content?: string; updates?: Record<string, string> }
  const message = chat.messages.find(({ id }) => id === data.id)
  const content = data.content ?? data.updates?.["content"]
  if (
    event.startsWith("message:") &&
    event !== "message:deleted" &&
    (!message || (content && content !== message.content))
  ) {
    delete data.content
    delete data.updates?.["content"]
    Object.assign(data, message ? { truncated: true } : { deleted: true })
  }
  if (event === "chat:updated" && data.updates?.["title"] !== chat.title) delete data.updates?.["title"]
  const isOwn = eventUser(entry) === userId
  return {
    ...{ chatId, seq, event, data, at },
    ...(nonce !== undefined && isOwn && { nonce }),
    ...(event === "member:added" && isOwn && { chat: syncChat(database, chat, userId) }),
  }
}

/** The event as it is published for a user. */
export function liveEvent({ database, maxEventContent }: SimulatedServer, entry: LogEntry, userId: string) {
  const chat = database.chats[entry.chatId] as ServerChat
  const { chatId, seq, event, at, nonce } = entry
  const data = truncate(entry, maxEventContent)
  const named = eventUser(entry)
  const isMember = chat.members.some((member) => member.userId === userId) && !chat.isDeleted
  return {
    ...{ chatId, seq, event, data, at },
    ...(named !== undefined && { user: publicUser(database, named) }),
    ...(nonce !== undefined && named === userId && { nonce }),
    ...(event === "member:added" && named === userId && isMember && { chat: syncChat(database, chat, userId) }),
  }
}

export function truncate(entry: LogEntry, maxContent: number): unknown {
  const data = structuredClone(entry.data) as { content?: string; updates?: Record<string, string>; truncated?: true }
  if ((data.content ?? data.updates?.["content"] ?? "").length <= maxContent) return data
  delete data.content
  delete data.updates?.["content"]
  return { ...data, truncated: true }
}

export function eventUser({ event, data }: LogEntry): string | undefined {
  if (event === "member:added" || event === "member:removed") return data as string
  return (data as { userId?: string }).userId
}
