// The public exports of @parley/client.

export type {
  ChatSession,
  FoundMessage,
  MessagePage,
  MessageQuery,
  Parley,
  ParleyOptions,
  PusherOptions,
  SearchQuery,
  UserReference,
} from "./client.js"
export { createParley } from "./client.js"
export { type ExtractPart, parseExtract } from "./extract.js"
export { type ErrorCode, ParleyError } from "./http/errors.js"
export type {
  Chat,
  ChatEvent,
  ChatList,
  ConnectionStatus,
  Hit,
  Member,
  MemberList,
  Message,
  MessageType,
  Presence,
  Profile,
  Settings,
  Subscribable,
  Timeline,
  User,
  UserUpdated,
} from "./types.js"
