// The window on a chat's messages: versions, edges and events.

import assert from "node:assert/strict"
import { test } from "node:test"
import {
  applyToWindow,
  type MessageWindow,
  mergeMessages,
  type StoredMessage,
  updateMessage,
} from "../src/store/message-window.js"
import type { ChatEvent } from "../src/types.js"

const at = (second: number) => `2026-11-23T00:00:0${second}.000Z`
const message = (id: string, second = 1, content = `${id} at ${second}`): StoredMessage => {
  const times = { createdAt: at(1), updatedAt: at(second) }
  return { key: id, id, type: "text", content, userId: "bob", ...times, status: "sent", etag: `"${id}${second}"` }
}
const window = (ids: string, hasOlder = false, hasNewer = false): MessageWindow => {
  return { messages: [...ids].map((id) => message(id)), hasOlder, hasNewer }
}
const sent = (id: string, fields: object = {}): ChatEvent => {
  const data = { id, type: "text" as const, content: `${id} at 1`, userId: "bob", createdAt: at(1), ...fields }
  return { chatId: "c", seq: 1, event: "message:sent", at: at(1), data }
}
const updated = (id: string, second: number, data: object = { updates: { content: `${id} at ${second}` } }) =>
  ({ chatId: "c", seq: 2, event: "message:updated", at: at(second), data: { id, ...data } }) as ChatEvent
const ids = ({ messages }: MessageWindow) => messages.map(({ id }) => id).join("")
const contentOf = ({ messages }: MessageWindow, id: string) => messages.find((message) => message.id === id)?.content

test("merging keeps the order, the current version and the key", () => {
  const shown = { ...message("b", 2), key: "nonce" }
  const merged = mergeMessages([shown], [message("c"), message("a"), message("b", 1)])
  assert.deepEqual(
    merged.map(({ id }) => id),
    ["a", "b", "c"],
  )
  assert.deepEqual(merged[1], shown)
  assert.deepEqual(mergeMessages([shown], [message("b", 3)]), [{ ...message("b", 3), key: "nonce" }])
})

test("a new message joins the window only where no other message can be missing", () => {
  assert.equal(ids(applyToWindow(window("bd"), sent("e"))), "bde")
  assert.equal(ids(applyToWindow(window("bd"), sent("a"))), "abd")
  assert.equal(ids(applyToWindow(window("bd", true, true), sent("c"))), "bcd")
  assert.equal(ids(applyToWindow(window("bd", false, true), sent("e"))), "bd")
  assert.equal(ids(applyToWindow(window("bd", true), sent("a"))), "bd")
  assert.equal(ids(applyToWindow(window("", false, true), sent("a"))), "")
  assert.equal(ids(applyToWindow(window("", true), sent("a"))), "")
  assert.equal(ids(applyToWindow(window("bd"), sent("e", { deleted: true }))), "bd")
})

test("an event of a message that is there does not bring its first content back", () => {
  const edited = updateMessage(window("a"), message("a", 3))
  assert.equal(contentOf(applyToWindow(edited, sent("a")), "a"), "a at 3")
  assert.equal(contentOf(applyToWindow(edited, updated("a", 2)), "a"), "a at 3")
  assert.equal(contentOf(applyToWindow(edited, updated("a", 4)), "a"), "a at 4")
  assert.equal(applyToWindow(edited, updated("a", 3)), edited) // the entity tag is still valid
})

test("an edit invalidates the entity tag; a truncated one the content, too", () => {
  const [edited] = applyToWindow(window("a"), updated("a", 2, { updates: { type: "code" } })).messages
  assert.deepEqual([edited?.type, edited?.content, edited?.etag], ["code", "a at 1", undefined])
  const truncated = applyToWindow(window("a"), updated("a", 2, { updates: {}, truncated: true }))
  assert.equal(contentOf(truncated, "a"), undefined)
})

test("an acknowledged message keeps its key, and its content if the event is truncated", () => {
  const event = sent("a", { content: undefined, truncated: true })
  const [shown] = applyToWindow(window(""), event, { key: "nonce", content: "long" }).messages
  assert.deepEqual([shown?.key, shown?.content], ["nonce", "long"])
  assert.equal(applyToWindow(window(""), event).messages[0]?.content, undefined)
})

test("other events change nothing", () => {
  const before = window("a")
  const event = { chatId: "c", seq: 1, event: "chat:updated", at: at(1), data: { id: "c", updates: {} } } as const
  assert.equal(applyToWindow(before, event), before)
  assert.equal(applyToWindow(before, updated("b", 2)), before)
  assert.equal(updateMessage(before, message("b")), before)
})
