// A program of a web app, with the types that openapi-typescript generates from the API's document: tsc rejects deviations
// from the document. Its arguments are the API's URL, a user's token, another user's id and a file with an image. It sends
// requests as a web app does, prints `done`, then reads the events, one a line of JSON, and prints a description of each.
import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { createInterface } from "node:readline"
import createClient from "openapi-fetch"
import type { components, paths } from "./schema.js"

type Schemas = components["schemas"]
type Problem = Schemas["Problem"]

const [url, token, friend, picture] = process.argv.slice(2)
assert(url && token && friend && picture)
const api = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } })

// Return the body of a response; throw an exception for an error, all of which have the same form.
function body<T>({ data, error }: { data?: T; error?: Schemas["Error"] }): NonNullable<T> {
  if (error) throw new Error(`${error.error.code}: ${error.error.message}`)
  assert(data)
  return data
}

const chat = body(await api.POST("/api/chats", { body: { title: "Plans" } }))
const here = { path: { chatId: chat.id } }
const member = body(await api.POST("/api/chats/{chatId}/members", { params: here, body: { userId: friend } }))
const role: "owner" | "member" = member.role
assert.equal(role, "member")
const { members, total } = body(await api.GET("/api/chats/{chatId}/members", { params: { ...here, query: { limit: 1000 } } }))
assert.deepEqual([members.slice(1), total], [[member], 2])
const unknown = { title: "Plans", members: [friend, { userId: friend }, { email: "nobody@example.org" }] }
const { error: rejected } = await api.POST("/api/chats", { body: unknown })
assert.deepEqual(rejected?.error.details?.fields, { "members[2]": "is not a known user" })
const { users } = body(await api.GET("/api/users", { params: { query: { email: "nobody@example.org" } } }))
assert.deepEqual(users, [])

async function send(message: Schemas["NewMessage"]): Promise<Schemas["SentMessage"]> {
  return body(await api.POST("/api/chats/{chatId}/messages", { params: here, body: message }))
}

const first = await send({ content: "Hello world" })
const second = await send({ content: "Hello again", type: "text" })
const code = await send({ content: "1 + 1", type: "code" })
assert.deepEqual([first.type, code.type], ["text", "code"])

const page = body(await api.GET("/api/chats/{chatId}/messages", {
  params: { ...here, query: { type: "text", limit: 1, startDate: first.createdAt, sort: "newest" } },
}))
assert.deepEqual([page.total, page.page, page.limit], [2, 1, 1])
const [newest] = page.messages
assert(newest)
assert.equal(newest.id, second.id)
const next = await api.GET("/api/chats/{chatId}/messages", {
  params: { ...here, query: { type: "text", before: newest.id } },
})
assert.deepEqual([body(next).page, body(next).messages.map(({ id }) => id)], [null, [first.id]])
assert.match(next.response.headers.get("Link") ?? "", /rel="prev"/)

const start = body(await api.GET("/api/sync", { params: { query: { include: ["users"] } } }))
assert("chats" in start)
assert.deepEqual(start.chats.map(({ id, unreadCount, lastMessage }) => [id, unreadCount, lastMessage?.author.id]), [
  [chat.id, 0, start.user.id],
])
assert.deepEqual(start.users?.map(({ id }) => id), [start.user.id])
const since = body(await api.GET("/api/sync", { params: { query: { after: start.cursor } } }))
assert("events" in since)
assert.deepEqual([since.events, since.hasMore], [[], false])
const marked = body(await api.PUT("/api/chats/{chatId}/read", { params: here, body: { messageId: first.id } }))
assert.deepEqual(marked, { lastReadMessageId: code.id, unreadCount: 0 })

const found = body(await api.GET("/api/search", { params: { query: { search: "hello -again", sort: "relevance" } } }))
assert.deepEqual(found.messages.map(({ chatId, extract }) => [chatId, extract]), [[chat.id, "<mark>Hello</mark> world"]])

