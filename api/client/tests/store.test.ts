// The store over the simulated server: starting, staying live and coming back.

import assert from "node:assert/strict"
import { afterEach, beforeEach, test } from "node:test"
import { advance, Device, World } from "./simulated-device.js"
import { NO_FAULTS, userChannelOf } from "./simulated-network.js"

let world: World
beforeEach(() => {
  world = new World()
})
afterEach(() => world.stop())

const withoutQueries = (): string[] => world.network.requests.map((request) => request.replace(/\?.*/, ""))
const rename = (chatId: string, title: string) =>
  world.server.change(() => world.server.updateChat(world.server.findChat("alice", chatId), title))

test("a client needs two requests to start, none while it is live, and two to come back", async () => {
  const chatId = world.createChat("Plans", "bob")
  const [alice, bob] = (await world.start("alice", "bob")) as [Device, Device]
  const start = ["POST /api/pusher/auth", "GET /api/sync?limit=100&include=users"]
  assert.deepEqual(world.network.requests.toSorted(), [...start, ...start].toSorted())
  world.network.requests.length = 0
  world.send(chatId, "bob", "hello")
  rename(chatId, "New plans")
  world.createChat("Another", "bob")
  world.server.change(() => world.server.updateProfile("bob", { name: "Robert" }))
  await advance(60_000, 1000)
  assert.deepEqual(withoutQueries(), [])
  alice.assertCurrent()
  bob.assertCurrent()
  for (const connection of world.network.connections) connection.close()
  world.send(chatId, "bob", "missed")
  await advance(5000)
  const requests = withoutQueries()
  assert.deepEqual(requests.toSorted(), ["GET /api/sync", "GET /api/sync", ...Array(2).fill("POST /api/pusher/auth")])
  alice.assertCurrent()
})

test("a client that does not know its user starts with the state, in three requests", async () => {
  const { chatIds } = await world.startAlice("Plans")
  world.network.requests.length = 0
  const device = new Device(world.network, "alice", { knowsUserId: false })
  world.devices.push(device)
  device.client.start()
  await advance(1000)
  assert.deepEqual(withoutQueries(), ["GET /api/sync", "POST /api/pusher/auth", "GET /api/sync"])
  world.send(chatIds[0] as string, "bob", "hello")
  await advance(1000)
  device.assertCurrent()
})

test("without Pusher, the client fetches the state after three seconds, and polls", async () => {
  const chatId = world.createChat("Plans", "bob")
  const alice = new Device(world.network, "alice")
  world.devices.push(alice)
  alice.client.start()
  world.connectionOf("alice")?.disconnect()
  await advance(0)
  world.connectionOf("alice").disconnect()
  await advance(2000)
  assert.equal(alice.status, "connecting")
  await advance(2000)
  assert.equal(alice.status, "offline")
  assert.equal(alice.chats.length, 1)
  world.send(chatId, "bob", "hello")
  await advance(31_000, 500)
  assert.equal(alice.chats[0]?.lastMessage?.content, "hello")
  assert.equal(alice.chats[0]?.unreadCount, 1)
  world.connectionOf("alice").connect()
  await advance(1000)
  alice.assertCurrent()
})

test("a connection that could not be loaded is loaded by the next poll", async () => {
  world.createChat("Plans", "bob")
  const alice = new Device(world.network, "alice", { failedLoads: 3 })
  world.devices.push(alice)
  alice.client.start()
  await advance(4000)
  assert.equal(alice.status, "offline")
  assert.equal(alice.chats.length, 1)
  await advance(35_000, 500)
  alice.assertCurrent()
})

test("a client that stops and starts while the connection is loaded connects once", async () => {
  const alice = new Device(world.network, "alice")
  world.devices.push(alice)
  alice.client.start()
  alice.client.stop()
  alice.client.start()
  await advance(1000)
  assert.equal(alice.status, "live")
  const connections = [...world.network.connections].filter(({ userId }) => userId === "alice")
  assert.equal(connections.filter(({ status }) => status.getSnapshot() === "connected").length, 1)
  alice.assertCurrent()
})

test("a client that stops while the connection is loaded does not connect", async () => {
  const alice = new Device(world.network, "alice")
  world.devices.push(alice)
  alice.client.start()
  alice.client.stop()
  await advance(4000)
  assert.equal(alice.status, "idle")
  assert.equal(world.network.connections.size, 1)
  alice.client.start()
  await advance(1000)
  alice.assertCurrent()
})

test("a gap in the live events is closed by the chat's log", async () => {
  const { alice, chatIds } = await world.startAlice("Plans")
  const [chatId] = chatIds as [string]
  world.network.faults = { ...NO_FAULTS, lostEvent: 1 }
  for (const content of ["one", "two"]) world.send(chatId, "bob", content)
  await advance(1000)
  assert.equal(alice.chats[0]?.unreadCount, 0)
  world.network.faults = NO_FAULTS
  world.send(chatId, "bob", "three")
  await advance(1000)
  assert.equal(alice.chats[0]?.unreadCount, 3)
  assert.deepEqual(world.network.requests, [`GET /api/chats/${chatId}/events?after=2&limit=1000&include=users`])
  alice.assertCurrent()
})

