// Starting and staying live: the connection, the state, and the events since the last response.
//
// The state and the events are fetched when the subscription to the user's own channel has succeeded, so that no event
// is missed between the two. Live events that arrive during a request wait for its response.

import type { Api } from "../http/api.js"
import { unwrap } from "../http/api.js"
import { ParleyError } from "../http/errors.js"
import { getUserChannel } from "../live/channel-names.js"
import type { LiveConnection, LiveSubscription } from "../live/connection.js"
import type { components } from "../schema.js"
import type { ChatEvent, ConnectionStatus, User } from "../types.js"
import { isLarge } from "./chat-list.js"
import { WITH_USERS } from "./request-options.js"
import { Store } from "./store.js"
import { Value } from "./value.js"

type Schemas = components["schemas"]

const SUBSCRIPTION_MS = 3000 // before the state is fetched without a subscription
const POLL_MS = 30_000 // between two requests while there is no subscription
const RETRY_MS = 5000 // after the transport has given up
const MAX_BUFFERED_EVENTS = 1000
const MAX_MISSING_CHATS = 3 // that are fetched one by one

export class Sync {
  readonly status = new Value<ConnectionStatus>("idle")
  readonly store: Store
  readonly #connect: (userId: string) => Promise<LiveConnection>
  #connection: LiveConnection | undefined
  #subscription: LiveSubscription | undefined
  #cursor: string | undefined
  /** Increases when the client starts, stops or changes the user: what was begun before is dropped. */
  #run = 0
  #isSubscribed = false
  /** There has been time enough for the subscription. */
  #hasWaited = false
  #isSyncing = false
  #isSyncRequested = false
  #buffer: ChatEvent[] = []
  #timer: ReturnType<typeof setTimeout> | undefined

  /** `connect` loads and creates the connection of a user. */
  constructor(api: Api, userId: string | undefined, connect: (userId: string) => Promise<LiveConnection>) {
    this.store = new Store(api, userId ?? null, () => this.#schedule(POLL_MS))
    this.#connect = connect
  }

  get #isStarted(): boolean {
    const status = this.status.getSnapshot()
    return status !== "idle" && status !== "signed-out"
  }

  start(): void {
    if (this.#isStarted) return
    this.#run += 1
    this.#hasWaited = false
    this.status.set("connecting")
    this.#begin()
  }

  stop(status: "idle" | "signed-out" = "idle"): void {
    this.#run += 1
    clearTimeout(this.#timer)
    this.#isSubscribed = false
    this.#connection?.disconnect()
    this.store.stopChanges()
    this.status.set(status)
  }

  /** Drop the cursor too: another user may sign in, whose ID only the state has. */
  signOut(): void {
    if (!this.#isStarted) return
    this.#cursor = undefined
    this.stop("signed-out")
  }

  #begin(): void {
    if (this.store.userId === null) void this.#sync()
    else void this.#subscribe(this.store.userId)
    this.#schedule(SUBSCRIPTION_MS)
  }

  /** Connect as the user. If the connection cannot be loaded, the next poll tries again. */
  async #subscribe(userId: string): Promise<void> {
    const run = this.#run
    const channel = await getUserChannel(userId)
    const connection = this.#connection ?? (await this.#connect(userId).catch(() => undefined))
    if (run !== this.#run || !connection) return
    if (!this.#connection) this.#use(connection, channel)
    this.#connection?.connect()
  }

  #use(connection: LiveConnection, channel: string): void {
    this.#connection = connection
    this.store.setConnection(connection)
    connection.status.subscribe(() => connection === this.#connection && this.#onConnectionStatus(connection))
    this.#subscription = connection.subscribe(channel, {
      onSubscribed: () => {
        this.#isSubscribed = true
        void this.#sync()
      },
      onEvent: (event, data) => this.#onEvent(event, data),
      onRejected: (error) => (error.status === 401 ? this.signOut() : this.#changeUser()),
    })
  }

  #onConnectionStatus(connection: LiveConnection): void {
    if (connection.status.getSnapshot() === "connected" || !this.#isSubscribed) return
    this.#isSubscribed = false
    this.#hasWaited = true
    this.#updateStatus()
    this.#schedule(POLL_MS)
  }

  #onEvent(name: string, data: unknown): void {
    const chatId = typeof data === "string" ? data : (data as { id?: string }).id
    if (name === "user:updated") this.store.updateUser(data as User)
    else if (name === "chat:event") this.#onChatEvent(data as ChatEvent)
    else if (name === "chat:deleted" && chatId) this.store.removeChat(chatId)
    else if (name === "chat:updated" && isLarge(this.store.chats.get(chatId ?? ""))) {
      // Small chats have a chat:event of it.
      const { id, updates } = data as Schemas["ChatUpdated"]
      if (updates.title) this.store.chats.update(id, { title: updates.title })
    }
  }

  #onChatEvent(event: ChatEvent): void {
    if (!this.#isSyncing) {
      if (this.#cursor) this.store.receive(event) // otherwise, the state will include it
    } else if (this.#buffer.push(event) > MAX_BUFFERED_EVENTS) {
      this.#buffer = []
      this.#isSyncRequested = true
    }
  }

  /** Another user has signed in. */
  #changeUser(): void {
    this.#run += 1
    this.#dropUser()
    this.#begin()
  }

