// Property: after any actions, faults and reconnections, each device shows what the server has.

import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { ParleyError } from "../src/http/errors.js"
import { advance, type Device, World } from "./simulated-device.js"
import { FAULTS, NO_FAULTS } from "./simulated-network.js"

const RUNS = Number(process.env["PARLEY_RUNS"] ?? 40)
/** Set to 1 to report the first counterexample without shrinking it. */
const endOnFailure = process.env["PARLEY_NO_SHRINK"] === "1"
const SEED = process.env["PARLEY_SEED"] === undefined ? {} : { seed: Number(process.env["PARLEY_SEED"]) }

const KINDS = [
  ...[
    "send",
    "send",
    "send",
    "sendLong",
    "edit",
    "editLong",
    "retype",
    "delete",
    "markRead",
    "markRead",
    "open",
    "open",
    "close",
  ],
  ...["loadOlder", "loadNewer", "jumpTo", "jumpToNewest", "loadMembers", "rename", "createChat", "deleteChat", "leave"],
  ...["addMember", "removeMember", "makeOwner", "retry", "burst", "deleteAtServer", "editAtServer"],
  ...["faults", "healthy", "offline", "online", "disconnect", "purge", "expire", "restart", "wait", "wait", "wait"],
] as const

type Action = { kind: (typeof KINDS)[number]; device: number; chat: number; n: number }

const actions = fc.array(
  fc.record({
    kind: fc.constantFrom(...KINDS),
    device: fc.nat({ max: 2 }),
    chat: fc.nat({ max: 3 }),
    n: fc.nat({ max: 9 }),
  }),
  { minLength: 1, maxLength: 80, size: "max" },
)

/** Actions that the API rejects, or that need the network, may fail. */
const ignore = (call: Promise<unknown>) =>
  call.catch((error) => assert.ok(error instanceof ParleyError || error instanceof TypeError, String(error)))

class Scenario {
  readonly world: World
  readonly #closers: (() => void)[] = []
  #count = 0

  constructor(seed: number) {
    this.world = new World(seed)
    this.world.server.maxPage = 5
    this.world.createChat("first", "bob", "carol")
    this.world.createChat("second", "bob")
    const bots = Array.from({ length: 98 }, (_, index) => `bot ${index}`)
    for (const bot of bots) this.world.server.addUser(bot)
    this.world.createChat("with 100 members", "bob", ...bots)
  }

  run({ kind, device: index, chat, n }: Action): Promise<void> | undefined {
    const { network, server, devices } = this.world
    const device = devices[index] as Device
    const chats = Object.values(server.database.chats).filter(({ isDeleted }) => !isDeleted)
    const target = chats[chat % Math.max(1, chats.length)]
    switch (kind) {
      case "faults":
        network.faults = FAULTS
        return
      case "healthy":
        network.faults = NO_FAULTS
        return
      case "offline":
        network.isOffline = true
        for (const connection of network.connections) connection.close()
        return
      case "online":
        network.isOffline = false
        return
      case "disconnect":
        for (const connection of network.connections) if (connection.userId === device.userId) connection.close()
        return
      case "purge":
        server.purge()
        return
      case "expire":
        device.token = ""
        return
      case "restart":
        device.client.stop()
        this.#signIn(device)
        return
      case "wait":
        return advance(n ** 3 + 10)
      case "createChat":
        if (chats.length < 5)
          void ignore(device.client.createChat({ title: `new ${n}`, members: n % 2 ? ["alice", "bob"] : [] }))
        return
    }
    if (!target) return
    if (["burst", "deleteAtServer", "editAtServer"].includes(kind)) this.#changeAtServer(kind, target.id, n)
    else this.#act(kind, device, target.id, n)
    return
  }

