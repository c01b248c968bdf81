// Opening a chat over the simulated server: jumps and members that are requested before the state has arrived.

import assert from "node:assert/strict"
import { afterEach, beforeEach, test } from "node:test"
import { advance, Device, World } from "./simulated-device.js"

let world: World
let alice: Device
let chatId: string
let ids: string[]

beforeEach(async () => {
  world = new World()
  chatId = world.createChat("Plans", "bob")
  ids = Array.from({ length: 150 }, (_, index) => world.send(chatId, "bob", `${index}`).id)
  await advance(1000)
  alice = new Device(world.network, "alice")
  world.devices.push(alice)
})
afterEach(() => world.stop())

const timeline = () => alice.chat(chatId).timeline.getSnapshot()
const finish = <T>(call: Promise<T>) => Promise.all([call, advance(5000)]).then(([result]) => result)

// React runs the effects of components before those of the provider, which starts the client.
const ORDERS = ["open, jump, start", "jump, open, start", "start, open, jump", "start, jump, open"]

for (const order of ORDERS) {
  test(`a jump is not replaced by the newest messages: ${order}`, async () => {
    for (const slow of [0, 1, 2, 3, 4]) {
      const device = new Device(world.network, "alice")
      world.devices.push(device)
      const session = device.chat(chatId)
      let count = 0
      world.network.latency = () => (count++ === slow ? 3000 : 50)
      let jump = Promise.resolve()
      for (const step of order.split(", ")) {
        if (step === "open") session.open()
        else if (step === "start") device.client.start()
        else jump = session.jumpTo(ids[20] as string)
      }
      await finish(Promise.all([jump, advance(15_000)]))
      const { messages } = session.timeline.getSnapshot()
      assert.ok(
        messages.some(({ id }) => id === ids[20]),
        `request ${slow} is slow`,
      )
      device.assertCurrent()
      device.client.stop()
    }
  })
}

test("a jump to a deleted message at the start is rejected, and shows the newest messages", async () => {
  world.remove(chatId, ids[20] as string)
  alice.client.start()
  const session = alice.chat(chatId)
  session.open()
  await assert.rejects(finish(session.jumpTo(ids[20] as string)), { code: "not_found" })
  assert.equal(timeline().status, "ready")
  assert.equal(timeline().messages.at(-1)?.id, ids.at(-1))
  alice.assertCurrent()
})

test("members are requested once for all callers at the same time", async () => {
  alice.client.start()
  const session = alice.chat(chatId)
  session.open()
  await finish(Promise.all([session.loadMembers(), session.loadMembers()]))
  const requests = world.network.requests.filter((request) => JSON.stringify(request).includes("/members"))
  assert.equal(requests.length, 1)
  alice.assertCurrent()
})