const message = { path: { chatId: chat.id, messageId: first.id } }
const edited = body(await api.PUT("/api/chats/{chatId}/messages/{messageId}", { params: message, body: { type: "code" } }))
assert.deepEqual([edited.content, edited.type], ["Hello world", "code"])
const deleted = await api.DELETE("/api/chats/{chatId}/messages/{messageId}", { params: message })
assert.deepEqual([deleted.response.status, deleted.error], [204, undefined])

const { settings } = body(await api.GET("/api/settings"))
const put = body(await api.PUT("/api/settings", { body: { settings: { ...settings, theme: "dark" } } })).settings
assert.deepEqual({ ...put, theme: settings.theme, updatedAt: settings.updatedAt }, settings)

// Of two changes of the same version, the second one fails.
const read = await api.GET("/api/settings")
const ifMatch = { header: { "If-Match": read.response.headers.get("ETag")! } }
body(await api.PUT("/api/settings", { params: ifMatch, body: { settings: { theme: "light" } } }))
const late = await api.PUT("/api/settings", { params: ifMatch, body: { settings: { theme: "system" } } })
assert(late.error)
assert.deepEqual([late.response.status, describeError(late.error.error)], [412, "changed meanwhile"])

const { user } = body(await api.PUT("/api/profile", { body: { name: "Alice" } }))
const name: string | null = user.name
assert.equal(name, "Alice")

const form = new FormData()
form.append("image", new Blob([new Uint8Array(await readFile(picture))]), "picture.png")
const image = body(await api.POST("/api/profile/image", { body: { image: "" }, bodySerializer: () => form }))
const shown = await fetch(image.imageUrl)
assert.equal(shown.headers.get("Content-Type"), "image/png")

// Describe an error for users: the compiler checks that all codes are handled.
function describeError(problem: Problem): string {
  switch (problem.code) {
    case "validation_error":
      return Object.entries(problem.details?.fields ?? {}).map(([field, message]) => `${field} ${message}`).join("; ")
    case "not_found":
      return "gone"
    case "precondition_failed":
      return "changed meanwhile"
    case "unauthorized": case "forbidden": case "method_not_allowed": case "conflict": case "payload_too_large":
    case "unsupported_media_type": case "rate_limited": case "internal_error": case "unavailable":
    case "cursor_expired": case "idempotency_key_reused":
      return problem.message
  }
}

const gone = await api.GET("/api/chats/{chatId}/messages/{messageId}", { params: message })
assert(gone.error)
assert.deepEqual([gone.response.status, describeError(gone.error.error)], [404, "gone"])
const untitled = await api.POST("/api/chats", { body: { title: "" } })
assert(untitled.error)
assert.deepEqual([untitled.response.status, describeError(untitled.error.error)], [400, "title must be 1 to 200 characters"])

body(await api.PUT("/api/chats/{chatId}", { params: here, body: { title: "Other plans" } }))
await api.DELETE("/api/chats/{chatId}", { params: here })
console.log("done")

interface Events {
  "message:sent": Schemas["MessageSent"]
  "message:updated": Schemas["MessageUpdated"]
  "message:deleted": Schemas["MessageDeleted"]
  "chat:updated": Schemas["ChatUpdated"]
  "chat:deleted": Schemas["ChatDeleted"]
  "chat:event": Schemas["LoggedEvent"]
  "user:updated": Schemas["UserUpdated"]
}
type Event = { [Name in keyof Events]: { event: Name; data: Events[Name] } }[keyof Events]

function describeEvent({ event, data }: Event): string {
  switch (event) {
    case "message:sent":
      return `${data.userId} sent ${data.truncated ? "a long message" : data.content} as ${data.type}`
    case "message:updated":
      return `message is ${data.updates.type}`
    case "message:deleted":
      return data === first.id ? "message is gone" : "?"
    case "chat:updated":
      return `chat is ${data.updates.title}`
    case "chat:deleted":
      return data === chat.id ? "chat is gone" : "?"
    case "chat:event":
      return `${data.event} is number ${data.seq}`
    case "user:updated":
      return `${data.id} is ${data.name}`
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(describeEvent(JSON.parse(line) as Event))
}
