// The connection to Pusher: authorization in batches, and recovery after each kind of loss.

import assert from "node:assert/strict"
import { test } from "node:test"
import { createLive, OWN, record, SIGN_IN } from "./simulated-pusher.js"

const CHAT = "private-chat-1"
const PRESENCE = "presence-chat-1"

test("a start signs in and authorizes all channels in one request", async (t) => {
  const { pusher, connection, own } = await createLive(t)
  const presence = record(connection, PRESENCE)
  connection.connect()
  await pusher.settle()
  assert.deepEqual(
    pusher.requests.map(({ socketId, channels }) => [socketId, channels]),
    [["1.1", [SIGN_IN, OWN, PRESENCE]]],
  )
  assert.deepEqual(
    pusher.socket.frames.map(({ event, data }) => [event, data?.channel]),
    [
      ["pusher:signin", undefined],
      ["pusher:subscribe", OWN],
      ["pusher:subscribe", PRESENCE],
    ],
  )
  pusher.socket.accept(["alice", "bob"])
  assert.deepEqual(own.log, ["subscribed"])
  assert.deepEqual(presence.log, [["alice", "bob"]])
  assert.equal(connection.status.getSnapshot(), "connected")
})

test("events arrive with their data and the sender of client events", async (t) => {
  const { pusher, connection, own } = await createLive(t)
  const presence = record(connection, PRESENCE)
  await pusher.start(connection)
  pusher.socket.emit("chat:event", { seq: 1 }, OWN)
  pusher.socket.emit("client-typing", {}, PRESENCE, "bob")
  assert.deepEqual(own.log.slice(1), [["chat:event", { seq: 1 }, undefined]])
  assert.deepEqual(presence.log.slice(1), [["client-typing", {}, "bob"]])
})

test("more than 100 channels are authorized in several requests", async (t) => {
  const { pusher, connection } = await createLive(t)
  for (let chat = 0; chat < 150; chat += 1) record(connection, `private-chat-${chat}`)
  await pusher.start(connection)
  assert.deepEqual(
    pusher.requests.map(({ channels }) => channels.length),
    [100, 52],
  )
})

test("a channel that is left and subscribed again needs no request", async (t) => {
  const { pusher, connection } = await createLive(t)
  const first = record(connection, CHAT)
  await pusher.start(connection)
  first.subscription.unsubscribe()
  const second = record(connection, CHAT)
  await pusher.settle()
  pusher.socket.accept()
  assert.deepEqual(second.log, ["subscribed"])
  assert.equal(pusher.requests.length, 1)
  first.subscription.unsubscribe()
  assert.ok(second.subscription.trigger("client-typing", {}))
})

test("a slow response for a former socket is dropped", async (t) => {
  const { pusher, connection, own } = await createLive(t)
  pusher.onRequest = () => {}
  connection.connect()
  await pusher.settle()
  pusher.socket.end(1006)
  await pusher.pass(3000)
  const [former, current] = pusher.requests
  assert.ok(former?.signal.aborted)
  former.grant()
  await pusher.settle()
  assert.deepEqual(pusher.socket.frames, [])
  current?.grant()
  await pusher.settle()
  pusher.socket.accept()
  assert.deepEqual(own.log, ["subscribed"])
})

test("a former member reconnects after 4009 to the channels that remain", async (t) => {
  const { pusher, connection, own } = await createLive(t)
  const chat = record(connection, CHAT)
  await pusher.start(connection)
  pusher.onRequest = (request) => request.grant(CHAT)
  for (let round = 2; round <= 3; round += 1) {
    pusher.socket.end(4009)
    await pusher.pass(5000)
    assert.equal(pusher.sockets.length, round)
    pusher.socket.accept()
  }
  assert.deepEqual(own.log, ["subscribed", "subscribed", "subscribed"])
  assert.deepEqual(chat.log, ["subscribed", "forbidden"])
  assert.deepEqual(
    pusher.requests.map(({ channels }) => channels.length),
    [3, 3, 2],
  )
})

test("connect() subscribes again to what was rejected", async (t) => {
  const { pusher, connection, own } = await createLive(t)
  pusher.onRequest = (request) => request.reject(401, "unauthorized")
  connection.connect()
  await pusher.pass(60_000)
  assert.deepEqual(own.log, ["unauthorized"])
  assert.equal(pusher.requests.length, 1)
  connection.disconnect()
  pusher.onRequest = (request) => request.grant()
  await pusher.start(connection)
  assert.deepEqual(own.log, ["unauthorized", "subscribed"])
})

test("an authorization that fails is repeated on the same socket, with backoff", async (t) => {
  const { pusher, connection, own } = await createLive(t)
  pusher.onRequest = (request) =>
    pusher.requests.length % 2 ? request.reject(503, "unavailable") : request.reject(429, "rate_limited")
  connection.connect()
  await pusher.pass(60_000)
  assert.ok(pusher.requests.length >= 5 && pusher.requests.length <= 7, `${pusher.requests.length} requests`)
  pusher.onRequest = (request) => request.grant()
  await pusher.pass(60_000)
  pusher.socket.accept()
  assert.deepEqual(own.log, ["subscribed"])
  assert.equal(pusher.sockets.length, 1)
  assert.deepEqual(pusher.requests.at(-1)?.channels, [SIGN_IN, OWN])
})

