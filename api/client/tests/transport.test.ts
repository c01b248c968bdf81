import assert from "node:assert/strict"
import { test } from "node:test"
import { createTransport, type TransportOptions } from "../src/http/transport.js"
import { advance, finish, installBrowser } from "./simulated-browser.js"

const BASE = "https://chat.example.org"

interface Attempt {
  at: number
  request: Request
  body: string
}

type Outcome = Response | Error | "hang"

/** The API that responds to each attempt with the next outcome; the last one repeats. */
function simulateApi(...outcomes: Outcome[]) {
  const attempts: Attempt[] = []
  const fetch = async (request: Request): Promise<Response> => {
    attempts.push({ at: Date.now(), request, body: await request.clone().text() })
    const outcome = outcomes[Math.min(attempts.length, outcomes.length) - 1]
    if (outcome instanceof Error) throw outcome
    if (outcome instanceof Response) return outcome.clone()
    return new Promise((_, reject) => {
      request.signal.addEventListener("abort", () => reject(request.signal.reason))
    })
  }
  return { attempts, fetch: fetch as typeof globalThis.fetch }
}

const respond = (status: number, headers: HeadersInit = {}, body = status === 204 ? null : "{}") =>
  new Response(body, { status, headers })
const lost = new TypeError("Failed to fetch")
const newRequest = (method = "GET", init: RequestInit = {}, path = "/api/chats") =>
  new Request(BASE + path, { method, ...init })
const newTransport = (fetch: typeof globalThis.fetch, options: Partial<TransportOptions> = {}) =>
  createTransport({ url: BASE, fetch, ...options })

/** Send a request to an API with these outcomes; return the status, and the number of attempts. */
async function send(request: Request, ...outcomes: Outcome[]): Promise<[number, number]> {
  const { attempts, fetch } = simulateApi(...outcomes)
  const { status } = await finish(newTransport(fetch)(request))
  return [status, attempts.length]
}

test("an upload is sent again whole, with the same idempotency key, after Retry-After", async (context) => {
  installBrowser(context)
  const form = new FormData()
  form.append("image", new Blob(["x".repeat(100_000)]), "picture.png")
  const { attempts, fetch } = simulateApi(respond(503, { "Retry-After": "20" }), lost, respond(201))
  const response = await finish(newTransport(fetch)(newRequest("POST", { body: form })))
  assert.deepEqual([response.status, attempts.length], [201, 3])
  const [first, second, third] = attempts as [Attempt, Attempt, Attempt]
  assert.ok(second.at - first.at >= 20_000)
  assert.ok(third.at - second.at <= 2100)
  assert.ok(first.body.includes("x".repeat(100_000)))
  assert.deepEqual(new Set(attempts.map(({ body }) => body)).size, 1)
  const keys = attempts.map(({ request }) => request.headers.get("Idempotency-Key"))
  assert.match(keys[0] ?? "", /^[0-9a-f]{32}$/)
  assert.equal(new Set(keys).size, 1)
})

test("only changes by POST get an idempotency key, and a caller's own key is kept", async (context) => {
  installBrowser(context)
  const { attempts, fetch } = simulateApi(respond(200))
  const transport = newTransport(fetch)
  await finish(transport(newRequest("POST")))
  await finish(transport(newRequest("POST")))
  await finish(transport(newRequest("POST", { headers: { "Idempotency-Key": "mine" } })))
  await finish(transport(newRequest("PUT", { body: "{}" })))
  await finish(transport(newRequest("POST", {}, "/api/pusher/auth")))
  const keys = attempts.map(({ request }) => request.headers.get("Idempotency-Key"))
  assert.notEqual(keys[0], keys[1])
  assert.deepEqual(keys.slice(2), ["mine", null, null])
})

test("lost connections are repeated up to five times", async (context) => {
  installBrowser(context)
  for (const method of ["GET", "PUT", "DELETE", "POST"]) {
    const { attempts, fetch } = simulateApi(lost)
    const start = Date.now()
    await assert.rejects(finish(newTransport(fetch)(newRequest(method))), { code: "network_error", status: 0 })
    assert.equal(attempts.length, 5)
    assert.ok(Date.now() - start <= 16_000)
  }
})

test("errors of proxies and of an overloaded API are repeated, and the last one is returned", async (context) => {
  installBrowser(context)
  for (const status of [502, 503, 504]) {
    assert.deepEqual(await send(newRequest(), respond(status), respond(200)), [200, 2])
    assert.deepEqual(await send(newRequest(), respond(status)), [status, 5])
  }
  for (const status of [400, 403, 404, 410, 412, 422, 500]) {
    assert.deepEqual(await send(newRequest(), respond(status)), [status, 1])
  }
})

