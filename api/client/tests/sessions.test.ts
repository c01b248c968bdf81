// The store over the simulated server: the end of a session, and the next one.

import assert from "node:assert/strict"
import { afterEach, beforeEach, test } from "node:test"
import { advance, type Device, World } from "./simulated-device.js"

let world: World
beforeEach(() => {
  world = new World()
})
afterEach(() => world.stop())

test("after the session has expired, the same user continues with what is pending", async () => {
  const { alice, chatIds } = await world.startAlice("Plans")
  const [chatId] = chatIds as [string]
  alice.chat(chatId).open()
  await advance(1000)
  alice.token = ""
  alice.send(chatId, "hello")
  await advance(1000)
  assert.equal(alice.status, "signed-out")
  assert.equal(alice.messages(chatId)[0]?.status, "pending")
  world.send(chatId, "bob", "meanwhile")
  alice.token = "alice"
  alice.client.start()
  await advance(5000)
  assert.deepEqual(alice.contents(chatId), ["meanwhile", "hello"])
  alice.assertCurrent()
})

test("when another user signs in, everything of the former user is dropped", async () => {
  const { alice, chatIds } = await world.startAlice("Plans", "Other")
  const [chatId, otherId] = chatIds as [string, string]
  world.server.change(() => world.server.removeMember(world.server.findChat("alice", otherId), "bob"))
  alice.chat(chatId).open()
  await advance(1000)
  alice.token = ""
  alice.send(chatId, "must not be sent as bob")
  await advance(1000)
  alice.token = "bob"
  alice.client.start()
  await advance(5000)
  assert.equal(alice.client.profile.getSnapshot()?.id, "bob")
  assert.deepEqual(
    alice.chats.map(({ id }) => id),
    [chatId],
  )
  assert.deepEqual(alice.contents(chatId), [])
  assert.deepEqual(world.server.findChat("alice", chatId).messages, [])
  alice.assertCurrent()
})

test("a rejected channel of another user's session starts anew as that user", async () => {
  const { alice } = await world.startAlice("Plans")
  alice.token = "bob"
  world.connectionOf("alice").close()
  await advance(5000)
  assert.equal(alice.client.profile.getSnapshot()?.id, "bob")
  alice.assertCurrent()
})

test("a removed member loses the chat and stays live, also after code 4009", async () => {
  const chatId = world.createChat("Plans", "bob")
  world.createChat("Other", "bob")
  const [, bob] = (await world.start("alice", "bob")) as [Device, Device]
  bob.chat(chatId).open()
  await advance(3000)
  world.server.change(() => world.server.removeMember(world.server.findChat("alice", chatId), "bob"))
  await advance(500)
  assert.equal(bob.status, "offline")
  await advance(5000)
  assert.equal(bob.chat(chatId).timeline.getSnapshot().status, "gone")
  assert.equal(bob.chats.length, 1)
  bob.assertCurrent()
  world.server.change(() => world.server.addMember(world.server.findChat("alice", chatId), "bob"))
  world.send(chatId, "alice", "welcome back")
  await advance(1000)
  assert.deepEqual(bob.contents(chatId), ["welcome back"])
  bob.assertCurrent()
})

test("stop() keeps the state, and start() continues from it", async () => {
  const { alice, chatIds } = await world.startAlice("Plans")
  alice.client.stop()
  assert.equal(alice.status, "idle")
  world.send(chatIds[0] as string, "bob", "hello")
  await advance(60_000, 1000)
  assert.deepEqual(world.network.requests, [])
  alice.client.start()
  alice.client.start()
  await advance(1000)
  assert.deepEqual(world.network.requests.length, 2)
  alice.assertCurrent()
})

test("a client that was stopped sends nothing more, since another user may have signed in", async () => {
  const { alice, chatIds } = await world.startAlice("Plans")
  const [chatId] = chatIds as [string]
  alice.chat(chatId).open()
  await advance(1000)
  const { id } = world.send(chatId, "bob", "hello")
  await advance(1000)
  world.network.isOffline = true
  alice.send(chatId, "must not be sent as bob")
  alice.chat(chatId).markRead(id)
  await advance(2000)
  alice.client.stop()
  alice.token = "bob"
  world.network.isOffline = false
  world.network.requests.length = 0
  await advance(60_000)
  assert.deepEqual(world.network.requests, [])
  alice.token = "alice"
  alice.client.start()
  await advance(10_000)
  assert.deepEqual(alice.contents(chatId), ["hello", "must not be sent as bob"])
  alice.assertCurrent()
})