for (const code of [1000, 1002, 1006, 4000, 4001, 4009, 4100, 4200, 4201, 4300]) {
  test(`a server that closes each connection with ${code} is tried with backoff`, async (t) => {
    for (const isEstablished of [true, false]) {
      await t.test(isEstablished ? "after the handshake" : "in the handshake", async (t) => {
        const { pusher, connection } = await createLive(t)
        pusher.onConnect = (socket) => {
          if (isEstablished) socket.establish()
          else socket.onopen?.()
          setTimeout(() => socket.end(code), 10)
        }
        connection.connect()
        await pusher.pass(4000, 10)
        assert.ok(pusher.sockets.length <= 3, `${pusher.sockets.length} connections in 4 s`)
        await pusher.pass(296_000, 500)
        assert.ok(pusher.sockets.length >= 6 && pusher.sockets.length <= 24, `${pusher.sockets.length} connections`)
        pusher.onConnect = (socket) => socket.establish()
        await pusher.pass(61_000, 500)
        assert.equal(connection.status.getSnapshot(), "connected")
      })
    }
  })
}

test("a server that does not respond is tried again", async (t) => {
  const { pusher, connection } = await createLive(t)
  pusher.onConnect = () => {}
  connection.connect()
  await pusher.pass(13_000)
  assert.equal(pusher.sockets.length, 2)
})

test("a connection that is silent for 40 s is replaced", async (t) => {
  const { pusher, connection } = await createLive(t)
  await pusher.start(connection)
  await pusher.pass(300_000, 1000)
  assert.equal(pusher.sockets.length, 1)
  pusher.socket.isSilent = true
  await pusher.pass(73_000)
  assert.equal(pusher.sockets.length, 2)
  assert.ok(pusher.sockets[0]?.isClosed)
})

test("a subscription that lasted ends a series of failures", async (t) => {
  const { pusher, connection, own } = await createLive(t)
  pusher.onConnect = (socket) => socket.end(1006)
  connection.connect()
  await pusher.pass(60_000)
  pusher.onConnect = (socket) => socket.establish()
  await pusher.pass(61_000)
  pusher.socket.accept()
  await pusher.pass(11_000)
  pusher.socket.end(1006)
  await pusher.pass(2500)
  pusher.socket.accept()
  assert.deepEqual(own.log, ["subscribed", "subscribed"])
})

test("a channel that is left before the response stays left after a reconnection", async (t) => {
  const { pusher, connection } = await createLive(t)
  pusher.onRequest = () => {}
  const chat = record(connection, CHAT)
  connection.connect()
  await pusher.settle()
  chat.subscription.unsubscribe()
  pusher.socket.end(1006)
  pusher.onRequest = (request) => request.grant()
  await pusher.pass(3000)
  assert.deepEqual(pusher.requests.at(-1)?.channels, [SIGN_IN, OWN])
})

test("a subscription that Pusher rejects is possible later", async (t) => {
  const { pusher, connection } = await createLive(t)
  await pusher.start(connection)
  const first = record(connection, PRESENCE)
  await pusher.settle()
  pusher.socket.emit("pusher:subscription_error", { type: "LimitReached", status: 4004 }, PRESENCE)
  first.subscription.unsubscribe()
  pusher.socket.frames.length = 0
  const second = record(connection, PRESENCE)
  await pusher.settle()
  pusher.socket.accept(["bob"])
  assert.deepEqual(second.log, [["bob"]])
})

test("disconnect() leaves no timer, and connect() resumes", async (t) => {
  for (const code of [4009, 4100, 4200]) {
    await t.test(`after ${code}`, async (t) => {
      const { pusher, connection, own } = await createLive(t)
      await pusher.start(connection)
      pusher.socket.end(code)
      connection.disconnect()
      await pusher.pass(120_000, 1000)
      assert.ok(pusher.sockets.every(({ isClosed }) => isClosed))
      assert.equal(connection.status.getSnapshot(), "disconnected")
      assert.equal(pusher.requests.length, 1)
      await pusher.start(connection)
      assert.deepEqual(own.log, ["subscribed", "subscribed"])
    })
  }
})

test("connect(), disconnect() and connect() at once make one connection", async (t) => {
  const { pusher, connection, own } = await createLive(t)
  connection.connect()
  connection.disconnect()
  await pusher.start(connection)
  assert.equal(pusher.sockets.length, 1)
  assert.deepEqual(own.log, ["subscribed"])
  connection.disconnect()
  connection.connect()
  await pusher.settle()
  assert.equal(pusher.sockets.filter(({ isClosed }) => !isClosed).length, 1)
})
