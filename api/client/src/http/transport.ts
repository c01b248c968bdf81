// The transport of all requests: credentials, the pace of the rate limit, retries and timeouts.

import { generateId } from "../generate-id.js"
import { ParleyError } from "./errors.js"
import { parseRetryAfter } from "./rate-budget.js"
import { createRequestQueue, type RequestQueue } from "./request-queue.js"
import { openSharedState } from "./shared-state.js"

/** Options of the transport. */
export interface TransportOptions {
  /** The API's base URL. */
  url: string
  /** Returns a session token; called for each attempt. Without it, requests carry the session cookie. */
  getToken?: (() => string | null | Promise<string | null>) | undefined
  /** By default `globalThis.fetch`. */
  fetch?: typeof fetch | undefined
  /** Called when the API rejects the session, also after a second call of `getToken`. */
  onSignedOut?: (() => void) | undefined
}

/**
 * Sends a request. Resolves with the final response, also an error, whose body has been received.
 *
 * A POST gets an `Idempotency-Key` unless it has one. Rejected and lost requests are sent again, but after a lost
 * connection none with `If-Match`, since a 412 would not mean that somebody else changed the resource.
 *
 * @throws ParleyError `network_error` if there is no response or no token, with the reason as its `cause`; `rate_limited`
 *   if the request waits too long for its turn; the reason of `request.signal` if it is aborted.
 */
export type Transport = (request: Request) => Promise<Response>

const TIMEOUT = 30_000
const UPLOAD_TIMEOUT = 180_000
const MAX_ATTEMPTS = 5
/** For how long a request is sent again that the rate limit rejects. */
const MAX_REJECTION = 300_000
/** The longest wait for `Retry-After` and for the network, in milliseconds. */
const MAX_WAIT = 60_000
const REPEATABLE = [502, 503, 504]

/** Create the transport. */
export function createTransport(
  { url, getToken, fetch = globalThis.fetch, onSignedOut }: TransportOptions,
  queue: RequestQueue = createRequestQueue(openSharedState(`parley:budget:${url}`)),
): Transport {
  const attempt = async (request: Request): Promise<Response> => {
    const token = await getToken?.()
    const timeout = request.headers.get("Content-Type")?.startsWith("multipart/") ? UPLOAD_TIMEOUT : TIMEOUT
    return withTimeout(request.signal, timeout, async (signal) => {
      const copy = new Request(request.clone(), { credentials: getToken ? "omit" : "include", signal })
      if (token) copy.headers.set("Authorization", `Bearer ${token}`)
      const response = await fetch(copy)
      await response.clone().arrayBuffer()
      return response
    })
  }
  return async (request) => {
    addIdempotencyKey(request)
    const { signal } = request
    const isLowPriority = (request as { priority?: string }).priority === "low"
    const giveUpAt = Date.now() + MAX_REJECTION
    let cause: unknown
    let turn: number | null = null // held until the response, and until a rejected request is sent again
    try {
      for (let attempts = 1, isRefreshed = false; ; ) {
        await waitUntilOnline(signal)
        turn ??= await queue.enter(isLowPriority, signal)
        const response = await attempt(request).catch((error: unknown) => {
          cause = error
          return null
        })
        turn = await queue.finish(turn, response)
        signal.throwIfAborted()
        const pause = turn === null ? 0 : turn - Date.now()
        if (response?.status === 401 && getToken && !isRefreshed) {
          isRefreshed = true
        } else if (turn !== null && turn <= giveUpAt && pause <= MAX_WAIT) {
          await sleep(pause, signal)
        } else if (canRepeat(request, response) && ++attempts <= MAX_ATTEMPTS) {
          const backoff = Math.random() * 1000 * 2 ** (attempts - 2)
          await sleep(Math.max(backoff, response ? 1000 * parseRetryAfter(response, 0) : 0), signal)
        } else {
          if (!response) {
            throw Object.assign(new ParleyError("There is no response from the API.", "network_error", 0), { cause })
          }
          if (response.status === 401) onSignedOut?.()
          return response
        }
      }
    } finally {
      if (turn !== null) await queue.finish(turn, null)
    }
  }
}

/** Pusher's authorizations change nothing, and without the header their requests need no CORS preflight. */
function addIdempotencyKey({ method, url, headers }: Request): void {
  const isChange = method === "POST" && !new URL(url).pathname.includes("/api/pusher/")
  if (isChange && !headers.has("Idempotency-Key")) headers.set("Idempotency-Key", generateId())
}

/** A 409 with `Retry-After` means that the first request with the key is in progress. */
function canRepeat({ headers }: Request, response: Response | null): boolean {
  if (response && 1000 * parseRetryAfter(response, 0) > MAX_WAIT) return false
  if (response?.status === 409) return response.headers.has("Retry-After")
  if (response?.status === 503) return true
  return (!response || REPEATABLE.includes(response.status)) && !headers.has("If-Match")
}

async function withTimeout<Result>(
  signal: AbortSignal,
  milliseconds: number,
  run: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController()
  const abort = () => controller.abort(signal.reason)
  const timer = setTimeout(() => controller.abort(), milliseconds)
  signal.addEventListener("abort", abort)
  try {
    return await run(controller.signal)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener("abort", abort)
  }
}

function sleep(milliseconds: number, signal: AbortSignal, target?: EventTarget): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = () => {
      clearTimeout(timer)
      signal.removeEventListener("abort", finish)
      target?.removeEventListener("online", finish)
      if (signal.aborted) reject(signal.reason)
      else resolve()
    }
    const timer = setTimeout(finish, Math.max(milliseconds, 0))
    signal.addEventListener("abort", finish)
    target?.addEventListener("online", finish)
    if (signal.aborted) finish()
  })
}

async function waitUntilOnline(signal: AbortSignal): Promise<void> {
  if (globalThis.navigator?.onLine === false) await sleep(MAX_WAIT, signal, globalThis as unknown as EventTarget)
}
