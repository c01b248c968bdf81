// The data that the client exposes, and the events that it applies.

import type { ParleyError } from "./http/errors.js"
import type { components } from "./schema.js"

type Schemas = components["schemas"]

/** A value that changes over time. The shape is what React's `useSyncExternalStore` takes. */
export interface Subscribable<T> {
  /** Return the current value. It is immutable: a change replaces it, and an unchanged value is the same object. */
  getSnapshot: () => T
  /** Call `onChange` after each change of the value, until the returned function is called. */
  subscribe: (onChange: () => void) => () => void
}

export type User = Schemas["PublicProfile"]
export type Profile = Schemas["User"]
export type Settings = Schemas["UserSettings"]
export type Member = Schemas["Member"]
export type MessageType = Schemas["SentMessage"]["type"]

/**
 * The state of the client as a whole:
 * - `idle`: before `start()` and after `stop()`;
 * - `connecting`: `start()` was called, and there is no state yet;
 * - `live`: the state is current, and live events arrive;
 * - `offline`: the state is the last known one; the client reconnects by itself;
 * - `signed-out`: the API rejects the session. After the user has signed in again, call `start()`.
 */
export type ConnectionStatus = "idle" | "connecting" | "live" | "offline" | "signed-out"

/** A chat in the list. */
export interface Chat extends Omit<Schemas["Chat"], "lastMessage"> {
  /** The first 200 characters of the newest message; `content` is undefined until a long one has been fetched. */
  readonly lastMessage: (Omit<Schemas["LastMessage"], "content"> & { content: string | undefined }) | null
}

/** The user's chats, the most recently active first. */
export interface ChatList {
  readonly status: "loading" | "ready"
  readonly chats: readonly Chat[]
  /** Whether `loadMoreChats()` finds further chats. */
  readonly hasMore: boolean
}

/** A message on the screen. */
export interface Message {
  /** Identifies the message in a list; it stays the same when a pending message is sent. */
  readonly key: string
  /** Null until the server has stored the message. */
  readonly id: string | null
  readonly type: MessageType
  /** The text, the code or the URL of the image; undefined until a long one has been fetched. */
  readonly content: string | undefined
  readonly userId: string
  readonly createdAt: string
  readonly updatedAt: string
  /** `pending` messages wait for the server; `failed` ones wait for `retry()` or `discard()`. */
  readonly status: "sent" | "pending" | "failed"
  /** Why the message failed. */
  readonly error?: ParleyError
}

/** A contiguous part of a chat's messages, oldest first; pending and failed ones are at the end. */
export interface Timeline {
  /** `gone`: the chat was deleted, or the user is no member. `failed`: the first page could not be loaded; see `error`. */
  readonly status: "loading" | "ready" | "failed" | "gone"
  readonly error?: ParleyError
  readonly messages: readonly Message[]
  readonly hasOlder: boolean
  /** Whether newer messages are missing, after a jump to an older message. */
  readonly hasNewer: boolean
  readonly isLoadingOlder: boolean
  readonly isLoadingNewer: boolean
}

/** The members of a chat. */
export interface MemberList {
  readonly status: "loading" | "ready" | "failed"
  readonly error?: ParleyError
  readonly members: readonly Member[]
  /** The number of members of the chat, which may be over that of `members`. */
  readonly total: number
}

/** Who has the chat on screen, and who is typing; both without the user. */
export interface Presence {
  readonly online: ReadonlySet<string>
  readonly typing: ReadonlySet<string>
}

/** A search hit. */
export type Hit = Schemas["Hit"]

interface EventData {
  "message:sent": Schemas["MessageSent"]
  "message:updated": Schemas["MessageUpdated"]
  "message:deleted": Schemas["MessageDeleted"]
  "chat:updated": Schemas["ChatUpdated"]
  "chat:deleted": Schemas["ChatDeleted"]
  "chat:read": Schemas["ChatRead"]
  "member:added": string
  "member:updated": Schemas["MemberUpdated"]
  "member:removed": string
}

/** An event of the log, as `chat:event` and `GET /api/sync` deliver it. */
export type ChatEvent = {
  [Name in keyof EventData]: Omit<Schemas["LoggedEvent"], "event" | "data"> & { event: Name; data: EventData[Name] }
}[keyof EventData]

/** The payload of `user:updated`. */
export type UserUpdated = Schemas["UserUpdated"]
