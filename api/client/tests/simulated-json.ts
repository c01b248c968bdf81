// The JSON of the simulated API: users, chats, members and messages.

import type { Database, ServerChat } from "./simulated-server.js"

/** The number of messages after the user's read marker. */
export function countUnread({ markers }: Database, chat: ServerChat, userId: string): number {
  const marker = markers[`${chat.id} ${userId}`] ?? ""
  return chat.messages.filter(({ id }) => id > marker).length
}

export function publicUser(
  { users }: Database,
  userId: string,
): { id: string; name: string | null; imageUrl: string | null } {
  const { name = null, imageUrl = null } = users[userId] ?? {}
  return { id: userId, name, imageUrl }
}

/** The chat as the state has it. */
export function syncChat(database: Database, chat: ServerChat, userId: string): Record<string, unknown> {
  const author = chat.messages.at(-1) && publicUser(database, chat.messages.at(-1)?.userId ?? "")
  const fields = chatJson(database, chat, userId)
  const lastMessage = fields.lastMessage && { ...fields.lastMessage, author }
  const channel = isSmall(chat) ? `private-user-${userId}` : `private-chat-${chat.id}`
  return { ...fields, lastMessage, seq: chat.seq, channel }
}

export function chatJson(database: Database, chat: ServerChat, userId: string) {
  const last = chat.messages.at(-1)
  return {
    id: chat.id,
    title: chat.title,
    role: chat.ownerId === userId ? "owner" : "member",
    createdAt: chat.createdAt,
    updatedAt: chat.updatedAt,
    lastMessageAt: last?.createdAt ?? null,
    lastMessage: last
      ? {
          id: last.id,
          content: last.content.slice(0, 200),
          type: last.type,
          userId: last.userId,
          createdAt: last.createdAt,
        }
      : null,
    unreadCount: countUnread(database, chat, userId),
    lastReadMessageId: database.markers[`${chat.id} ${userId}`] ?? null,
    memberCount: chat.members.length,
  }
}

export function memberJson(database: Database, chat: ServerChat, userId: string): Record<string, unknown> {
  const { name, imageUrl: image } = publicUser(database, userId)
  const joinedAt = chat.members.find((member) => member.userId === userId)?.joinedAt
  const role = chat.ownerId === userId ? "owner" : "member"
  return { userId, name, image, role, joinedAt, lastReadMessageId: database.markers[`${chat.id} ${userId}`] ?? null }
}

export function listChats({ chats }: Database, userId: string): ServerChat[] {
  return Object.values(chats)
    .filter((chat) => !chat.isDeleted && chat.members.some((member) => member.userId === userId))
    .sort((a, b) => (activity(a) < activity(b) ? 1 : -1))
}

export function activity({ id, messages }: ServerChat): string {
  return messages.at(-1)?.id ?? id
}

/** Whether the events of the chat are published on the channels of its members. */
export function isSmall(chat: ServerChat): boolean {
  return chat.members.length <= 100
}
