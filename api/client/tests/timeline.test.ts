// The timeline of a chat over the simulated server: pages, editing, reading and members.

import assert from "node:assert/strict"
import { afterEach, beforeEach, test } from "node:test"
import { ParleyError } from "../src/http/errors.js"
import { advance, World } from "./simulated-device.js"
import { NO_FAULTS } from "./simulated-network.js"

let world: World
beforeEach(() => {
  world = new World()
})
afterEach(() => world.stop())

const finish = <T>(call: Promise<T>) => Promise.all([call, advance(2000)]).then(([result]) => result)

test("opening a chat takes one request, and scrolling back one for each page", async () => {
  const { alice, chatId } = await world.openChat(120)
  const session = alice.chat(chatId)
  const count = () => session.timeline.getSnapshot().messages.length
  assert.equal(count(), 50)
  await finish(session.loadOlder())
  await finish(Promise.all([session.loadOlder(), session.loadOlder()]))
  assert.equal(count(), 120)
  assert.equal(session.timeline.getSnapshot().hasOlder, false)
  await finish(session.loadOlder())
  assert.equal(world.network.requests.length, 2)
  alice.assertCurrent()
})

test("a page that is older than the window does not bring deleted messages back", async () => {
  const { alice, chatId, ids } = await world.openChat(60)
  const [oldest, inPage] = ids as [string, string]
  world.network.latency = () => 1000
  const loading = alice.chat(chatId).loadOlder()
  await advance(1100)
  world.remove(chatId, oldest) // after the page was read, and before its response
  world.edit(chatId, inPage, "edited")
  await advance(3000)
  await loading
  assert.equal(alice.contents(chatId)[0], "edited")
  alice.assertCurrent()
})

test("a page of a stale replica is brought up to date by the log", async () => {
  const { alice, chatId, ids } = await world.openChat(60)
  alice.chat(chatId)
  world.remove(chatId, ids[0] as string)
  await advance(1000)
  world.network.faults = { ...NO_FAULTS, staleRead: 1 }
  await finish(alice.chat(chatId).loadOlder())
  world.network.faults = NO_FAULTS
  await advance(2000)
  assert.equal(alice.contents(chatId)[0], "1")
  alice.assertCurrent()
})

test("a chat that a stale replica does not know yet is not removed", async () => {
  const { alice } = await world.openChat()
  world.network.faults = { ...NO_FAULTS, staleRead: 1 }
  const chatId = world.createChat("New", "bob")
  await advance(500)
  alice.chat(chatId).open()
  await advance(2000)
  assert.equal(alice.chat(chatId).timeline.getSnapshot().status, "ready")
  alice.assertCurrent()
})

test("a page that is newer than the live events includes them once", async () => {
  const { alice, chatId } = await world.openChat(1)
  const publish = world.server.onEvent
  world.server.onEvent = (entry) => void setTimeout(() => publish(entry), 5000)
  const { id } = world.send(chatId, "bob", "deleted before its event arrives")
  world.send(chatId, "bob", "newer")
  world.remove(chatId, id)
  await finish(alice.chat(chatId).jumpTo(world.find(chatId).messages.at(-1)?.id ?? ""))
  assert.deepEqual(alice.contents(chatId), ["0", "newer"])
  await advance(10_000)
  assert.deepEqual(alice.contents(chatId), ["0", "newer"])
  alice.assertCurrent()
})

test("after a jump, new messages do not join the window before the newer pages are loaded", async () => {
  const { alice, chatId, ids } = await world.openChat(150)
  const session = alice.chat(chatId)
  const timeline = () => session.timeline.getSnapshot()
  await finish(session.jumpTo(ids[20] as string))
  assert.ok(timeline().hasNewer)
  assert.ok(timeline().messages.some(({ id }) => id === ids[20]))
  world.send(chatId, "bob", "new")
  await advance(1000)
  assert.ok(!alice.contents(chatId).includes("new"))
  while (timeline().hasNewer) await finish(session.loadNewer())
  assert.equal(alice.contents(chatId).at(-1), "new")
  world.send(chatId, "bob", "live again")
  await advance(1000)
  assert.equal(alice.contents(chatId).at(-1), "live again")
  alice.assertCurrent()
  await assert.rejects(finish(session.jumpTo("00000000-0000-7000-8000-000000000000")), { code: "not_found" })
  alice.assertCurrent()
})

test("sending from an older part of the chat shows the newest one", async () => {
  const { alice, chatId, ids } = await world.openChat(150)
  await finish(alice.chat(chatId).jumpTo(ids[20] as string))
  alice.send(chatId, "mine")
  await advance(3000)
  assert.equal(alice.contents(chatId).at(-1), "mine")
  assert.equal(alice.chat(chatId).timeline.getSnapshot().hasNewer, false)
  alice.assertCurrent()
})

test("long messages are fetched, and so is the last one after a deletion", async () => {
  const { alice, chatId } = await world.openChat(1)
  const { id } = world.send(chatId, "bob", "long ".repeat(100))
  await advance(2000)
  alice.assertCurrent()
  world.edit(chatId, id, "longer ".repeat(100))
  await advance(2000)
  alice.assertCurrent()
  world.remove(chatId, id)
  await advance(2000)
  alice.assertCurrent()
  assert.equal(alice.chats[0]?.lastMessage?.content, "0")
})

