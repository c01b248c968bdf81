// The interface of the client, and its composition.

import { type Api, createApi } from "./http/api.js"
import { createTransport } from "./http/transport.js"
import { ParleyClient } from "./parley-client.js"
import type { components } from "./schema.js"
import { Sync } from "./store/sync.js"
import type {
  Chat,
  ChatList,
  ConnectionStatus,
  Hit,
  MemberList,
  MessageType,
  Presence,
  Profile,
  Settings,
  Subscribable,
  Timeline,
  User,
} from "./types.js"

type Schemas = components["schemas"]

/** The Pusher app: its key, and its cluster or the host of another server for Pusher's protocol. */
export interface PusherOptions {
  key: string
  cluster?: string
  host?: string
  /** The port of `host`; by default 443, or 80 without TLS. */
  port?: number
  /** True by default. */
  useTLS?: boolean
}

/** The configuration of a client. */
export interface ParleyOptions {
  /** The API's base URL, such as `https://chat.example.org`. */
  url: string
  /** The Pusher app that Parley publishes to. */
  pusher: PusherOptions
  /** The user's ID, if the page knows it: saves a request at the start. */
  userId?: string
  /**
   * Returns a session token, which requests send as a bearer token. It is called again, once, after a 401. Without this
   * function, requests send the session cookie.
   */
  getToken?: () => string | null | Promise<string | null>
  /** Sends the requests; `globalThis.fetch` by default. */
  fetch?: typeof fetch
}

/** What `search()` finds: the words, in one chat or in all, and filters. */
export interface SearchQuery {
  search: string
  /** Search this chat only. */
  chatId?: string
  type?: MessageType
  /** Inclusive, an ISO date or date-time. */
  startDate?: string
  /** Inclusive, an ISO date or date-time. */
  endDate?: string
  /** `newest` by default. */
  sort?: "newest" | "relevance"
  /** Hits per page, 1 to 100; 50 by default. */
  limit?: number
}

/** A hit; `extract` is HTML for `parseExtract()`, and absent in a search of one chat. */
export type FoundMessage = Omit<Hit, "extract"> & { extract?: string }

/** A page of messages, newest first or by relevance, and the number of messages on all pages. */
export interface MessagePage {
  messages: FoundMessage[]
  total: number
}

/** A page of messages by other criteria than words. */
export interface MessageQuery {
  type?: MessageType
  /** Inclusive, an ISO date or date-time. */
  startDate?: string
  /** Inclusive, an ISO date or date-time. */
  endDate?: string
  /** Messages per page, 1 to 100; 50 by default. */
  limit?: number
}

/** A user, by either ID or e-mail address. */
export type UserReference = { userId: string } | { email: string }

/**
 * A client of Parley: the chats of a user, kept current by live updates. Methods that return a promise reject with a
 * `ParleyError` if the API rejects the request or stays unreachable.
 */
export interface Parley {
  /** Typed requests that share the rate limit, the credentials and the retries of the client. */
  readonly api: Api
  readonly status: Subscribable<ConnectionStatus>
  /** Null until the state has been fetched. */
  readonly profile: Subscribable<Profile | null>
  /** Null until the state has been fetched. */
  readonly settings: Subscribable<Settings | null>
  readonly chats: Subscribable<ChatList>
  /** All users whose name was seen, by ID. */
  readonly users: Subscribable<ReadonlyMap<string, User>>
  /** Connect, and fetch the state. Does nothing if the client was started; after `signed-out`, starts again. */
  start(): void
  /** Close the connection. The state remains, and `start()` resumes from it. */
  stop(): void
  /** Return the session of a chat: the same object for the same ID. */
  chat(chatId: string): ChatSession
  loadMoreChats(): Promise<void>
  createChat(chat: Schemas["NewChat"]): Promise<Chat>
  /** Rename a chat; its owner only. */
  updateChat(chatId: string, changes: { title: string }): Promise<void>
  /** Delete a chat for all members; its owner only. */
  deleteChat(chatId: string): Promise<void>
  leaveChat(chatId: string): Promise<void>
  /** Iterate over the pages of the hits. */
  search(query: SearchQuery, signal?: AbortSignal): AsyncIterableIterator<MessagePage>
  /** Iterate over the pages of a chat's messages, from the newest to the oldest, without changing its timeline. */
  messages(chatId: string, query?: MessageQuery, signal?: AbortSignal): AsyncIterableIterator<MessagePage>
  /** Find a user by the whole e-mail address. */
  findUser(email: string): Promise<User | null>
  updateProfile(changes: { name?: string; email?: string }): Promise<void>
  /** Upload a JPEG, PNG or GIF, scaled down to the limits if necessary. */
  uploadProfileImage(file: Blob): Promise<void>
  updateSettings(changes: Schemas["ChosenSettings"]): Promise<void>
}

/** One chat: its messages, members and presence, and what the user does in it. */
export interface ChatSession {
  readonly id: string
  readonly timeline: Subscribable<Timeline>
  readonly members: Subscribable<MemberList>
  readonly presence: Subscribable<Presence>
  /**
   * Report that the chat is on screen, until the returned function is called. The first call loads the newest messages.
   * While the chat is on screen, the user is online in it, and sees who else is.
   */
  open(): () => void
  /** Load a page of older messages. Does nothing if there are none, or while they are loading. */
  loadOlder(): Promise<void>
  /** Load a page of newer messages. Does nothing if there are none, or while they are loading. */
  loadNewer(): Promise<void>
  /** Show the part of the chat around a message. */
  jumpTo(messageId: string): Promise<void>
  /** Show the newest part of the chat. */
  jumpToNewest(): Promise<void>
  /** Append a pending message and send it. Messages of a chat are sent in order. A failed one has an `error`. */
  send(message: { content: string; type?: MessageType }): void
  /** Append a pending message with the image as its content, then upload the image and send its URL. */
  sendImage(file: Blob): void
  /** Send a failed message again. */
  retry(key: string): void
  /** Remove a failed message. */
  discard(key: string): void
  /**
   * Change a message of the user's own. Rejects with `precondition_failed` if the message is not the version on screen
   * any more; the timeline then has the current one.
   */
  edit(messageId: string, changes: { content?: string; type?: MessageType }): Promise<void>
  deleteMessage(messageId: string): Promise<void>
  /** Mark a message and all older ones as read. Requests are coalesced, and the marker never moves back. */
  markRead(messageId: string): void
  /** Report to the other members that the user is typing. At most one report in 3 seconds is sent. */
  notifyTyping(): void
  /** Load the members, the longest-standing first, and keep them current. */
  loadMembers(): Promise<void>
  /** Add a member; the owner only. */
  addMember(user: UserReference): Promise<void>
  /** Remove a member; the owner only. */
  removeMember(userId: string): Promise<void>
  /** Make a member the owner in place of the user. */
  makeOwner(userId: string): Promise<void>
}

/** Create a client. It does nothing until `start()`. */
export function createParley({ url, pusher, userId, getToken, fetch }: ParleyOptions): Parley {
  const onSignedOut = () => sync.signOut()
  const api = createApi(url, createTransport({ url, getToken, fetch, onSignedOut }))
  // A page needs the connection, with pusher-js, only after it is shown; a server never does.
  const connect = async (userId: string) => {
    const { createConnection } = await import("./live/connection.js")
    return createConnection({ ...pusher, userId }, api)
  }
  const sync: Sync = new Sync(api, userId, connect)
  return new ParleyClient(sync)
}
