import assert from "node:assert/strict"
import { mock, test } from "node:test"
import fc from "fast-check"
import { acquireTurn, applyResponse, type Budget, parseBudget } from "../src/http/rate-budget.js"
import { createRequestQueue } from "../src/http/request-queue.js"
import { openSharedState, type SharedState } from "../src/http/shared-state.js"
import { createTransport } from "../src/http/transport.js"
import { advance, finish, installBrowser } from "./simulated-browser.js"
import { SimulatedLimiter } from "./simulated-limiter.js"

const URL = "https://chat.example.org"
const KEY = `parley:budget:${URL}`

/** The API behind a network with a latency in milliseconds; `sent` and `served` are the paths in order. */
function simulateApi({ limiter = new SimulatedLimiter(), latency = 40 } = {}) {
  const sent: string[] = []
  const served: string[] = []
  const travel = () => new Promise((resolve) => setTimeout(resolve, latency * (0.5 + Math.random())))
  const fetch = async (request: Request) => {
    const path = request.url.slice(URL.length)
    sent.push(path)
    await travel()
    const { isAllowed, headers } = limiter.consume(Date.now())
    if (isAllowed) served.push(path)
    await travel()
    return new Response(null, { status: isAllowed ? 200 : 429, headers })
  }
  return { limiter, sent, served, fetch: fetch as typeof globalThis.fetch }
}

/** Send a number of requests at once in each of some tabs. */
function sendFromTabs(fetch: typeof globalThis.fetch, tabs: number, requests: number, state?: () => SharedState) {
  return Array.from({ length: tabs }, (_, tab) => {
    const send = createTransport({ url: URL, fetch }, state && createRequestQueue(state()))
    return Array.from({ length: requests }, (_, n) => send(new Request(`${URL}/${tab}/${n}`)))
  }).flat()
}

function assertAllServed(responses: Response[], served: string[]) {
  assert.ok(responses.every(({ status }) => status === 200))
  assert.equal(new Set(served).size, responses.length)
  assert.equal(served.length, responses.length)
}

for (const tabs of [1, 2, 3, 4, 5]) {
  test(`${tabs} tabs share the limit`, async (context) => {
    installBrowser(context)
    const { limiter, sent, served, fetch } = simulateApi()
    const start = Date.now()
    const responses = await finish(Promise.all(sendFromTabs(fetch, tabs, 30)), 600_000, { step: 10 })
    assertAllServed(responses, served)
    const seconds = (Date.now() - start) / 1000
    context.diagnostic(`${sent.length} requests in ${seconds} s, of which ${limiter.rejected} were rejected`)
    assert.equal(limiter.rejected, 0)
    assert.ok(seconds <= 1.1 * 30 * tabs, "the limit is used up")
    for (let tab = 0; tab < tabs; tab++) {
      const order = sent.filter((path) => path.startsWith(`/${tab}/`))
      assert.deepEqual(
        order,
        order.map((_, n) => `/${tab}/${n}`),
      )
    }
  })
}

test("no request is lost while other devices of the address use the limit", async (context) => {
  installBrowser(context)
  const { limiter, sent, served, fetch } = simulateApi()
  let other: unknown
  const otherDevice: SharedState = {
    update: async (change) => {
      const { value, result } = change(other)
      other = value
      return result
    },
  }
  const requests = [...sendFromTabs(fetch, 2, 15), ...sendFromTabs(fetch, 2, 15, () => otherDevice)]
  const responses = await finish(Promise.all(requests), 600_000, { step: 10 })
  assert.ok(responses.every(({ status }) => status === 200))
  assert.equal(served.length, 60)
  context.diagnostic(`${limiter.rejected} of ${sent.length} requests were rejected`)
  assert.ok(limiter.rejected < served.length)
})

for (const [limit, window, latency] of [
  [1, 2000, 40],
  [3, 5000, 1500],
  [10, 10_000, 1500],
] as const) {
  test(`no request is lost with ${limit} in ${window} ms and a latency of ${latency} ms`, async (context) => {
    installBrowser(context)
    const { limiter, sent, served, fetch } = simulateApi({ limiter: new SimulatedLimiter(limit, window), latency })
    const responses = await finish(Promise.all(sendFromTabs(fetch, 3, 10)), 600_000, { step: 20 })
    assertAllServed(responses, served)
    context.diagnostic(`${limiter.rejected} of ${sent.length} requests were rejected`)
    assert.ok(limiter.rejected < served.length)
  })
}