test("an edit of another version than that on screen is rejected, and shows the current one", async () => {
  const { alice, chatId } = await world.openChat()
  alice.send(chatId, "mine")
  await advance(2000)
  const id = alice.messages(chatId)[0]?.id ?? ""
  const session = alice.chat(chatId)
  await finish(session.edit(id, { content: "edited" }))
  await finish(session.edit(id, { content: "edited again" }))
  assert.deepEqual(alice.contents(chatId), ["edited again"])
  const publish = world.server.onEvent
  world.server.onEvent = (entry) => void setTimeout(() => publish(entry), 60_000)
  world.edit(chatId, id, "changed elsewhere")
  await assert.rejects(finish(session.edit(id, { content: "too late" })), { code: "precondition_failed" })
  assert.deepEqual(alice.contents(chatId), ["changed elsewhere"])
  await advance(60_000, 1000)
  alice.assertCurrent()
  world.server.onEvent = publish
  await finish(session.deleteMessage(id))
  await finish(session.deleteMessage(id))
  assert.deepEqual(alice.contents(chatId), [])
})

test("an edit whose response was lost is recognized as done", async () => {
  const { alice, chatId } = await world.openChat()
  alice.send(chatId, "mine")
  await advance(2000)
  const id = alice.messages(chatId)[0]?.id ?? ""
  const session = alice.chat(chatId)
  await finish(session.edit(id, { content: "first" })) // the entity tag is known from now on
  world.network.occurs = (fault) => fault === "lostResponse" && (world.network.requests.at(-1) ?? "").startsWith("PUT")
  await finish(session.edit(id, { content: "second" }))
  assert.deepEqual(alice.contents(chatId), ["second"])
  alice.assertCurrent()
})

test("read markers move at once, are sent at most once in two seconds, and never move back", async () => {
  const { alice, chatId, ids } = await world.openChat(5)
  const session = alice.chat(chatId)
  const chat = () => alice.chats[0]
  assert.equal(chat()?.unreadCount, 5)
  for (const id of ids) session.markRead(id)
  assert.equal(chat()?.unreadCount, 0)
  await advance(5000)
  assert.equal(world.network.requests.length, 2)
  session.markRead(ids[0] as string)
  assert.equal(chat()?.lastReadMessageId, ids[4])
  await advance(5000)
  assert.equal(world.network.requests.length, 2)
  alice.assertCurrent()
  const { id } = world.send(chatId, "bob", "deleted")
  await advance(1000)
  world.network.eventLatency = 10_000
  world.remove(chatId, id)
  session.markRead(id) // is rejected
  await advance(15_000)
  alice.assertCurrent()
})

test("an older marker of another device does not move the marker back", async () => {
  const { alice, chatId, ids } = await world.openChat(5)
  const publish = world.server.onEvent
  world.server.onEvent = (entry) => void setTimeout(() => publish(entry), 5000)
  world.server.change(() => world.server.markRead(world.find(chatId), "alice", ids[0] as string))
  world.network.isOffline = true // the marker of this device is still on its way
  alice.chat(chatId).markRead(ids[4] as string)
  await advance(8000)
  assert.deepEqual([alice.chats[0]?.lastReadMessageId, alice.chats[0]?.unreadCount], [ids[4], 0])
  world.network.isOffline = false
  await advance(60_000, 500)
  alice.assertCurrent()
})

test("members follow the events, with how far they have read", async () => {
  const { alice, chatId, ids } = await world.openChat(2)
  const session = alice.chat(chatId)
  await finish(session.loadMembers())
  world.server.change(() => world.server.markRead(world.find(chatId), "bob", ids[1] as string))
  await finish(session.addMember({ userId: "carol" }))
  await assert.rejects(finish(session.addMember({ userId: "nobody" })), ParleyError)
  await finish(session.makeOwner("bob"))
  world.send(chatId, "carol", "hello")
  await advance(1000)
  alice.assertCurrent()
  assert.equal(alice.chats[0]?.role, "member")
  await finish(alice.client.leaveChat(chatId))
  assert.equal(session.timeline.getSnapshot().status, "gone")
  alice.assertCurrent()
})

test("a large chat on screen fetches its events at most once in two seconds", async () => {
  const members = Array.from({ length: 98 }, (_, index) => `member ${index}`)
  const { alice, chatId } = await world.openChat(1, members)
  world.server.change(() => world.server.addMember(world.find(chatId), "carol"))
  await advance(3000)
  world.network.requests.length = 0
  for (let index = 0; index < 20; index++) {
    world.send(chatId, "bob", `large ${index}`)
    await advance(500)
  }
  alice.send(chatId, "mine")
  await advance(5000)
  const fetches = world.network.requests.filter((request) => request.includes("/events"))
  assert.ok(fetches.length >= 4 && fetches.length <= 8, `${fetches.length} requests`)
  assert.equal(alice.contents(chatId).length, 22)
  alice.assertCurrent()
  await finish(alice.chat(chatId).loadMembers())
  await finish(alice.chat(chatId).makeOwner("bob"))
  await advance(3000)
  alice.assertCurrent() // no event of the new owner is published
  world.server.change(() => world.server.removeMember(world.find(chatId), "carol"))
  world.send(chatId, "bob", "small again")
  await advance(5000)
  alice.assertCurrent()
})

test("a closed chat stays current without requests, up to 20 chats", async () => {
  const { alice, chatId } = await world.openChat(1)
  const others = Array.from({ length: 22 }, (_, index) => world.createChat(`other ${index}`, "bob"))
  await advance(1000)
  for (const other of others) {
    alice.chat(other).open()()
    await advance(1000)
  }
  world.network.requests.length = 0
  world.send(others[21] as string, "bob", "hello")
  await advance(1000)
  assert.deepEqual(alice.contents(others[21] as string), ["hello"])
  assert.equal(alice.chat(chatId).timeline.getSnapshot().status, "ready")
  assert.deepEqual(world.network.requests, [])
  assert.equal(alice.chat(others[0] as string).timeline.getSnapshot().status, "loading")
})
