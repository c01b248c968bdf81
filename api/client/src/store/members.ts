// The members of a chat, with how far each has read.

import { unwrap } from "../http/api.js"
import { ParleyError } from "../http/errors.js"
import type { ChatEvent, Member, MemberList, User } from "../types.js"
import { Derived } from "./derived.js"
import { getSeq, NO_CACHE } from "./request-options.js"
import type { Store } from "./store.js"

export class ChatMembers {
  readonly value = new Derived<MemberList>(() => this.#compute())
  /** The last event that the list reflects; 0 if it is not loaded. */
  seq = 0
  /** The list must be fetched. */
  isStale = false
  readonly #store: Store
  readonly #chatId: string
  readonly #onPage: () => void
  #status: MemberList["status"] = "loading"
  #error: ParleyError | undefined
  #members: readonly Member[] = []
  #total = 0
  #loading: Promise<void> | undefined

  /** `onPage` is called after the list was fetched: the events after `seq` must be applied. */
  constructor(store: Store, chatId: string, onPage: () => void) {
    this.#store = store
    this.#chatId = chatId
    this.#onPage = onPage
  }

  /** Fetch the list, once for all callers at the same time. */
  load(): Promise<void> {
    this.#loading ??= this.#fetch().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #fetch(): Promise<void> {
    const params = { path: { chatId: this.#chatId }, query: { limit: 1000 } }
    const { epoch } = this.#store
    try {
      const { data, response } = await unwrap(
        this.#store.api.GET("/api/chats/{chatId}/members", { params, headers: NO_CACHE }),
      )
      if (epoch !== this.#store.epoch) return
      this.#members = data.members
      this.#total = data.total
      this.#status = "ready"
      this.#error = undefined
      this.isStale = false
      this.seq = getSeq(response)
      this.#store.users.add(data.members.map(({ userId, name, image }) => ({ id: userId, name, imageUrl: image })))
      this.#onPage()
    } catch (error) {
      if (this.#status === "loading" && error instanceof ParleyError) {
        this.#status = "failed"
        this.#error = error
      }
      throw error
    } finally {
      this.value.invalidate()
    }
  }

  /** Apply an event, which follows the event `previousSeq`. */
  apply(event: ChatEvent, previousSeq: number): void {
    if (!this.seq || event.seq <= this.seq || this.seq < previousSeq) return
    this.seq = event.seq
    switch (event.event) {
      case "message:sent":
        this.#moveMarker(event.data.userId, event.data.id)
        break
      case "chat:read":
        this.#moveMarker(event.data.userId, event.data.lastReadMessageId)
        break
      case "member:added":
        this.#add(event.data, event.at)
        break
      case "member:removed":
        this.#total -= 1
        this.#members = this.#members.filter(({ userId }) => userId !== event.data)
        break
      case "member:updated": {
        const owner = event.data.userId
        this.#change((member) => ({ ...member, role: member.userId === owner ? "owner" : "member" }))
      }
    }
    this.value.invalidate()
  }

  updateUser({ id, name, imageUrl }: User): void {
    this.#change((member) => (member.userId === id ? { ...member, name, image: imageUrl } : member))
    this.value.invalidate()
  }

  /** Fetch the list again instead of the events that are missing. */
  reload(): void {
    this.isStale ||= this.seq > 0
    this.seq = 0
  }

  reset(): void {
    this.seq = 0
    this.isStale = false
    this.#status = "loading"
    this.#members = []
    this.#total = 0
    this.value.invalidate()
  }

  /** The read marker of a member who was a member before is unknown until the member reads again. */
  #add(userId: string, joinedAt: string): void {
    const user = this.#store.users.get(userId)
    const [name, image] = [user?.name ?? null, user?.imageUrl ?? null]
    const member: Member = { userId, name, image, role: "member", joinedAt, lastReadMessageId: null }
    this.#members = [...this.#members.filter((other) => other.userId !== userId), member]
    this.#total += 1
  }

  #moveMarker(userId: string, messageId: string): void {
    const isMoved = (member: Member) => member.userId === userId && messageId > (member.lastReadMessageId ?? "")
    this.#change((member) => (isMoved(member) ? { ...member, lastReadMessageId: messageId } : member))
  }

  #change(change: (member: Member) => Member): void {
    this.#members = this.#members.map(change)
  }

  #compute(): MemberList {
    const error = this.#error && { error: this.#error }
    return { status: this.#status, members: this.#members, total: this.#total, ...error }
  }
}
