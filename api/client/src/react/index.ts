// React's hooks over the client. Servers render the initial state; the client starts when the page is mounted.

"use client"

import {
  createContext,
  createElement,
  type FunctionComponentElement,
  type ProviderProps,
  type ReactNode,
  useContext,
  useEffect,
  useSyncExternalStore,
} from "react"
import type { ChatSession, Parley } from "../client.js"
import type {
  Chat,
  ChatList,
  ConnectionStatus,
  MemberList,
  Presence,
  Profile,
  Settings,
  Subscribable,
  Timeline,
  User,
} from "../types.js"

const Client = createContext<Parley | null>(null)

/** Provides a client to the hooks, and runs it while it is mounted. Create the client once, such as in `useState`. */
export function ParleyProvider({
  client,
  children,
}: {
  client: Parley
  children?: ReactNode
}): FunctionComponentElement<ProviderProps<Parley | null>> {
  useEffect(() => {
    client.start()
    return () => client.stop()
  }, [client])
  // Record the state before `start()`, for hydration.
  for (const name of ["status", "profile", "settings", "chats", "users"] as const) getInitial<unknown>(client[name])
  return createElement(Client.Provider, { value: client }, children)
}

/** Return the client of the provider. */
export function useParley(): Parley {
  const client = useContext(Client)
  if (!client) throw new Error("There is no ParleyProvider around this component.")
  return client
}

export const useStatus = (): ConnectionStatus => useValue(useParley().status)
export const useProfile = (): Profile | null => useValue(useParley().profile)
export const useSettings = (): Settings | null => useValue(useParley().settings)
export const useChats = (): ChatList => useValue(useParley().chats)

/** Return a chat of the list, or undefined if the list does not have it. */
export const useChat = (chatId: string): Chat | undefined =>
  useValue(useParley().chats, ({ chats }) => chats.find(({ id }) => id === chatId))

/** Return a user whose name is known. */
export const useUser = (userId: string): User | undefined => useValue(useParley().users, (users) => users.get(userId))

/** Return the session of a chat, which is open while the component is mounted. */
export function useChatSession(chatId: string): ChatSession {
  const session = useParley().chat(chatId)
  useEffect(() => session.open(), [session])
  return session
}

/** Return the messages of a chat. A component of the chat must call `useChatSession`, which loads them. */
export const useTimeline = (chatId: string): Timeline => useValue(useParley().chat(chatId).timeline)

/** Return who has the chat on screen, and who is typing. A component of the chat must call `useChatSession`. */
export const usePresence = (chatId: string): Presence => useValue(useParley().chat(chatId).presence)

/** Return the members of a chat, and load them if necessary. */
export function useMembers(chatId: string): MemberList {
  const session = useParley().chat(chatId)
  useEffect(() => {
    const isLoaded = session.members.getSnapshot().status === "ready"
    if (!isLoaded) session.loadMembers().catch(() => {}) // the list has the error
  }, [session])
  return useValue(session.members)
}

function useValue<T, Part = T>(
  value: Subscribable<T>,
  select: (value: T) => Part = (whole) => whole as unknown as Part,
): Part {
  const getServerPart = () => select(getInitial(value))
  return useSyncExternalStore(value.subscribe, () => select(value.getSnapshot()), getServerPart)
}

/** Parts of a page may be hydrated after the client has started, and must then render as on the server at first. */
const initial = new WeakMap<Subscribable<unknown>, unknown>()

function getInitial<T>(value: Subscribable<T>): T {
  if (!initial.has(value)) initial.set(value, value.getSnapshot())
  return initial.get(value) as T
}