  #dropUser(): void {
    this.#subscription?.unsubscribe()
    this.#connection?.disconnect()
    this.#connection = undefined
    this.#isSubscribed = false
    this.#cursor = undefined
    this.#buffer = []
    this.store.setConnection(undefined)
    this.store.clear()
  }

  async #sync(): Promise<void> {
    this.#isSyncRequested = true
    if (this.#isSyncing) return
    this.#isSyncing = true
    this.store.catchUp.pause()
    const run = this.#run
    let isDone = false
    try {
      while (this.#isSyncRequested && this.#isStarted) {
        this.#isSyncRequested = false
        await this.#fetch()
      }
      isDone = true
    } catch {
      // Network errors are repeated later; a 401 has signed the client out.
    }
    this.#isSyncing = false
    const events = this.#buffer
    this.#buffer = []
    if (!this.#isStarted) return
    this.#updateStatus()
    if (!isDone || run !== this.#run) {
      this.#schedule(RETRY_MS)
      return
    }
    clearTimeout(this.#timer)
    if (!this.#isSubscribed) this.#schedule(this.#hasWaited ? POLL_MS : SUBSCRIPTION_MS)
    for (const event of events) this.store.receive(event)
    this.store.catchUp.resume()
    this.store.allowChanges()
  }

  /** Fetch the events since the cursor; the state, if there is none or the log does not reach back. */
  async #fetch(): Promise<void> {
    let isExpired = false
    for (let hasMore = true; hasMore; ) {
      const run = this.#run
      try {
        const page = await this.#fetchPage()
        if (run !== this.#run) return
        hasMore = "chats" in page ? this.#show(page, isExpired) : this.#apply(page)
      } catch (error) {
        if (!(error instanceof ParleyError && error.status === 410 && this.#cursor) || run !== this.#run) throw error
        this.#cursor = undefined
        isExpired = true
      }
    }
  }

  async #fetchPage(): Promise<Schemas["Sync"]> {
    const page = this.#cursor ? { after: this.#cursor, limit: 1000 } : { limit: 100 }
    const params = { query: { ...page, ...WITH_USERS } }
    return (await unwrap(this.store.api.GET("/api/sync", { params }))).data
  }

  /** Replace everything by the state. Returns false: the state is complete. */
  #show(state: Schemas["InitialState"], isExpired: boolean): boolean {
    const { store } = this
    if (store.userId !== null && store.userId !== state.user.id) this.#dropUser()
    store.userId = state.user.id
    store.show(state, isExpired)
    this.#cursor = state.cursor
    if (!this.#connection) void this.#subscribe(state.user.id)
    return false
  }

  /** Apply events. Returns whether more is to be fetched. */
  #apply({ events, next, hasMore, users }: Schemas["Events"]): boolean {
    this.store.users.add(users)
    for (const event of events as ChatEvent[]) this.store.receive(event)
    this.#cursor = next
    if (hasMore || this.store.catchUp.missing.size <= MAX_MISSING_CHATS) return hasMore
    this.#cursor = undefined
    return true
  }

  #schedule(delay: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#onTimeout(), delay)
  }

  #onTimeout(): void {
    this.#hasWaited = true
    if (!this.#isStarted) return
    if (!this.#connection && this.store.userId !== null) void this.#subscribe(this.store.userId)
    void this.#sync()
  }

  #updateStatus(): void {
    if (this.#isSubscribed && this.#cursor) this.status.set("live")
    else this.status.set(this.#hasWaited && this.#cursor ? "offline" : "connecting")
  }
}
