// The members who have a chat on screen, and who is typing.

import assert from "node:assert/strict"
import { type TestContext, test } from "node:test"
import { getPresenceChannel } from "../src/live/channel-names.js"
import { createPresence } from "../src/live/presence.js"
import { OWN, SIGN_IN, SimulatedPusher } from "./simulated-pusher.js"

const CHANNEL = getPresenceChannel("1")

async function createChat(t: TestContext) {
  const pusher = new SimulatedPusher(t)
  const connection = await pusher.createConnection()
  connection.subscribe(OWN, { onEvent: () => {} })
  const presence = createPresence(connection, "1", "alice")
  const show = () => {
    const { online, typing } = presence.getSnapshot()
    return { online: [...online], typing: [...typing] }
  }
  return { pusher, connection, presence, show }
}

/** A chat that is open, with two members online. */
async function openChat(t: TestContext) {
  const chat = await createChat(t)
  chat.presence.open()
  await chat.pusher.start(chat.connection, ["alice", "bob"])
  const emit = (event: string, data: object, userId?: string) => chat.pusher.socket.emit(event, data, CHANNEL, userId)
  return { ...chat, emit }
}

test("a chat that is open at the start is authorized with the user's own channel", async (t) => {
  const { pusher, show } = await openChat(t)
  assert.deepEqual(
    pusher.requests.map(({ channels }) => channels),
    [[SIGN_IN, OWN, CHANNEL]],
  )
  assert.deepEqual(show(), { online: ["bob"], typing: [] })
})

test("a chat that is opened later is joined after a second", async (t) => {
  const { pusher, connection, presence } = await createChat(t)
  await pusher.start(connection)
  presence.open(100)
  presence.open(100)
  await pusher.pass(900)
  presence.close()
  await pusher.pass(5000)
  assert.equal(pusher.requests.length, 1)
  presence.open(100)
  await pusher.pass(1100)
  assert.deepEqual(pusher.requests.at(-1)?.channels, [CHANNEL])
})

test("a chat of more than 100 members has no presence", async (t) => {
  const { pusher, connection, presence } = await createChat(t)
  presence.open(101)
  await pusher.start(connection)
  assert.deepEqual(pusher.requests.at(-1)?.channels, [SIGN_IN, OWN])
})

test("members come and go, and nobody is online while there is no connection", async (t) => {
  const { pusher, presence, show, emit } = await openChat(t)
  emit("pusher_internal:member_added", { user_id: "carol", user_info: {} })
  assert.deepEqual(show().online, ["bob", "carol"])
  emit("client-typing", {}, "bob")
  emit("pusher_internal:member_removed", { user_id: "bob" })
  assert.deepEqual(show(), { online: ["carol"], typing: [] })
  pusher.socket.end(1006)
  await pusher.settle()
  assert.deepEqual(show(), { online: [], typing: [] })
  await pusher.pass(3000)
  pusher.socket.accept(["alice", "carol"])
  assert.deepEqual(show().online, ["carol"])
  presence.close()
  assert.deepEqual(show().online, [])
})

test("typing is shown for 5 s, or until a message arrives", async (t) => {
  const { pusher, presence, show, emit } = await openChat(t)
  emit("client-typing", {}, "bob")
  emit("client-typing", {}, "alice")
  await pusher.pass(4000)
  assert.deepEqual(show().typing, ["bob"])
  emit("client-typing", {}, "bob")
  await pusher.pass(4000)
  assert.deepEqual(show().typing, ["bob"])
  await pusher.pass(1000)
  assert.deepEqual(show().typing, [])
  emit("client-typing", {}, "bob")
  presence.onMessage("bob")
  assert.deepEqual(show().typing, [])
})

test("typing is reported at most once in 3 s, and not without a subscription", async (t) => {
  const { pusher, connection, presence } = await createChat(t)
  const count = () => pusher.socket.frames.filter(({ event }) => event === "client-typing").length
  presence.notifyTyping()
  presence.open()
  await pusher.start(connection)
  for (let second = 0; second < 9; second += 1) {
    presence.notifyTyping()
    await pusher.pass(1000)
  }
  assert.equal(count(), 3)
  presence.close()
  presence.notifyTyping()
  await pusher.settle()
  assert.equal(count(), 3)
})

test("the value changes only when the presence does", async (t) => {
  const { presence, emit } = await openChat(t)
  const before = presence.getSnapshot()
  emit("client-other", {}, "bob")
  presence.onMessage("bob")
  assert.equal(presence.getSnapshot(), before)
})
