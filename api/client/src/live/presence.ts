// The members who have a chat on screen, and those of them who are typing.

import { Value } from "../store/value.js"
import type { Presence, Subscribable } from "../types.js"
import { getPresenceChannel } from "./channel-names.js"
import type { LiveConnection, LiveSubscription } from "./connection.js"

const MAX_MEMBERS = 100 // Pusher's limit for a presence channel
const JOIN_DELAY_MS = 1000 // a chat that is opened only in passing costs no request
const TYPING_MS = 5000
const TYPING_INTERVAL_MS = 3000 // between two reports

/** The presence of a chat. */
export interface ChatPresence extends Subscribable<Presence> {
  /** Report that the chat is on screen. Does nothing in a chat of more than 100 members. */
  open(memberCount?: number): void
  /** Report that the chat is not on screen any more. */
  close(): void
  /** Report that the user is typing, at most once in 3 s. */
  notifyTyping(): void
  /** Report that a message of a user arrived, who is no longer typing then. */
  onMessage(userId: string): void
}

const NOBODY: Presence = { online: new Set(), typing: new Set() }

/** Create the presence of a chat, as a user sees it. */
export function createPresence(connection: LiveConnection, chatId: string, userId: string): ChatPresence {
  return new PresenceOfChat(connection, getPresenceChannel(chatId), userId)
}

class PresenceOfChat extends Value<Presence> implements ChatPresence {
  readonly #connection: LiveConnection
  readonly #channel: string
  readonly #userId: string
  readonly #typing = new Map<string, ReturnType<typeof setTimeout>>()
  #joinTimer: ReturnType<typeof setTimeout> | undefined
  #subscription: LiveSubscription | undefined
  #stopWatching: (() => void) | undefined
  #reportedAt = Number.NEGATIVE_INFINITY

  constructor(connection: LiveConnection, channel: string, userId: string) {
    super(NOBODY)
    this.#connection = connection
    this.#channel = channel
    this.#userId = userId
  }

  open(memberCount = 0): void {
    if (memberCount > MAX_MEMBERS || this.#joinTimer !== undefined || this.#subscription) return
    // Before the connection is up, the channel is authorized together with the user's own.
    if (this.#connection.status.getSnapshot() !== "connected") this.#join()
    else this.#joinTimer = setTimeout(() => this.#join(), JOIN_DELAY_MS)
  }

  close(): void {
    clearTimeout(this.#joinTimer)
    this.#joinTimer = undefined
    this.#stopWatching?.()
    this.#subscription?.unsubscribe()
    this.#subscription = undefined
    this.#reset()
  }

  notifyTyping(): void {
    const now = Date.now()
    if (Math.abs(now - this.#reportedAt) < TYPING_INTERVAL_MS) return
    if (this.#subscription?.trigger("client-typing", {})) this.#reportedAt = now
  }

  onMessage(userId: string): void {
    clearTimeout(this.#typing.get(userId))
    if (this.#typing.delete(userId)) this.#update(this.getSnapshot().online)
  }

  #join(): void {
    this.#joinTimer = undefined
    const { status } = this.#connection
    this.#stopWatching = status.subscribe(() => status.getSnapshot() !== "connected" && this.#reset())
    this.#subscription = this.#connection.subscribe(this.#channel, {
      onSubscribed: (members) => this.#update(members ?? new Set()),
      onEvent: (event, data, sender) => this.#receive(event, data as { user_id?: string }, sender),
    })
  }

  #receive(event: string, data: { user_id?: string }, sender: string | undefined): void {
    const online = new Set(this.getSnapshot().online)
    if (event === "client-typing" && sender !== undefined && sender !== this.#userId) {
      clearTimeout(this.#typing.get(sender))
      this.#typing.set(
        sender,
        setTimeout(() => this.onMessage(sender), TYPING_MS),
      )
    } else if (event === "pusher_internal:member_added" && data.user_id) online.add(data.user_id)
    else if (event === "pusher_internal:member_removed" && data.user_id) {
      online.delete(data.user_id)
      clearTimeout(this.#typing.get(data.user_id))
      this.#typing.delete(data.user_id)
    } else return
    this.#update(online)
  }

  #update(members: ReadonlySet<string>): void {
    const online = new Set(members)
    online.delete(this.#userId)
    this.set({ online, typing: new Set(this.#typing.keys()) })
  }

  #reset(): void {
    for (const timer of this.#typing.values()) clearTimeout(timer)
    this.#typing.clear()
    this.set(NOBODY)
  }
}
