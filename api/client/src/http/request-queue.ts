// The requests of this tab that wait for their turn. The tab takes one turn after another from the budget of all tabs.

import { generateId } from "../generate-id.js"
import { ParleyError } from "./errors.js"
import { acquireTurn, applyResponse, type Budget, parseBudget } from "./rate-budget.js"
import type { SharedState } from "./shared-state.js"

/** The requests of this tab that wait. */
export interface RequestQueue {
  /**
   * Wait until a request may be sent; return the time, for `finish()`. Requests of low priority come after others, but
   * not for longer than 10 seconds.
   *
   * @throws ParleyError `rate_limited` after 5 minutes, or if 1,000 requests wait; the reason of an aborted `signal`.
   */
  enter(isLowPriority: boolean, signal: AbortSignal): Promise<number>
  /** Report the response, or null if there is none. Returns when to send a request again that the limit rejected. */
  finish(sentAt: number, response: Response | null): Promise<number | null>
}

const MAX_WAIT = 300_000
const MAX_WAITING = 1_000
const MAX_LOW_PRIORITY = 10_000

interface Waiting {
  isLowPriority: boolean
  since: number
  proceed: (sentAt: number) => void
}

const isUrgent = ({ isLowPriority, since }: Waiting) => !isLowPriority || Date.now() - since >= MAX_LOW_PRIORITY

/** Create the queue of this tab. */
export function createRequestQueue(state: SharedState): RequestQueue {
  const tab = generateId()
  const waiting = new Set<Waiting>()
  let isRunning = false
  let wake = () => {}

  const update = <Result>(change: (budget: Budget, now: number) => Result) =>
    state.update((value) => {
      const now = Date.now()
      const budget = parseBudget(value, now)
      const result = change(budget, now)
      return { value: budget, result }
    })

  const check = () => {
    wake()
    if (!isRunning) void run()
  }

  async function run(): Promise<void> {
    isRunning = true
    while (waiting.size) {
      const turn = await update((budget, now) => acquireTurn(budget, tab, ![...waiting].some(isUrgent), now))
      if (turn.wait === undefined) {
        const all = [...waiting]
        const next = all.find(isUrgent) ?? all[0]
        if (next) next.proceed(turn.sentAt)
        else await update((budget, now) => applyResponse(budget, turn.sentAt, null, now))
      } else await pause(turn.wait)
    }
    isRunning = false
  }

  const pause = (milliseconds: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  return {
    enter: (isLowPriority, signal) =>
      new Promise((resolve, reject) => {
        const leave = () => {
          waiting.delete(request)
          clearTimeout(timer)
          signal.removeEventListener("abort", abort)
        }
        const fail = (reason: unknown) => {
          leave()
          reject(reason)
        }
        const abort = () => fail(signal.reason)
        const expire = () => fail(new ParleyError("Too many requests are waiting.", "rate_limited", 429))
        const timer = setTimeout(expire, MAX_WAIT)
        const proceed = (sentAt: number) => {
          leave()
          resolve(sentAt)
        }
        const request = { isLowPriority, since: Date.now(), proceed }
        if (signal.aborted) return abort()
        if (waiting.size >= MAX_WAITING) return expire()
        signal.addEventListener("abort", abort)
        waiting.add(request)
        check()
      }),
    async finish(sentAt, response) {
      const retryAt = await update((budget, now) => applyResponse(budget, sentAt, response, now))
      check()
      return retryAt
    },
  }
}