test("a request with If-Match is repeated only if it had no effect", async (context) => {
  installBrowser(context)
  const newConditional = () => newRequest("PUT", { headers: { "If-Match": '"1"' }, body: "{}" })
  await assert.rejects(send(newConditional(), lost, respond(412)), { code: "network_error" })
  assert.deepEqual(await send(newConditional(), respond(502), respond(412)), [502, 1])
  assert.deepEqual(await send(newConditional(), respond(503), respond(200)), [200, 2])
  assert.deepEqual(await send(newConditional(), respond(429, { "Retry-After": "1" }), respond(200)), [200, 2])
})

test("a conflict is repeated while the first request with the key is in progress", async (context) => {
  installBrowser(context)
  assert.deepEqual(await send(newRequest("POST"), respond(409, { "Retry-After": "1" }), respond(201)), [201, 2])
  assert.deepEqual(await send(newRequest("POST"), respond(409)), [409, 1])
})

test("a rejected request waits for Retry-After, but not for more than a minute, nor for ever", async (context) => {
  installBrowser(context)
  const { attempts, fetch } = simulateApi(respond(429, { "Retry-After": "17" }), respond(429), respond(200))
  assert.equal((await finish(newTransport(fetch)(newRequest()))).status, 200)
  const [first, second, third] = attempts as [Attempt, Attempt, Attempt]
  assert.ok(second.at - first.at >= 17_000 && second.at - first.at < 17_500)
  assert.ok(third.at - second.at >= 1000 && third.at - second.at < 1500, "without the header, one second")
  for (const status of [429, 503, 409]) {
    assert.deepEqual(await send(newRequest(), respond(status, { "Retry-After": "61" })), [status, 1])
  }
  assert.deepEqual(await send(newRequest(), respond(429, { "Retry-After": "45" })), [429, 7], "for five minutes")
})

test("an attempt without a response is aborted after 30 seconds, an upload after 180", async (context) => {
  installBrowser(context)
  const { attempts, fetch } = simulateApi("hang", respond(200))
  const start = Date.now()
  assert.equal((await finish(newTransport(fetch)(newRequest()))).status, 200)
  assert.ok(Date.now() - start >= 30_000 && Date.now() - start <= 32_000)
  assert.ok(attempts[0]?.request.signal.aborted)
  const upload = simulateApi("hang", respond(201))
  await finish(newTransport(upload.fetch)(newRequest("POST", { body: new FormData() })))
  const [first, second] = upload.attempts as [Attempt, Attempt]
  assert.ok(second.at - first.at >= 180_000)
})

test("a response whose body breaks off is repeated", async (context) => {
  installBrowser(context)
  let attempts = 0
  const fetch = async () => {
    attempts++
    const broken = new ReadableStream({
      pull(controller) {
        controller.enqueue(new TextEncoder().encode('{"chats'))
        controller.error(lost)
      },
    })
    return attempts === 1 ? new Response(broken) : respond(200, {}, '{"chats": []}')
  }
  const response = await finish(newTransport(fetch)(newRequest()))
  assert.deepEqual(await response.json(), { chats: [] })
})

test("requests carry the cookie, or the token without the cookie", async (context) => {
  installBrowser(context)
  const { attempts, fetch } = simulateApi(respond(200))
  await finish(newTransport(fetch)(newRequest()))
  await finish(newTransport(fetch, { getToken: () => "t1" })(newRequest()))
  const sent = attempts.map(({ request }) => [request.credentials, request.headers.get("Authorization")])
  assert.deepEqual(sent, [
    ["include", null],
    ["omit", "Bearer t1"],
  ])
})

test("after a 401 a new token is tried once", async (context) => {
  installBrowser(context)
  for (const [outcomes, expected] of [
    [
      [respond(401), respond(200)],
      [200, 2, 0],
    ],
    [[respond(401)], [401, 2, 1]],
  ] as const) {
    let calls = 0
    let signOuts = 0
    const { attempts, fetch } = simulateApi(...outcomes)
    const getToken = async () => `t${++calls}`
    const onSignedOut = () => signOuts++
    const { status } = await finish(newTransport(fetch, { getToken, onSignedOut })(newRequest()))
    assert.deepEqual([status, calls, signOuts], expected)
    assert.deepEqual(
      attempts.map(({ request }) => request.headers.get("Authorization")),
      ["Bearer t1", "Bearer t2"],
    )
  }
})

test("the failure to get a token is the cause of the error", async (context) => {
  installBrowser(context)
  const { fetch } = simulateApi(respond(200))
  const cause = new Error("no session")
  const transport = newTransport(fetch, { getToken: () => Promise.reject(cause) })
  await assert.rejects(finish(transport(newRequest())), { code: "network_error", cause })
})

