// The timeline of a chat: a window on its messages, and the pending ones.
//
// `seq` is the last event that all messages of the window reflect; 0 if nothing is loaded. A page may be older (a stale
// replica) or newer than the window. The window's seq becomes the lower of both, and the events after it are applied
// again, which is idempotent.

import { unwrap } from "../http/api.js"
import { ParleyError } from "../http/errors.js"
import { parseLinks } from "../pages.js"
import type { components } from "../schema.js"
import type { ChatEvent, Message, Timeline } from "../types.js"
import { Derived } from "./derived.js"
import {
  applyToWindow,
  EMPTY_WINDOW,
  type MessageWindow,
  mergeMessages,
  removeMessage,
  type StoredMessage,
  toStoredMessage,
  updateMessage,
} from "./message-window.js"
import { Outbox, type OutboxOwner } from "./outbox.js"
import { getSeq, NO_CACHE } from "./request-options.js"
import type { Store } from "./store.js"

type Page = { data: components["schemas"]["Messages"]; response: Response }
const INCLUDED: ("users" | "etag")[] = ["users", "etag"]

type PageQuery = { around?: string; before?: string; after?: string }

export class ChatTimeline implements OutboxOwner {
  readonly value = new Derived<Timeline>(() => this.#compute())
  readonly outbox: Outbox
  seq = 0
  /** The newest page must be fetched. */
  isStale = false
  /** Increases when events were skipped. */
  reloads = 0
  readonly #store: Store
  readonly #chatId: string
  readonly #onPage: () => void
  #status: Timeline["status"] = "loading"
  #error: ParleyError | undefined
  #window: MessageWindow = EMPTY_WINDOW
  readonly #loading = { before: false, after: false }
  /** Increases when the window is replaced: a page that was requested before does not belong to it. */
  #generation = 0
  /** Whether the window is about to be replaced. */
  isLoading = false

  /** `onPage` is called after a page was added: the events after `seq` must be applied. */
  constructor(store: Store, chatId: string, onPage: () => void) {
    this.#store = store
    this.#chatId = chatId
    this.#onPage = onPage
    this.outbox = new Outbox(store, chatId, this)
  }

  get status(): Timeline["status"] {
    return this.#status
  }

  get hasNewer(): boolean {
    return this.#window.hasNewer
  }

  find(messageId: string): StoredMessage | undefined {
    return this.#window.messages.find(({ id }) => id === messageId)
  }

  /** The messages after another, if the window reaches from there to the newest one. */
  findAfter(messageId: string): readonly StoredMessage[] | undefined {
    if (this.#window.hasNewer || !this.find(messageId)) return undefined
    return this.#window.messages.filter(({ id }) => id > messageId)
  }

  /** The newest message of the chat after the event `seq`, null if there is none; undefined if it is unknown. */
  findNewest(seq: number): StoredMessage | null | undefined {
    const { messages, hasOlder, hasNewer } = this.#window
    if (this.seq !== seq || hasNewer || (hasOlder && !messages.length)) return undefined
    return messages.at(-1) ?? null
  }

  /** The ID of a message whose content is to be fetched. */
  findIncomplete(): string | undefined {
    return this.#window.messages.find(({ content }) => content === undefined)?.id
  }

  /** Replace the window by the newest page, or by that around a message. */
  async load(query: PageQuery = {}): Promise<void> {
    const generation = this.#restart()
    const sent = this.outbox.sentKeys
    const wasStale = this.isStale
    this.isStale = false
    this.isLoading = true
    try {
      const { data, response } = await this.#fetch(query)
      if (generation !== this.#generation) return
      const messages = this.#toMessages(data.messages)
      const links = parseLinks(response)
      this.outbox.removeAll(sent)
      this.#window = { messages, hasOlder: "next" in links, hasNewer: "prev" in links }
      this.#status = "ready"
      this.#error = undefined
      this.seq = getSeq(response)
      this.#onPage()
    } catch (error) {
      if (generation !== this.#generation) throw error
      this.isStale ||= wasStale
      if (this.#status === "loading" && !query.around && error instanceof ParleyError) {
        this.#status = "failed"
        this.#error = error
      }
      throw error
    } finally {
      if (generation === this.#generation) this.isLoading = false
      this.value.invalidate()
    }
  }

  /** Add a page of messages before or after the window. */
  async loadMore(direction: "before" | "after"): Promise<void> {
    const isOlder = direction === "before"
    const edge = this.#window.messages.at(isOlder ? 0 : -1)
    if (!edge || this.#loading[direction] || !(isOlder ? this.#window.hasOlder : this.#window.hasNewer)) return
    const generation = this.#generation
    this.#loading[direction] = true
    this.value.invalidate()
    try {
      const { data, response } = await this.#fetch({ [direction]: edge.id })
      if (generation !== this.#generation) return
      const hasMore = (isOlder ? "next" : "prev") in parseLinks(response)
      this.#window = {
        ...this.#window,
        messages: mergeMessages(this.#window.messages, this.#toMessages(data.messages)),
        ...(isOlder ? { hasOlder: hasMore } : { hasNewer: hasMore }),
      }
      this.seq = Math.min(this.seq, getSeq(response))
      this.#onPage()
    } finally {
      if (generation === this.#generation) this.#loading[direction] = false
      this.value.invalidate()
    }
  }

  /** Apply an event, which follows the event `previousSeq`. An event after a gap is ignored. */
  apply(event: ChatEvent, previousSeq: number): void {
    const isNext = event.seq > this.seq && this.seq >= previousSeq
    const isAfterGap = event.seq > this.seq && !isNext
    if (this.seq && isAfterGap) return
    const sent = this.outbox.acknowledge(event)
    if (!this.seq || !isNext) return
    this.seq = event.seq
    this.#replace(applyToWindow(this.#window, event, sent))
  }

  /** Fetch the current version of a message, and return it; undefined if it was deleted. */
  async refreshMessage(messageId: string): Promise<StoredMessage | undefined> {
    const params = { path: { chatId: this.#chatId, messageId } }
    try {
      const { data, response } = await unwrap(
        this.#store.api.GET("/api/chats/{chatId}/messages/{messageId}", { params, headers: NO_CACHE }),
      )
      const message = toStoredMessage({ ...data, etag: response.headers.get("ETag") ?? "" })
      this.replaceMessage(message)
      return message
    } catch (error) {
      if (!(error instanceof ParleyError && error.status === 404)) throw error
      this.deleteMessage(messageId)
      return undefined
    }
  }

  replaceMessage(message: StoredMessage): void {
    this.#replace(updateMessage(this.#window, message))
  }

  deleteMessage(messageId: string): void {
    this.#replace(removeMessage(this.#window, messageId))
  }

  /** Events were skipped: fetch the newest page again. The messages remain until then. */
  reload(): void {
    this.reloads += 1
    this.isStale ||= this.seq > 0
    this.seq = 0
  }

  /** Drop the messages. */
  reset(status: "loading" | "gone" = "loading"): void {
    this.#restart()
    this.seq = 0
    this.isStale = false
    this.#status = status
    this.#error = undefined
    this.#window = EMPTY_WINDOW
    this.value.invalidate()
  }

  onOutboxChange(): void {
    this.value.invalidate()
  }

  mustShowUntilEvent(messageId: string, reloads: number): boolean {
    const newest = this.#window.messages.at(-1)
    // IDs ascend with the events: the window already reflects the event of a message before its newest one.
    if (!this.seq || this.#window.hasNewer || (newest && newest.id >= messageId)) return false
    if (reloads !== this.reloads) {
      // The event may be one of those that were skipped, and the message may have been deleted since.
      this.reload()
      this.#store.catchUp.request(this.#chatId)
    }
    return true
  }

  /** A window that lost its last message has no edge to load more messages from. */
  #replace(window: MessageWindow): void {
    this.#window = window
    if (!window.messages.length && (window.hasOlder || window.hasNewer)) this.isStale = true
    this.value.invalidate()
  }

  #restart(): number {
    this.isLoading = false
    this.#loading.before = false
    this.#loading.after = false
    this.#generation += 1
    return this.#generation
  }

  /** A replica may not know the chat or the message yet: only the primary's 404 counts. */
  async #fetch(query: PageQuery, headers?: typeof NO_CACHE): Promise<Page> {
    const params = { path: { chatId: this.#chatId }, query: { ...query, include: INCLUDED, limit: 50 } }
    try {
      const page = await unwrap(this.#store.api.GET("/api/chats/{chatId}/messages", { params, headers: headers ?? {} }))
      this.#store.users.add(page.data.users)
      return page
    } catch (error) {
      if (headers || !(error instanceof ParleyError && error.status === 404)) throw error
      return this.#fetch(query, NO_CACHE)
    }
  }

  #toMessages(messages: Page["data"]["messages"]): readonly StoredMessage[] {
    const stored = messages.map((message) => toStoredMessage(message, this.outbox.acknowledgeId(message.id)))
    return mergeMessages([], stored)
  }

  #compute(): Timeline {
    const { messages, hasOlder, hasNewer } = this.#window
    const { outbox } = this
    const all: Message[] = [...messages, ...outbox.messages]
    const { before: isLoadingOlder, after: isLoadingNewer } = this.#loading
    const error = this.#error && { error: this.#error }
    return { status: this.#status, messages: all, hasOlder, hasNewer, isLoadingOlder, isLoadingNewer, ...error }
  }
}