test("a tab with one request does not wait for all those of another tab", async (context) => {
  installBrowser(context)
  const { sent, fetch } = simulateApi()
  const crowd = sendFromTabs(fetch, 1, 40)
  await advance(12_000)
  const before = sent.length
  const send = createTransport({ url: URL, fetch })
  await finish(send(new Request(`${URL}/single`)))
  assert.ok(sent.indexOf("/single") <= before + 2, `${sent.indexOf("/single")} after ${before}`)
  await finish(Promise.all(crowd))
})

test("closed tabs do not block others", async (context) => {
  const browser = installBrowser(context)
  const { fetch, served } = simulateApi()
  const now = Date.now()
  const budget: Budget = {
    ...{ limit: 2, window: 10_000, remaining: 1, updatedAt: now, nextFreeAt: now + 10_000 },
    pending: [now, now, now],
    queue: [
      ["closed", now + 250],
      ["closed too", now + 250],
    ],
  }
  browser.items.set(KEY, JSON.stringify(budget))
  const responses = await finish(Promise.all(sendFromTabs(fetch, 2, 1)), 25_000)
  assertAllServed(responses, served)
})

test("low priority leaves two requests to others, but not for long", async (context) => {
  installBrowser(context)
  const { fetch, sent } = simulateApi({ limiter: new SimulatedLimiter(10, 10_000) })
  const send = createTransport({ url: URL, fetch })
  const low = Array.from({ length: 12 }, (_, n) =>
    send(Object.assign(new Request(`${URL}/low/${n}`), { priority: "low" })),
  )
  await advance(200)
  assert.equal(sent.length, 8)
  const normal = send(new Request(`${URL}/normal`))
  await advance(50)
  assert.equal(sent.at(-1), "/normal")
  const others = sendFromTabs(fetch, 1, 60)
  await finish(Promise.all(low))
  assert.ok(sent.length < 30, "low priority was overtaken by few")
  await finish(Promise.all([normal, ...others]))
})

for (const jump of [-86_400_000, 86_400_000]) {
  test(`a clock that jumps by ${jump} ms does not block requests`, async (context) => {
    const browser = installBrowser(context)
    const { fetch, sent } = simulateApi()
    await finish(Promise.all(sendFromTabs(fetch, 1, 10)))
    const stored = browser.items.get(KEY) ?? ""
    const shifted = stored.replace(/\d{13}/g, (time) => String(Number(time) - jump))
    browser.items.set(KEY, shifted) // which is the same as a jump of the clock
    const pending = createTransport({ url: URL, fetch })(new Request(`${URL}/later`))
    await advance(100)
    assert.equal(sent.at(-1), "/later")
    await finish(pending)
  })
}

/** A budget of 10 requests in 10 seconds without requests in flight. */
function newBudget(now: number, values: Partial<Budget> = {}): Budget {
  const limits = { limit: 10, window: 10_000, remaining: 10, updatedAt: now, nextFreeAt: now }
  return { ...limits, pending: [], queue: [], ...values }
}

function rejectRequest(budget: Budget, now: number, headers: HeadersInit): number | null {
  budget.pending.push(now)
  return applyResponse(budget, now, new Response(null, { status: 429, headers }), now)
}

/** Return how many milliseconds a request of another tab waits for its turn. */
function measureWait(budget: Budget, now: number, tab = "other", isLowPriority = false): number {
  for (let time = now; ; ) {
    const { wait } = acquireTurn(budget, tab, isLowPriority, time)
    if (wait === undefined) return time - now
    time += wait
  }
}

test("a rejected request is sent again before any other one", () => {
  const now = Date.UTC(2026, 10, 23)
  const limits = { "RateLimit-Policy": '"default";q=10;w=10', RateLimit: '"default";r=0;t=1' }
  const budget = newBudget(now, { remaining: 2 })
  assert.equal(rejectRequest(budget, now, { ...limits, "Retry-After": "3" }), now + 3000)
  assert.equal(measureWait(budget, now), 4000)
})

test("a rejection without the headers of the limit stops all tabs for Retry-After", () => {
  const now = Date.UTC(2026, 10, 23)
  const budget = newBudget(now)
  rejectRequest(budget, now, { "Retry-After": "7" })
  assert.equal(measureWait(budget, now), 8000)
})

test("used requests become available again over a window", () => {
  const now = Date.UTC(2026, 10, 23)
  const pending = Array<number>(7).fill(now)
  // After 4 seconds one of the five used requests is available, and one more every 2 seconds.
  assert.equal(measureWait(newBudget(now, { remaining: 5, nextFreeAt: now + 4000, pending }), now), 8000)
})