  #signIn(device: Device): void {
    device.token = device.userId
    device.client.start()
  }

  #changeAtServer(kind: string, chatId: string, n: number): void {
    const { server } = this.world
    server.change(() => {
      const chat = server.database.chats[chatId]
      const message = chat?.messages.at(-1 - n)
      if (!chat) return
      if (kind === "burst") for (let i = 0; i < n; i++) server.send(chat, "carol", `burst ${this.#count++}`)
      else if (message && kind === "deleteAtServer") server.deleteMessage(chat, message)
      else if (message) server.updateMessage(chat, message, { content: `${"edited ".repeat(n)}${this.#count++}` })
    })
  }

  #act(kind: Action["kind"], device: Device, chatId: string, n: number): void {
    const session = device.chat(chatId)
    const messages = device.messages(chatId).filter(({ id }) => id !== null)
    const message = messages[n % Math.max(1, messages.length)]
    const id = message?.id ?? ""
    const { client, userId } = device
    const member = ["alice", "bob", "carol"][n % 3] as string
    const content = `${userId} ${this.#count++}`
    const calls: Partial<Record<Action["kind"], () => unknown>> = {
      send: () => device.send(chatId, content),
      sendLong: () => device.send(chatId, content.padEnd(250, "long")),
      open: () => this.#closers.push(session.open()),
      close: () => this.#closers.splice(n, 1)[0]?.(),
      loadOlder: () => session.loadOlder(),
      loadNewer: () => session.loadNewer(),
      jumpToNewest: () => session.jumpToNewest(),
      loadMembers: () => session.loadMembers(),
      rename: () => client.updateChat(chatId, { title: content }),
      deleteChat: () => n > 7 && client.deleteChat(chatId),
      leave: () => client.leaveChat(chatId),
      addMember: () => session.addMember({ userId: member }),
      removeMember: () => member !== userId && session.removeMember(member),
      makeOwner: () => session.makeOwner(member),
      retry: () => {
        for (const { key, status } of device.messages(chatId)) if (status === "failed") session.retry(key)
      },
    }
    const changes: Partial<Record<Action["kind"], () => unknown>> = {
      markRead: () => session.markRead(id),
      jumpTo: () => session.jumpTo(this.world.server.database.chats[chatId]?.messages[n]?.id ?? id),
      edit: () => session.edit(id, { content }),
      editLong: () => session.edit(id, { content: content.padEnd(300, "long") }),
      retype: () => session.edit(id, { type: n % 2 ? "code" : "text" }),
      delete: () => session.deleteMessage(id),
    }
    const isSent = message?.status === "sent"
    void ignore(Promise.resolve(calls[kind]?.() ?? (isSent ? changes[kind]?.() : undefined)))
  }

  /** Each message that was not lost with its chat was stored once, in the order of sending. */
  assertSent(stored: readonly { chatId: string; content: string }[]): void {
    for (const device of this.world.devices) {
      const contents = new Set(device.sent.map(({ content }) => content))
      for (const chatId of new Set(device.sent.map((sent) => sent.chatId))) {
        const own = stored.filter((message) => message.chatId === chatId && contents.has(message.content))
        const sent = device.sent.filter((message) => message.chatId === chatId).map(({ content }) => content)
        const received = own.map(({ content }) => content)
        assert.equal(new Set(received).size, received.length, "sent twice")
        assert.deepEqual(
          received,
          sent.filter((content) => received.includes(content)),
          "order",
        )
      }
    }
  }

  async finish(): Promise<void> {
    for (const device of this.world.devices) {
      this.#signIn(device)
      for (const chat of Object.values(this.world.server.database.chats)) device.chat(chat.id).open()
    }
    await this.world.settle()
    for (const device of this.world.devices) device.assertCurrent()
  }
}

test("devices converge to the server's state after any actions and faults", { timeout: 3_600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer(), actions, async (seed, list) => {
      const scenario = new Scenario(seed)
      const { world } = scenario
      const stored: { chatId: string; content: string }[] = []
      const { onEvent } = world.server
      world.server.onEvent = (entry) => {
        if (entry.event === "message:sent")
          stored.push({ chatId: entry.chatId, content: (entry.data as { content: string }).content })
        onEvent(entry)
      }
      try {
        await world.start("alice", "alice", "bob")
        if (seed % 2) world.network.faults = FAULTS
        for (const action of list) {
          await scenario.run(action)
          await advance(20, 20)
        }
        await scenario.finish()
        scenario.assertSent(stored)
      } finally {
        world.stop()
      }
    }),
    { numRuns: RUNS, includeErrorInReport: true, endOnFailure, ...SEED },
  )
})
