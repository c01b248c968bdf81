// One chat beside its entry in the list: its timeline, members and presence.

import type { LiveConnection, LiveSubscription } from "../live/connection.js"
import type { ChatPresence } from "../live/presence.js"
import type { ChatEvent, Presence } from "../types.js"
import { isLarge } from "./chat-list.js"
import { ChatMembers } from "./members.js"
import type { Store } from "./store.js"
import { ChatTimeline } from "./timeline.js"
import { Value } from "./value.js"

const MAX_RECENT_EVENTS = 100 // kept for pages that are older than the last event
const NOBODY: Presence = { online: new Set(), typing: new Set() }

export class Session {
  readonly id: string
  readonly timeline: ChatTimeline
  readonly members: ChatMembers
  readonly presence = new Value<Presence>(NOBODY)
  readonly #store: Store
  #openCount = 0
  /** The latest events, without a gap, each with the seq of the one before. */
  #recent: { event: ChatEvent; previousSeq: number }[] = []
  #channel: LiveSubscription | undefined
  #presence: ChatPresence | undefined

  constructor(store: Store, id: string) {
    this.id = id
    this.#store = store
    const onPage = () => this.#applyRecent()
    this.timeline = new ChatTimeline(store, id, onPage)
    this.members = new ChatMembers(store, id, onPage)
  }

  get isOpen(): boolean {
    return this.#openCount > 0
  }

  /** The lowest seq of what is loaded; undefined if nothing is. */
  get seq(): number | undefined {
    const loaded = [this.timeline.seq, this.members.seq].filter(Boolean)
    return loaded.length ? Math.min(...loaded) : undefined
  }

  open(): () => void {
    this.#openCount += 1
    this.#store.trimSessions(this)
    this.resume()
    this.#store.fetchIfUnlisted(this.id)
    let isClosed = false
    return () => {
      if (isClosed) return
      isClosed = true
      this.#openCount -= 1
      this.connect()
    }
  }

  /** Load what an open chat lacks, and send what is pending. */
  resume(): void {
    const { timeline } = this
    if (timeline.status === "gone" && this.#store.chats.get(this.id)) timeline.reset()
    if (this.isOpen && !timeline.seq && !timeline.isLoading && timeline.status !== "gone") timeline.isStale = true
    timeline.outbox.resume()
    this.connect()
    this.#store.catchUp.request(this.id)
  }

  receive(event: ChatEvent, previousSeq: number): void {
    if (this.isOpen || this.seq !== undefined) this.#keep(event, previousSeq)
    this.timeline.apply(event, previousSeq)
    this.members.apply(event, previousSeq)
    if (event.event === "message:sent") this.#presence?.onMessage(event.data.userId)
  }

  notifyTyping(): void {
    this.#presence?.notifyTyping()
  }

  /** Subscribe to the chat's channels while it is on screen: that of a large chat, and that of its presence. */
  connect(): void {
    const { connection } = this.#store
    const chat = this.#store.chats.get(this.id)
    const isConnected = this.isOpen && chat !== undefined && connection !== undefined
    if (isConnected && isLarge(chat)) {
      const onEvent = () => this.#store.catchUp.markBehind(this.id)
      this.#channel ??= connection.subscribe(`private-chat-${this.id}`, { onSubscribed: onEvent, onEvent })
    } else {
      this.#channel?.unsubscribe()
      this.#channel = undefined
    }
    if (isConnected) {
      this.#presence ??= this.#createPresence(connection)
      this.#presence.open(chat.memberCount)
    } else this.#presence?.close()
  }

  /** Leave the channels, because the connection is not used any more. */
  disconnect(): void {
    this.#channel?.unsubscribe()
    this.#channel = undefined
    this.#presence?.close()
    this.#presence = undefined
    this.presence.set(NOBODY)
  }

  /** Fetch what is loaded again, because events are missing; of a closed chat, when it is opened again. */
  reload(): void {
    this.#recent = []
    this.members.reload()
    if (this.isOpen) this.timeline.reload()
    else if (this.timeline.seq) this.timeline.reset()
  }

  /** The user has no access to the chat any more. */
  end(): void {
    this.#recent = []
    this.timeline.outbox.clear()
    this.timeline.reset("gone")
    this.members.reset()
    this.connect()
  }

  /** Drop everything, because another user has signed in. */
  clear(): void {
    this.disconnect()
    this.end()
    this.timeline.reset()
  }

  #createPresence(connection: LiveConnection): ChatPresence {
    const presence = connection.createPresence(this.id)
    presence.subscribe(() => this.presence.set(presence.getSnapshot()))
    return presence
  }

  #keep(event: ChatEvent, previousSeq: number): void {
    const last = this.#recent.at(-1)?.event.seq ?? 0
    if (event.seq <= last) return
    if (last < previousSeq) this.#recent = []
    this.#recent.push({ event, previousSeq })
    if (this.#recent.length > MAX_RECENT_EVENTS) this.#recent.shift()
  }

  /** Apply the events that a page does not reflect yet. */
  #applyRecent(): void {
    for (const { event, previousSeq } of this.#recent) {
      this.timeline.apply(event, previousSeq)
      this.members.apply(event, previousSeq)
    }
    this.#store.catchUp.request(this.id)
  }
}
