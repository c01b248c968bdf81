// The messages of a chat that the user sends: each is shown at once, and sent in order, exactly once.
//
// `key` is the message's key on the screen, its nonce and its idempotency key. The response or the event with the nonce
// acknowledges it, whichever comes first. An entry with an `id` has the response, and is shown until its event adds the
// message to the window. If the event arrives first, it removes the entry, so a late response cannot restore a message
// that was deleted in the meantime.

import { generateId } from "../generate-id.js"
import { unwrap } from "../http/api.js"
import { ParleyError } from "../http/errors.js"
import type { ChatEvent, Message, MessageType } from "../types.js"
import type { Store } from "./store.js"
import { createUploadForm } from "./upload-form.js"

const RETRY_MS = 5000 // after the transport has given up
/** Codes of errors after which a request is to be sent again later. */
export const TEMPORARY = new Set<string>(["network_error", "rate_limited", "unavailable", "unauthorized"])

interface Entry {
  readonly key: string
  readonly type: MessageType
  readonly createdAt: string
  /** That of the timeline, when the message was first sent. */
  readonly reloads: number
  content: string
  /** The image to upload. */
  file?: Blob | undefined
  error?: ParleyError | undefined
  id?: string
}

/** What the outbox needs of the timeline. */
export interface OutboxOwner {
  readonly reloads: number
  onOutboxChange(): void
  /** Return whether the entry is still to be shown, after the response with the ID of its message. */
  mustShowUntilEvent(messageId: string, reloads: number): boolean
}

export class Outbox {
  readonly #store: Store
  readonly #chatId: string
  readonly #owner: OutboxOwner
  #entries: Entry[] = []
  #isSending = false
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(store: Store, chatId: string, owner: OutboxOwner) {
    this.#store = store
    this.#chatId = chatId
    this.#owner = owner
  }

  get messages(): Message[] {
    const userId = this.#store.userId ?? ""
    return this.#entries.map(({ key, id = null, type, content, createdAt, error }) => {
      const status = error ? "failed" : id ? "sent" : "pending"
      return { key, id, type, content, userId, createdAt, updatedAt: createdAt, status, ...(error && { error }) }
    })
  }

  send(type: MessageType, content: string, file?: Blob): void {
    const createdAt = new Date().toISOString()
    const { reloads } = this.#owner
    this.#entries.push({ key: generateId(), type, content, createdAt, reloads, file })
    this.#changed()
    this.resume()
  }

  retry(key: string): void {
    const entry = this.#entries.find((entry) => entry.key === key && entry.error)
    if (!entry) return
    entry.error = undefined
    this.#changed()
    this.resume()
  }

  discard(key: string): void {
    this.#remove(this.#entries.find((entry) => entry.key === key && entry.error))
  }

  /** Remove the entry of a message that was stored, and return its key and content on the screen. */
  acknowledge(event: ChatEvent): { key: string; content: string } | undefined {
    if (event.event !== "message:sent") return undefined
    const { nonce, data } = event
    return this.#remove(this.#entries.find(({ key, id }) => id === data.id || key === nonce))
  }

  /** Remove the entry of a message in a page, which has no nonce, and return its key. */
  acknowledgeId(messageId: string): string | undefined {
    return this.#remove(this.#entries.find(({ id }) => id === messageId))?.key
  }

  /** The keys of the entries that have a response. */
  get sentKeys(): string[] {
    return this.#entries.filter(({ id }) => id).map(({ key }) => key)
  }

  removeAll(keys: readonly string[]): void {
    for (const key of keys) this.#remove(this.#entries.find((entry) => entry.key === key))
  }

  clear(): void {
    clearTimeout(this.#timer)
    this.removeAll(this.#entries.map(({ key }) => key))
  }

  /** Send the pending messages, one at a time. */
  resume(): void {
    clearTimeout(this.#timer)
    if (!this.#isSending) void this.#sendAll()
  }

  async #sendAll(): Promise<void> {
    this.#isSending = true
    const findNext = () => this.#entries.find(({ id, error }) => !id && !error)
    for (let entry = findNext(); entry; entry = findNext()) {
      const signal = this.#store.changes
      if (!signal) break
      try {
        await this.#send(entry, signal)
      } catch (cause) {
        if (signal.aborted) continue
        const error = cause instanceof ParleyError ? cause : new ParleyError(String(cause), "internal_error", 0)
        if (TEMPORARY.has(error.code) && this.#entries.includes(entry)) {
          if (error.status !== 401) this.#timer = setTimeout(() => this.resume(), RETRY_MS)
          break
        }
        entry.error = error
        this.#changed()
      }
    }
    this.#isSending = false
  }

  async #send(entry: Entry, signal: AbortSignal): Promise<void> {
    const { key, type, file } = entry
    const path = { chatId: this.#chatId }
    if (file) {
      const params = { path, header: { "Idempotency-Key": `${key}-image` } }
      const body = await createUploadForm(file)
      const { data } = await unwrap(this.#store.api.POST("/api/chats/{chatId}/images", { params, body, signal }))
      this.#revoke(entry)
      entry.content = data.imageUrl
      entry.file = undefined
      this.#changed()
    }
    const params = { path, header: { "Idempotency-Key": key } }
    const body = { content: entry.content, type, nonce: key }
    const { data } = await unwrap(this.#store.api.POST("/api/chats/{chatId}/messages", { params, body, signal }))
    if (!this.#entries.includes(entry)) return
    entry.id = data.id
    if (!this.#owner.mustShowUntilEvent(data.id, entry.reloads)) this.#remove(entry)
    this.#changed()
  }

  #remove(entry: Entry | undefined): Entry | undefined {
    if (!entry) return undefined
    this.#revoke(entry)
    this.#entries = this.#entries.filter((other) => other !== entry)
    this.#changed()
    return entry
  }

  #revoke({ content, file }: Entry): void {
    if (file) URL.revokeObjectURL(content)
  }

  #changed(): void {
    this.#owner.onOutboxChange()
  }
}