test("a waiting request of low priority does not delay others", () => {
  const now = Date.UTC(2026, 10, 23)
  const budget = newBudget(now, { remaining: 1, nextFreeAt: now + 5000 })
  assert.notEqual(acquireTurn(budget, "low", true, now).wait, undefined)
  assert.equal(measureWait(budget, now), 0)
})

test("a report of a time beyond two windows is ignored", () => {
  const now = Date.UTC(2026, 10, 23)
  const budget = newBudget(now, { pending: [now] })
  const headers = { "RateLimit-Policy": '"default";q=10;w=10', RateLimit: '"default";r=0;t=21' }
  applyResponse(budget, now, new Response(null, { headers }), now)
  assert.equal(measureWait(budget, now), 0)
})

test("a request that is aborted at once leaves no trace in the budget", async (context) => {
  const browser = installBrowser(context)
  const queue = createRequestQueue(openSharedState(KEY))
  const controller = new AbortController()
  const turn = queue.enter(false, controller.signal)
  controller.abort()
  await assert.rejects(turn, { name: "AbortError" })
  await advance(100)
  assert.deepEqual(JSON.parse(browser.items.get(KEY) ?? "").pending, [])
})

test("malformed headers and stored budgets are ignored", async () => {
  const values = fc.oneof(fc.integer(), fc.double(), fc.string(), fc.constant(null), fc.array(fc.anything()))
  const now = Date.UTC(2026, 10, 23)
  const stored = fc.oneof(
    fc.jsonValue(),
    fc.record({
      ...{ limit: values, window: values, remaining: values, updatedAt: values, nextFreeAt: values },
      pending: fc.array(values),
      queue: fc.array(fc.oneof(values, fc.tuple(fc.string(), values))),
    }),
  )
  const text = fc.stringMatching(/^[ -~]{0,40}$/)
  const header = fc.oneof(text, fc.stringMatching(/^"default";[qr]=-?[0-9a]{0,20};[wt]=-?[0-9.]{0,20}$/))
  fc.assert(
    fc.property(stored, header, header, header, (value, policy, limit, retryAfter) => {
      const budget = parseBudget(JSON.parse(JSON.stringify(value) ?? "null"), now)
      const headers = { "RateLimit-Policy": policy, RateLimit: limit, "Retry-After": retryAfter }
      applyResponse(budget, now, new Response(null, { status: 429, headers }), now)
      const next = parseBudget(JSON.parse(JSON.stringify(budget)), now + 1)
      const { wait, sentAt } = acquireTurn(next, "tab", false, now + 1)
      assert.ok(sentAt === now + 1 || (wait !== undefined && wait >= 1 && wait <= 250))
    }),
  )
})

test("requests one after another are never rejected", () => {
  const gaps = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 15_000 })), { maxLength: 60 })
  const limits = fc.integer({ min: 1, max: 30 })
  const windows = fc.integer({ min: 1000, max: 20_000 })
  fc.assert(
    fc.property(gaps, limits, windows, fc.integer({ min: 0, max: 20_000 }), (gaps, limit, window, phase) => {
      const limiter = new SimulatedLimiter(limit, window)
      let now = Date.UTC(2026, 10, 23) + phase
      let budget = parseBudget(undefined, now)
      for (const gap of gaps) {
        now += gap
        for (let turn = acquireTurn(budget, "tab", false, now); turn.wait !== undefined; ) {
          now += turn.wait
          turn = acquireTurn(budget, "tab", false, now)
        }
        const { isAllowed, headers } = limiter.consume(now)
        assert.ok(isAllowed)
        applyResponse(budget, now, new Response(null, { headers }), now)
        budget = parseBudget(JSON.parse(JSON.stringify(budget)), now)
      }
    }),
  )
})

test("too many requests, and those that wait too long, are rejected", async (context) => {
  installBrowser(context)
  const fetch = () => new Promise<Response>(() => {})
  const requests = sendFromTabs(fetch as typeof globalThis.fetch, 1, 1011)
  const last = requests.pop()
  assert.ok(last)
  const reasons = Promise.allSettled(requests.slice(10))
  await assert.rejects(last, { code: "rate_limited" })
  void Promise.allSettled(requests)
  await advance(1000)
  mock.timers.tick(300_000)
  assert.ok(
    (await finish(reasons)).some((result) => result.status === "rejected" && result.reason.code === "rate_limited"),
  )
})
