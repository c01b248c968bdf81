// Sending messages over the simulated server.

import assert from "node:assert/strict"
import { afterEach, beforeEach, mock, test } from "node:test"
import { advance, World } from "./simulated-device.js"
import { NO_FAULTS } from "./simulated-network.js"

let world: World
beforeEach(() => {
  world = new World()
})
afterEach(() => world.stop())

test("a pending message keeps its key, and the event may arrive before the response", async () => {
  const { alice, chatId } = await world.openChat()
  world.network.latency = () => 500
  world.network.eventLatency = 0
  alice.send(chatId, "one")
  alice.send(chatId, "two")
  const keys = alice.messages(chatId).map(({ key }) => key)
  assert.deepEqual(
    alice.messages(chatId).map(({ status, id }) => [status, id]),
    Array(2).fill(["pending", null]),
  )
  await advance(700)
  assert.deepEqual(
    alice.messages(chatId).map(({ status }) => status),
    ["sent", "pending"],
  )
  await advance(3000)
  assert.deepEqual(alice.contents(chatId), ["one", "two"])
  assert.deepEqual(
    alice.messages(chatId).map(({ key }) => key),
    keys,
  )
  alice.assertCurrent()
})

test("a response before the event shows the message as sent, once", async () => {
  const { alice, chatId } = await world.openChat()
  world.network.eventLatency = 0
  const publish = world.server.onEvent
  world.server.onEvent = (entry) => void setTimeout(() => publish(entry), 5000)
  alice.send(chatId, "hello")
  const [pending] = alice.messages(chatId)
  await advance(1000)
  assert.deepEqual(
    alice.messages(chatId).map(({ key, status }) => [key, status]),
    [[pending?.key, "sent"]],
  )
  world.send(chatId, "bob", "later")
  await advance(10_000)
  assert.deepEqual(alice.contents(chatId), ["hello", "later"])
  alice.assertCurrent()
})

test("a response after the deletion does not bring the message back", async () => {
  const { alice, chatId } = await world.openChat()
  world.network.latency = () => 2000
  world.network.eventLatency = 0
  alice.send(chatId, "short-lived")
  await advance(2500)
  const [message] = alice.messages(chatId)
  assert.equal(message?.status, "sent")
  world.remove(chatId, message?.id ?? "")
  await advance(100)
  assert.deepEqual(alice.messages(chatId), [])
  await advance(10_000)
  assert.deepEqual(alice.messages(chatId), [])
  alice.assertCurrent()
})

test("a message whose response was lost is stored once, also if its event was lost with the log", async () => {
  const { alice, chatId } = await world.openChat()
  world.network.faults = { ...NO_FAULTS, lostResponse: 1, lostEvent: 1 }
  alice.send(chatId, "once")
  await advance(300)
  world.network.isOffline = true
  for (const connection of world.network.connections) connection.close()
  world.remove(chatId, world.find(chatId).messages[0]?.id ?? "")
  world.server.purge()
  await advance(2000)
  world.network.faults = NO_FAULTS
  world.network.isOffline = false
  await advance(120_000, 500)
  assert.deepEqual(alice.messages(chatId), [])
  alice.assertCurrent()
})

test("offline messages stay pending and are sent in order; a rejected one fails, and is retried or discarded", async () => {
  const { alice, chatId } = await world.openChat()
  world.network.isOffline = true
  for (const content of ["one", "two", "three"]) alice.send(chatId, content)
  await advance(120_000, 1000)
  assert.deepEqual(
    alice.messages(chatId).map(({ status }) => status),
    ["pending", "pending", "pending"],
  )
  world.network.isOffline = false
  await advance(60_000, 500)
  assert.deepEqual(
    world.find(chatId).messages.map(({ content }) => content),
    ["one", "two", "three"],
  )
  const handle = world.network.api.handle.bind(world.network.api)
  world.network.api.handle = () => ({ status: 400, body: { error: { message: "invalid", code: "validation_error" } } })
  alice.send(chatId, "four")
  alice.send(chatId, "five")
  await advance(2000)
  world.network.api.handle = handle
  const failed = alice.messages(chatId).slice(-2)
  assert.deepEqual(
    failed.map(({ status, error }) => [status, error?.code]),
    Array(2).fill(["failed", "validation_error"]),
  )
  alice.chat(chatId).retry(failed[0]?.key ?? "")
  alice.chat(chatId).discard(failed[1]?.key ?? "")
  await advance(2000)
  assert.deepEqual(alice.contents(chatId), ["one", "two", "three", "four"])
  alice.assertCurrent()
})

test("an image is shown at once, uploaded, and sent as its URL", async () => {
  const { alice, chatId } = await world.openChat()
  const revoke = mock.method(URL, "revokeObjectURL")
  const bitmap = { width: 1, height: 1, close: () => {} }
  Object.assign(globalThis, { createImageBitmap: async () => bitmap })
  alice.chat(chatId).sendImage(new Blob([Uint8Array.of(0x89, 0x50, 0x4e, 0x47)], { type: "image/png" }))
  const [pending] = alice.messages(chatId)
  assert.match(pending?.content ?? "", /^blob:/)
  // The file is read in real time.
  for (let rounds = 0; rounds < 100 && alice.messages(chatId)[0]?.status === "pending"; rounds++) await advance(100)
  const [sent] = alice.messages(chatId)
  assert.deepEqual([sent?.key, sent?.type, sent?.status], [pending?.key, "image", "sent"])
  assert.match(sent?.content ?? "", /^https:/)
  assert.equal(revoke.mock.callCount(), 1)
  revoke.mock.restore()
  Reflect.deleteProperty(globalThis, "createImageBitmap")
  alice.assertCurrent()
})

test("a read marker that cannot be sent for a while is sent later", async () => {
  const { alice, chatId } = await world.openChat()
  const { id } = world.send(chatId, "bob", "hello")
  await advance(1000)
  world.network.isOffline = true
  alice.chat(chatId).markRead(id)
  await advance(120_000)
  world.network.isOffline = false
  await advance(90_000)
  assert.equal(alice.chats[0]?.unreadCount, 0)
  alice.assertCurrent()
})
