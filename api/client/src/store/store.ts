// The state of the client, and how an event changes it.

import type { Api } from "../http/api.js"
import type { LiveConnection } from "../live/connection.js"
import type { components } from "../schema.js"
import type { ChatEvent, User } from "../types.js"
import { CatchUp } from "./catch-up.js"
import { applyToChat, Chats, lacksLastMessage, type StoredChat, toLastMessage } from "./chat-list.js"
import { ReadMarkers } from "./read-markers.js"
import { Session } from "./session.js"
import { Users } from "./users.js"

type SyncState = components["schemas"]["InitialState"]

const MAX_CLOSED_TIMELINES = 20 // closed chats whose messages stay in memory

export class Store {
  readonly api: Api
  readonly users = new Users()
  readonly chats = new Chats()
  readonly sessions = new Map<string, Session>()
  readonly readMarkers = new ReadMarkers(this)
  readonly catchUp: CatchUp
  /** The signed-in user; null until it is known. */
  userId: string | null
  connection: LiveConnection | undefined
  /** Increases when another user has signed in: responses to earlier requests are dropped. */
  epoch = 0
  #changes: AbortController | undefined

  /** `onError` is called if a request to catch up fails. */
  constructor(api: Api, userId: string | null, onError: () => void) {
    this.api = api
    this.userId = userId
    this.catchUp = new CatchUp(this, onError)
  }

  /**
   * Of the changes that wait in the store; undefined while none may be sent. It is aborted when the client stops, since
   * the session cookie may be that of another user then.
   */
  get changes(): AbortSignal | undefined {
    return this.#changes?.signal
  }

  /** Send the changes that wait, now that the user is known to be signed in. */
  allowChanges(): void {
    if (this.#changes) return
    this.#changes = new AbortController()
    for (const { timeline } of this.sessions.values()) timeline.outbox.resume()
    this.readMarkers.resume()
  }

  stopChanges(): void {
    this.#changes?.abort()
    this.#changes = undefined
  }

  session(chatId: string): Session {
    const session = this.sessions.get(chatId) ?? new Session(this, chatId)
    this.sessions.set(chatId, session)
    return session
  }

  /** Replace everything by the state. `isExpired`: the events since the former state are unknown. */
  show(state: SyncState, isExpired: boolean): void {
    this.users.show(state)
    this.users.add(state.chats.map(({ lastMessage }) => lastMessage?.author))
    this.chats.show(state)
    this.catchUp.missing.clear()
    for (const session of this.sessions.values()) {
      // Events of a chat that is neither in the list nor open are not applied, so what it has loaded is dropped.
      const isTracked = this.chats.get(session.id) !== undefined || session.isOpen
      if (isExpired || !isTracked || !session.timeline.seq) session.reload()
      if (session.isOpen) this.fetchIfUnlisted(session.id)
      session.resume()
    }
  }

  /** Apply an event, which follows the event `previousSeq` of the chat. */
  receive(event: ChatEvent, previousSeq: number = event.seq - 1): void {
    const { chatId, seq } = event
    this.users.add([event.user])
    const isRemoved = event.event === "member:removed" && event.data === this.userId
    if (event.event === "chat:deleted" || isRemoved) {
      this.removeChat(chatId)
      return
    }
    this.catchUp.recordEvent(event)
    const chat = this.chats.get(chatId)
    if (event.chat && !(chat && chat.seq >= event.chat.seq)) this.addChat(event.chat)
    else if (!chat) this.#fetchIfActive(event)
    else if (!chat.seq) this.chats.update(chatId, { isStale: true })
    else if (seq > chat.seq && chat.seq >= previousSeq) this.chats.put(applyToChat(chat, event, this.userId))
    const session = this.sessions.get(chatId)
    session?.receive(event, previousSeq)
    session?.connect()
    this.#completeChat(chatId)
    this.catchUp.request(chatId)
  }

  addChat(chat: StoredChat & { lastMessage: { author?: User } | null }): void {
    this.users.add([chat.lastMessage?.author])
    this.chats.put(chat)
    this.catchUp.missing.delete(chat.id)
    this.sessions.get(chat.id)?.resume()
  }

  /** Remove a chat that was deleted, or of which the user is not a member any more. */
  removeChat(chatId: string): void {
    this.chats.remove(chatId)
    this.catchUp.removeChat(chatId)
    this.sessions.get(chatId)?.end()
  }

  updateUser(user: User): void {
    this.users.add([user])
    for (const { members } of this.sessions.values()) members.updateUser(user)
  }

  /** Use another connection, or none. */
  setConnection(connection: LiveConnection | undefined): void {
    for (const session of this.sessions.values()) session.disconnect()
    this.connection = connection
    for (const session of this.sessions.values()) session.connect()
  }

  /** Drop everything, because another user has signed in. */
  clear(): void {
    this.epoch += 1
    this.userId = null
    this.stopChanges()
    this.catchUp.clear()
    this.readMarkers.clear()
    this.chats.clear()
    this.users.clear()
    for (const session of this.sessions.values()) session.clear()
  }

  /** Drop the messages of the chats that were closed longest ago. */
  trimSessions(opened: Session): void {
    this.sessions.delete(opened.id)
    this.sessions.set(opened.id, opened) // the order of the map is that of the last use
    const closed = [...this.sessions.values()].filter(({ isOpen, timeline }) => !isOpen && timeline.seq)
    for (const session of closed.slice(0, -MAX_CLOSED_TIMELINES)) session.timeline.reset()
  }

  /** Replace a last message that was deleted or truncated by the newest one of the timeline, if that is known. */
  #completeChat(chatId: string): void {
    const chat = this.chats.get(chatId)
    if (!chat || !lacksLastMessage(chat)) return
    const newest = this.sessions.get(chatId)?.timeline.findNewest(chat.seq)
    if (newest === null || newest?.content !== undefined) this.chats.update(chatId, toLastMessage(newest))
  }

  /** A chat that is not loaded is needed once it has activity, or is on screen. */
  #fetchIfActive({ event, chatId }: ChatEvent): void {
    const isNeeded = event === "message:sent" || event === "member:added" || this.sessions.get(chatId)?.isOpen
    if (isNeeded) this.catchUp.missing.add(chatId)
  }

  /** Fetch a chat that is on screen, unless it is in the list. */
  fetchIfUnlisted(chatId: string): void {
    if (this.chats.isReady && !this.chats.get(chatId)) this.catchUp.missing.add(chatId)
    this.catchUp.request(chatId)
  }
}