test("a 401 without getToken ends the session", async (context) => {
  installBrowser(context)
  let signOuts = 0
  const { attempts, fetch } = simulateApi(respond(401))
  const transport = newTransport(fetch, { onSignedOut: () => signOuts++ })
  assert.equal((await finish(transport(newRequest()))).status, 401)
  assert.deepEqual([attempts.length, signOuts], [1, 1])
})

test("a request is aborted before its turn, in flight, and between attempts", async (context) => {
  installBrowser(context)
  context.mock.method(Math, "random", () => 0.5) // which the backoff depends on
  const reason = new Error("left the page")
  const rejected = respond(429, { "Retry-After": "30" })
  const headers = { "If-Match": '"1"' } // A lost connection would end this request.
  for (const outcome of ["hang", respond(503, { "Retry-After": "30" }), rejected] as const) {
    const { attempts, fetch } = simulateApi(outcome)
    const transport = newTransport(fetch)
    const controller = new AbortController()
    const pending = transport(newRequest("GET", { signal: controller.signal, headers }))
    await advance(1)
    controller.abort(reason)
    await assert.rejects(finish(pending), reason)
    assert.equal(attempts.length, 1)
    await assert.rejects(transport(newRequest("GET", { signal: controller.signal })), reason)
    assert.equal(attempts.length, 1)
  }
})

test("an aborted request gives its place and its turn to the next one", async (context) => {
  installBrowser(context)
  const limit = { "RateLimit-Policy": '"default";q=2;w=10' }
  const { attempts, fetch } = simulateApi(
    respond(200, { ...limit, RateLimit: '"default";r=0;t=5' }),
    respond(429, { ...limit, RateLimit: '"default";r=0;t=1', "Retry-After": "1" }),
    respond(200, { ...limit, RateLimit: '"default";r=1;t=5' }),
  )
  const transport = newTransport(fetch)
  await finish(transport(newRequest()))
  const controllers = [new AbortController(), new AbortController()]
  const aborted = controllers.map(({ signal }) => transport(newRequest("GET", { signal })))
  const outcomes = Promise.allSettled(aborted)
  await advance(5200) // The first one was sent and rejected, the second one waits.
  assert.equal(attempts.length, 2)
  for (const controller of controllers) controller.abort()
  assert.deepEqual(
    (await finish(outcomes)).map(({ status }) => status),
    ["rejected", "rejected"],
  )
  const start = Date.now()
  await finish(transport(newRequest()))
  assert.ok(Date.now() - start <= 1100)
})

test("an offline browser sends nothing until it is online, or for a minute", async (context) => {
  const browser = installBrowser(context)
  const { attempts, fetch } = simulateApi(respond(200))
  browser.isOnline = false
  const pending = newTransport(fetch)(newRequest())
  await advance(30_000, { step: 1000 })
  assert.equal(attempts.length, 0)
  browser.isOnline = true
  dispatchEvent(new Event("online"))
  await finish(pending, 100)
  browser.isOnline = false // which browsers may report wrongly
  const start = Date.now()
  await finish(newTransport(fetch)(newRequest()))
  assert.ok(Date.now() - start >= 60_000)
})

for (const [name, options, error] of [
  ["without Web Locks", { hasLocks: false }, null],
  ["where Web Locks are forbidden", { isLockForbidden: true }, null],
  ["while a suspended tab holds the lock", { isLockHeld: true }, null],
  ["where localStorage is forbidden", {}, new DOMException("denied", "SecurityError")],
  ["where localStorage is full", {}, new DOMException("full", "QuotaExceededError")],
] as const) {
  test(`the limit is kept ${name}`, async (context) => {
    const browser = installBrowser(context, options)
    browser.storageError = error
    const headers = { "RateLimit-Policy": '"default";q=3;w=10', RateLimit: '"default";r=0;t=4' }
    const { attempts, fetch } = simulateApi(respond(200, headers))
    const transport = newTransport(fetch)
    await finish(transport(newRequest()))
    await finish(transport(newRequest()))
    const [first, second] = attempts as [Attempt, Attempt]
    assert.ok(second.at - first.at >= 4000)
    assert.equal(browser.items.size, error ? 0 : 1)
  })
}

test("nothing of a request is stored", async (context) => {
  const browser = installBrowser(context)
  const { fetch } = simulateApi(respond(200))
  const transport = newTransport(fetch, { getToken: () => "secret" })
  await finish(transport(newRequest("POST", { body: "secret" }, "/api/chats?secret")))
  assert.deepEqual([...browser.items.keys()], [`parley:budget:${BASE}`])
  assert.doesNotMatch([...browser.items.values()].join(), /secret/)
})
