import assert from "node:assert/strict"
import { test } from "node:test"
import { createTransport } from "../src/http/transport.js"
import { finish, installBrowser } from "./simulated-browser.js"
import { SimulatedLimiter } from "./simulated-limiter.js"

const URL = "https://chat.example.org"

/** The API behind a network. */
function simulateApi(limiter: SimulatedLimiter, latency = 40) {
  const served: string[] = []
  const wait = () => new Promise((resolve) => setTimeout(resolve, latency * (0.5 + Math.random())))
  const fetch = async (request: Request) => {
    await wait()
    const { isAllowed, headers } = limiter.consume(Date.now())
    if (isAllowed) served.push(request.url.slice(URL.length))
    await wait()
    return new Response(null, { status: isAllowed ? 200 : 429, headers })
  }
  return { served, fetch: fetch as typeof globalThis.fetch }
}

for (let tabs = 1; tabs <= 5; tabs++) {
  test(`${tabs} tabs share the limit`, async (context) => {
    const browser = installBrowser()
    const limiter = new SimulatedLimiter()
    const { served, fetch } = simulateApi(limiter)
    const perTab = 30
    const requests = Array.from({ length: tabs }, (_, tab) => {
      const send = createTransport({ url: URL, fetch })
      return Array.from({ length: perTab }, (_, n) => send(new Request(`${URL}/${tab}/${n}`)))
    })
    const start = Date.now()
    const responses = await finish(Promise.all(requests.flat()), 600_000, { step: 10 })
    assert.ok(responses.every(({ status }) => status === 200))
    assert.equal(served.length, perTab * tabs)
    const total = limiter.allowed + limiter.rejected
    context.diagnostic(`${total} requests, ${limiter.rejected} rejected, ${(Date.now() - start) / 1000} s`)
    for (let tab = 0; tab < tabs; tab++) {
      const order = served.filter((path) => path.startsWith(`/${tab}/`)).map((path) => Number(path.split("/")[2]))
      context.diagnostic(order.join(" "))
    }
    browser.remove()
  })
}
