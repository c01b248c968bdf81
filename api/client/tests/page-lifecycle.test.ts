// The connection to Pusher, and the events of the page.

import assert from "node:assert/strict"
import { type TestContext, test } from "node:test"
import { createLive } from "./simulated-pusher.js"

/** Provide the events of a page. */
function createPage(t: TestContext) {
  const page = new EventTarget()
  const document = { visibilityState: "visible" }
  const listen = t.mock.fn(page.addEventListener.bind(page))
  Object.assign(globalThis, { addEventListener: listen, document })
  t.after(() => {
    Reflect.deleteProperty(globalThis, "addEventListener")
    Reflect.deleteProperty(globalThis, "document")
  })
  const signals = () =>
    listen.mock.calls.map(({ arguments: [, , options] }) => (options as { signal: AbortSignal }).signal)
  return { document, emit: (event: string) => page.dispatchEvent(new Event(event)), signals }
}

for (const event of ["online", "visibilitychange", "pageshow"]) {
  test(`${event} ends the wait for the next attempt`, async (t) => {
    const { document, emit } = createPage(t)
    const { pusher, connection } = await createLive(t)
    pusher.onConnect = (socket) => socket.end(1006)
    connection.connect()
    await pusher.pass(120_000, 1000)
    await pusher.pass(1000)
    const attempts = pusher.sockets.length
    pusher.onConnect = (socket) => socket.establish()
    document.visibilityState = "hidden"
    emit("visibilitychange")
    await pusher.settle()
    assert.equal(pusher.sockets.length, attempts)
    document.visibilityState = "visible"
    emit(event)
    await pusher.settle()
    assert.equal(pusher.sockets.length, attempts + 1)
    assert.equal(connection.status.getSnapshot(), "connected")
    emit(event)
    await pusher.settle()
    assert.equal(pusher.sockets.length, attempts + 1)
  })
}

test("offline closes the connection at once, and attempts continue", async (t) => {
  const { emit } = createPage(t)
  const { pusher, connection } = await createLive(t)
  await pusher.start(connection)
  emit("offline")
  assert.equal(connection.status.getSnapshot(), "connecting")
  const attempts = pusher.sockets.length
  await pusher.pass(2000)
  await pusher.settle()
  assert.equal(pusher.sockets.length, attempts + 1)
  assert.equal(connection.status.getSnapshot(), "connected")
})

test("a page in the back/forward cache has no connection, and connects when it is shown again", async (t) => {
  const { emit } = createPage(t)
  const { pusher, connection, own } = await createLive(t)
  await pusher.start(connection)
  emit("pagehide")
  assert.ok(pusher.socket.isClosed)
  await pusher.pass(120_000, 1000)
  assert.equal(pusher.sockets.length, 1)
  emit("pageshow")
  await pusher.settle()
  pusher.socket.accept()
  assert.deepEqual(own.log, ["subscribed", "subscribed"])
})

test("disconnect() leaves no listener", async (t) => {
  const { emit, signals } = createPage(t)
  const { pusher, connection } = await createLive(t)
  await pusher.start(connection)
  connection.disconnect()
  assert.ok(signals().length > 0 && signals().every(({ aborted }) => aborted))
  emit("online")
  await pusher.pass(60_000, 1000)
  assert.equal(pusher.sockets.length, 1)
})
