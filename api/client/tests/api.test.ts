import assert from "node:assert/strict"
import { test } from "node:test"
import { createApi, unwrap } from "../src/http/api.js"
import { ParleyError } from "../src/http/errors.js"

function respond(status: number, body: BodyInit | null = null, headers: HeadersInit = {}) {
  return createApi("https://chat.example.org", async () => new Response(body, { status, headers }))
}

test("unwrap returns the data with its type", async () => {
  const api = respond(200, JSON.stringify({ chats: [], total: 0, page: 1, limit: 50 }))
  const { data, response } = await unwrap(api.GET("/api/chats"))
  const total: number = data.total
  assert.deepEqual([total, response.status], [0, 200])
})

test("unwrap accepts a response without a body", async () => {
  const params = { path: { chatId: "1" } }
  const { response } = await unwrap(respond(204).DELETE("/api/chats/{chatId}", { params }))
  assert.equal(response.status, 204)
})

test("unwrap throws the error of the API", async () => {
  const fields = { title: "must be 1 to 200 characters" }
  const body = { error: { message: "Invalid.", code: "validation_error", details: { fields } } }
  const api = respond(400, JSON.stringify(body), { "X-Request-Id": "r1" })
  await assert.rejects(
    unwrap(api.POST("/api/chats", { body: { title: "" } })),
    new ParleyError("Invalid.", "validation_error", 400, fields, "r1"),
  )
})

test("unwrap throws an error for a proxy's response", async () => {
  for (const body of ["<h1>Bad gateway</h1>", "null", "{}", '{"error": "x"}', ""]) {
    await assert.rejects(unwrap(respond(502, body).GET("/api/chats")), new ParleyError("HTTP 502", "unavailable", 502))
  }
  const error = new ParleyError("HTTP 418", "internal_error", 418)
  await assert.rejects(unwrap(respond(418, "teapot").GET("/api/chats")), error)
})

test("an ID that is a dot segment of a URL is rejected, since its request would address another resource", async () => {
  const paths: string[] = []
  const api = createApi("https://chat.example.org", async ({ url }) => {
    paths.push(new URL(url).pathname)
    return new Response(null, { status: 204 })
  })
  const remove = (userId: string) =>
    api.DELETE("/api/chats/{chatId}/members/{userId}", { params: { path: { chatId: "1", userId } } })
  for (const userId of [".", ".."]) {
    await assert.rejects(
      remove(userId),
      ({ code, fields }: ParleyError) => code === "validation_error" && "userId" in fields,
    )
  }
  for (const userId of ["...", "../..", "a/b", "%2e%2e", "$&", "{userId}", "\u{1f600}", "..\\"]) await remove(userId)
  const prefix = "/api/chats/1/members/"
  assert.deepEqual(
    paths.map((path) => decodeURIComponent(path.slice(prefix.length))),
    ["...", "../..", "a/b", "%2e%2e", "$&", "{userId}", "\u{1f600}", "..\\"],
  )
})