test("repeated and late events are ignored", async () => {
  const { alice, chatIds } = await world.startAlice("Plans")
  const [chatId] = chatIds as [string]
  alice.chat(chatId).open()
  const connection = world.connectionOf("alice")
  const events: unknown[] = []
  const receive = connection.receive.bind(connection)
  connection.receive = (channel, event, data) => {
    if (channel === userChannelOf("alice") && event === "chat:event") events.push(structuredClone(data))
    receive(channel, event, data)
  }
  const message = world.send(chatId, "bob", "one")
  world.send(chatId, "bob", "two")
  world.server.change(() => world.server.deleteMessage(world.server.findChat("alice", chatId), message))
  await advance(1000)
  for (const event of [...events].reverse()) receive(userChannelOf("alice"), "chat:event", event)
  await advance(1000)
  alice.assertCurrent()
  assert.deepEqual(alice.contents(chatId), ["two"])
})

test("after a 410 the client fetches the state, and the open timelines again", async () => {
  const { alice, chatIds } = await world.startAlice("Plans", "Other")
  const [chatId] = chatIds as [string]
  const first = world.send(chatId, "bob", "first")
  alice.chat(chatId).open()
  await advance(1000)
  world.network.isOffline = true
  world.connectionOf("alice").close()
  world.server.change(() => world.server.deleteMessage(world.server.findChat("alice", chatId), first))
  world.send(chatId, "bob", "second")
  world.server.purge()
  await advance(1000)
  assert.equal(alice.status, "offline")
  world.network.isOffline = false
  await advance(5000)
  assert.deepEqual(alice.contents(chatId), ["second"])
  alice.assertCurrent()
})

test("a failover that lost no seen change continues with a much higher seq", async () => {
  const { alice, chatIds } = await world.startAlice("Plans")
  const [chatId] = chatIds as [string]
  alice.chat(chatId).open()
  await advance(1000)
  world.send(chatId, "bob", "before")
  await advance(1000)
  world.server.failOver(world.server.database)
  world.send(chatId, "bob", "after")
  await advance(1000)
  assert.deepEqual(alice.contents(chatId), ["before", "after"])
  alice.assertCurrent()
})

test("a failover that lost a seen change reloads the chat", async () => {
  const { alice, chatIds } = await world.startAlice("Plans")
  const [chatId] = chatIds as [string]
  alice.chat(chatId).open()
  await advance(1000)
  const snapshot = structuredClone(world.server.database)
  world.send(chatId, "bob", "lost")
  await advance(1000)
  assert.deepEqual(alice.contents(chatId), ["lost"])
  world.server.failOver(snapshot)
  world.send(chatId, "bob", "after")
  await advance(1000)
  assert.deepEqual(alice.contents(chatId), ["after"])
  alice.assertCurrent()
})

test("a failover that lost a seen change while the client was offline reloads the timeline", async () => {
  const { alice, chatIds } = await world.startAlice("Plans")
  const [chatId] = chatIds as [string]
  alice.chat(chatId).open()
  const snapshot = structuredClone(world.server.database)
  world.send(chatId, "bob", "lost")
  await advance(1000)
  world.connectionOf("alice").close()
  world.server.failOver(snapshot)
  await advance(5000)
  assert.deepEqual(alice.contents(chatId), [])
  alice.assertCurrent()
})

test("a rejected request is sent again after Retry-After", async () => {
  const { alice, chatIds } = await world.startAlice("Plans")
  const [chatId] = chatIds as [string]
  world.network.faults = { ...NO_FAULTS, rateLimit: 1 }
  alice.chat(chatId).open()
  alice.send(chatId, "hello")
  await advance(500)
  world.network.faults = NO_FAULTS
  assert.equal(alice.messages(chatId)[0]?.status, "pending")
  await advance(10_000, 100)
  assert.deepEqual(
    alice.messages(chatId).map(({ status }) => status),
    ["sent"],
  )
  alice.assertCurrent()
})

test("chats beyond the first 100 are loaded by pages, and by their events", async () => {
  const titles = Array.from({ length: 230 }, (_, index) => `chat ${index}`)
  const { alice, chatIds } = await world.startAlice(...titles)
  const [unlisted, second] = chatIds as [string, string]
  assert.equal(alice.chats.length, 100)
  assert.ok(alice.client.chats.getSnapshot().hasMore)
  world.send(unlisted, "bob", "hello")
  await advance(1000)
  assert.equal(alice.chats[0]?.lastMessage?.content, "hello")
  assert.equal(world.network.requests.length, 1)
  await Promise.all([alice.client.loadMoreChats(), alice.client.loadMoreChats(), advance(500)])
  await Promise.all([alice.client.loadMoreChats(), advance(500)])
  assert.equal(alice.chats.length, 230)
  assert.equal(alice.client.chats.getSnapshot().hasMore, false)
  rename(second, "Renamed")
  await advance(1000)
  assert.equal(alice.chats.find(({ id }) => id === second)?.title, "Renamed")
  alice.assertCurrent()
})

test("names and pictures follow user:updated, in members too", async () => {
  const { alice, chatIds } = await world.startAlice("Plans")
  const session = alice.chat(chatIds[0] as string)
  await Promise.all([session.loadMembers(), advance(500)])
  world.server.change(() => world.server.updateProfile("bob", { name: "Robert" }))
  await advance(1000)
  assert.equal(session.members.getSnapshot().members[1]?.name, "Robert")
  await Promise.all([alice.client.updateProfile({ name: "Alicia" }), advance(1000)])
  await Promise.all([alice.client.updateSettings({ theme: "dark" }), advance(1000)])
  assert.equal(alice.client.users.getSnapshot().get("alice")?.name, "Alicia")
  assert.equal(alice.client.settings.getSnapshot()?.theme, "dark")
  alice.assertCurrent()
})
