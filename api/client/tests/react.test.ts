// React's hooks, as a server renders them. The tests of the example use them in a browser.

import assert from "node:assert/strict"
import { test } from "node:test"
import { createElement } from "react"
import { renderToString } from "react-dom/server"
import type { ChatSession, Parley } from "../src/client.js"
import {
  ParleyProvider,
  useChat,
  useChatSession,
  useChats,
  useMembers,
  useParley,
  usePresence,
  useProfile,
  useSettings,
  useStatus,
  useTimeline,
  useUser,
} from "../src/react/index.js"
import { Value } from "../src/store/value.js"
import type { ChatList, ConnectionStatus } from "../src/types.js"

const CHATS = { status: "ready", hasMore: false, chats: [{ id: "1", title: "Plans" }] } as unknown as ChatList

/** A client that is not running; methods that the server must not call are missing. */
function createClient() {
  const status = new Value<ConnectionStatus>("idle")
  const session = {
    timeline: new Value({ messages: [{ content: "Hello" }] }),
    members: new Value({ members: [{ userId: "bob" }] }),
    presence: new Value({ online: new Set(["bob"]) }),
  } as unknown as ChatSession
  const client = {
    status,
    profile: new Value(null),
    settings: new Value(null),
    chats: new Value(CHATS),
    users: new Value(new Map([["bob", { id: "bob", name: "Bob" }]])),
    chat: () => session,
  } as unknown as Parley
  return { client, status }
}

/** Renders what a function reads by hooks. */
function Reader({ read }: { read: () => unknown }) {
  return JSON.stringify(read())
}

function render(client: Parley, read: () => unknown): unknown {
  const html = renderToString(createElement(ParleyProvider, { client }, createElement(Reader, { read })))
  return JSON.parse(html.replaceAll("&quot;", '"'))
}

test("hooks return the client's values, and nothing starts on a server", () => {
  const { client } = createClient()
  const read = () => [useStatus(), useProfile(), useSettings(), useChats(), useChat("1")?.title, useUser("bob")?.name]
  assert.deepEqual(render(client, read), ["idle", null, null, CHATS, "Plans", "Bob"])
  const readChat = () => [
    useChatSession("1") === useParley().chat("1"),
    useTimeline("1").messages[0]?.content,
    useMembers("1").members[0]?.userId,
    usePresence("1").online.size,
  ]
  assert.deepEqual(render(client, readChat), [true, "Hello", "bob", 1])
})

test("what is hydrated after the start renders as on the server", () => {
  const { client, status } = createClient()
  assert.equal(render(client, useStatus), "idle")
  status.set("live")
  assert.equal(render(client, useStatus), "idle")
})

test("hooks require a provider", () => {
  assert.throws(() => renderToString(createElement(Reader, { read: useStatus })), /ParleyProvider/)
})
