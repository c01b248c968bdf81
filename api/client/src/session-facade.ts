// The interface to one chat: requests of the user, and what they change in the store.

import type { ChatSession, UserReference } from "./client.js"
import { unwrap } from "./http/api.js"
import { isLarge } from "./store/chat-list.js"
import { deleteMessage, editMessage, type MessageChanges } from "./store/message-changes.js"
import type { Session } from "./store/session.js"
import type { Store } from "./store/store.js"
import type { MemberList, MessageType, Presence, Subscribable, Timeline } from "./types.js"

export class SessionFacade implements ChatSession {
  readonly id: string
  readonly timeline: Subscribable<Timeline>
  readonly members: Subscribable<MemberList>
  readonly presence: Subscribable<Presence>
  readonly #store: Store
  readonly #session: Session

  constructor(store: Store, session: Session) {
    this.#store = store
    this.#session = session
    this.id = session.id
    this.timeline = session.timeline.value
    this.members = session.members.value
    this.presence = session.presence
  }

  open(): () => void {
    return this.#session.open()
  }

  loadOlder(): Promise<void> {
    return this.#session.timeline.loadMore("before")
  }

  loadNewer(): Promise<void> {
    return this.#session.timeline.loadMore("after")
  }

  async jumpTo(messageId: string): Promise<void> {
    const { timeline } = this.#session
    if (timeline.find(messageId)) return
    try {
      await timeline.load({ around: messageId })
    } catch (error) {
      if (!timeline.seq) await timeline.load()
      throw error
    }
  }

  async jumpToNewest(): Promise<void> {
    const { timeline } = this.#session
    if (timeline.hasNewer || !timeline.seq) await timeline.load()
  }

  send({ content, type = "text" }: { content: string; type?: MessageType }): void {
    this.#session.timeline.outbox.send(type, content)
    this.#showNewest()
  }

  sendImage(file: Blob): void {
    this.#session.timeline.outbox.send("image", URL.createObjectURL(file), file)
    this.#showNewest()
  }

  retry(key: string): void {
    this.#session.timeline.outbox.retry(key)
  }

  discard(key: string): void {
    this.#session.timeline.outbox.discard(key)
  }

  edit(messageId: string, changes: MessageChanges): Promise<void> {
    return editMessage(this.#store, this.#session, messageId, changes)
  }

  deleteMessage(messageId: string): Promise<void> {
    return deleteMessage(this.#store, this.#session, messageId)
  }

  markRead(messageId: string): void {
    this.#store.readMarkers.mark(this.id, messageId)
  }

  notifyTyping(): void {
    this.#session.notifyTyping()
  }

  loadMembers(): Promise<void> {
    return this.#session.members.load()
  }

  /** Add a member. The list of members changes when the event arrives. */
  async addMember(user: UserReference): Promise<void> {
    const params = { path: { chatId: this.id } }
    const { data } = await unwrap(this.#store.api.POST("/api/chats/{chatId}/members", { params, body: user }))
    this.#store.users.add([{ id: data.userId, name: data.name, imageUrl: data.image }])
    this.#fetchMemberEvents()
  }

  async removeMember(userId: string): Promise<void> {
    const params = { path: { chatId: this.id, userId } }
    await unwrap(this.#store.api.DELETE("/api/chats/{chatId}/members/{userId}", { params }))
    this.#fetchMemberEvents()
  }

  async makeOwner(userId: string): Promise<void> {
    const params = { path: { chatId: this.id, userId } }
    await unwrap(this.#store.api.PUT("/api/chats/{chatId}/members/{userId}", { params, body: { role: "owner" } }))
    this.#fetchMemberEvents()
  }

  /** In a large chat, the events of other members are not published. */
  #fetchMemberEvents(): void {
    if (isLarge(this.#store.chats.get(this.id))) this.#store.catchUp.markBehind(this.id)
  }

  /** A message that is sent from an older part of the chat belongs to the newest part. */
  #showNewest(): void {
    if (this.#session.timeline.hasNewer) this.jumpToNewest().catch(() => {})
  }
}
