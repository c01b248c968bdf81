// The API's rate limit as its last responses reported it: when the next request may be sent. Times are in milliseconds
// since the epoch, by the clock of this machine.
//
// The limit is a sliding window. The requests that remain may be sent at once, less those in flight, which no response
// has reported yet. Used requests become available again one after another from `nextFreeAt` on, over the length of a
// window. The server may free them later, but not earlier: the next response corrects the budget.

/** The budget of all tabs, stored as JSON. */
export interface Budget {
  /** The policy allows `limit` requests in `window` milliseconds. */
  limit: number
  window: number
  /** The requests that remained at `updatedAt`. */
  remaining: number
  updatedAt: number
  /** When the first of the used requests becomes available again. */
  nextFreeAt: number
  /** When each request in flight was sent, and when each rejected one will be sent again. */
  pending: number[]
  /** The tabs that wait for a turn, in order, each with the time of its next check. */
  queue: [tab: string, checkAt: number][]
}

/** A request may be sent: `sentAt` is now. Or the tab should check again after `wait` milliseconds. */
export type Turn = { sentAt: number; wait?: never } | { sentAt?: never; wait: number }

/** The API's default, until the first response reports the policy. */
const DEFAULT = { limit: 10, window: 10_000, remaining: 10, updatedAt: 0, nextFreeAt: 0 }
/** After this time, the server has counted a request, or its tab was closed. */
const MAX_FLIGHT = 10_000
/** A tab that misses its check by more was closed, or the browser throttles its timers. */
const MAX_DELAY = 2_000
/** Between checks, since a response to another tab may end the wait. */
const POLL = 250
/** The requests that low priority leaves to others, unless the limit is small. */
const RESERVED = 2

/** Read a stored budget. A malformed one is replaced, and so is one from the future, since the clock was set back. */
export function parseBudget(value: unknown, now: number): Budget {
  const stored = value as Budget | undefined
  const isCurrent =
    Array.isArray(stored?.pending) &&
    Array.isArray(stored.queue) &&
    isPolicy(stored) &&
    isNumber(stored.updatedAt, stored.nextFreeAt) &&
    stored.remaining >= 0 &&
    stored.updatedAt <= now &&
    stored.nextFreeAt <= stored.updatedAt + 3 * stored.window
  const { pending, queue, ...rest }: Budget = isCurrent ? stored : { ...DEFAULT, pending: [], queue: [] }
  const latest = now + 3 * rest.window
  return {
    ...rest,
    pending: pending.filter((time) => isNumber(time) && time > now - MAX_FLIGHT && time <= latest),
    queue: queue.filter((ticket) => isNumber(ticket?.[1]) && ticket[1] > now - MAX_DELAY && ticket[1] <= latest),
  }
}

/** Take the next turn of the budget for a request of this tab, or queue up for it. */
export function acquireTurn(budget: Budget, tab: string, isLowPriority: boolean, now: number): Turn {
  const { limit, remaining, nextFreeAt, pending, queue } = budget
  const position = queue.findIndex(([id]) => id === tab)
  const ahead = position < 0 ? queue.length : position
  const reserved = isLowPriority ? Math.min(RESERVED, limit >> 2) : 0
  const interval = getInterval(budget)
  const inFlight = pending.filter((time) => time <= now).length
  const shortfall = ahead + inFlight + reserved + 1 - remaining
  const freedAt = shortfall > 0 ? nextFreeAt + (shortfall - 1) * interval : now
  // So many are in flight that only their responses can allow another one.
  const dueAt = shortfall > limit - remaining ? Math.max(freedAt, now + POLL) : freedAt
  if (dueAt <= now) {
    if (position >= 0) queue.splice(position, 1)
    pending.push(now)
    return { sentAt: now }
  }
  const wait = Math.ceil(Math.min(dueAt - now, POLL))
  // A request of low priority has no place in the queue, so it delays no other one.
  if (position >= 0) queue[position] = [tab, now + wait]
  else if (!isLowPriority) queue.push([tab, now + wait])
  return { wait }
}

/**
 * Apply the response to the request that was sent at `sentAt`, or null if there was none. If the rate limit rejected the
 * request, return when to send it again: that time is reserved for it.
 */
export function applyResponse(budget: Budget, sentAt: number, response: Response | null, now: number): number | null {
  const index = budget.pending.indexOf(sentAt)
  if (index >= 0) budget.pending.splice(index, 1)
  const retryAt = response?.status === 429 ? now + 1000 * parseRetryAfter(response, 1) : null
  const report = response && parseReport(response.headers)
  if (report) {
    const { reset, ...limits } = report
    // Of responses to requests that were in flight at the same time, the last one reports the fewest requests.
    const isLater = sentAt > budget.updatedAt || limits.remaining < countAvailable(budget, now)
    if (isLater) Object.assign(budget, limits, { updatedAt: now, nextFreeAt: now + reset })
  }
  if (retryAt !== null) {
    const nextFreeAt = Math.min(Math.max(budget.nextFreeAt, retryAt), now + 3 * budget.window)
    Object.assign(budget, { remaining: 0, updatedAt: now, nextFreeAt })
    budget.pending.push(retryAt)
  }
  return retryAt
}

/** Return the seconds of `Retry-After`, which the API never sends as a date. */
export function parseRetryAfter({ headers }: Response, missing: number): number {
  const value = headers.get("Retry-After") ?? ""
  return /^\d{1,6}$/.test(value) ? Number(value) : missing
}

/** Between two requests that become available again. */
function getInterval({ limit, window, remaining }: Budget): number {
  return window / Math.max(limit - remaining, 1)
}

function countAvailable(budget: Budget, now: number): number {
  const { limit, remaining, nextFreeAt } = budget
  return now < nextFreeAt
    ? remaining
    : Math.min(limit, remaining + 1 + Math.floor((now - nextFreeAt) / getInterval(budget)))
}

function isPolicy({ limit, window, remaining }: Pick<Budget, "limit" | "window" | "remaining">): boolean {
  return isNumber(limit, window, remaining) && limit >= 1 && window >= 1000 && remaining <= limit
}

function isNumber(...values: unknown[]): boolean {
  return values.every(Number.isFinite)
}

/** Parse `RateLimit-Policy` and `RateLimit`; null if they are missing or malformed. */
function parseReport(headers: Headers): (Pick<Budget, "limit" | "window" | "remaining"> & { reset: number }) | null {
  const read = (name: string, parameter: string) =>
    Number(new RegExp(`;\\s*${parameter}=(\\d{1,9})\\b`).exec(headers.get(name) ?? "")?.[1])
  const report = {
    limit: read("RateLimit-Policy", "q"),
    window: 1000 * read("RateLimit-Policy", "w"),
    remaining: read("RateLimit", "r"),
    reset: 1000 * read("RateLimit", "t"),
  }
  return isPolicy(report) && report.reset <= 2 * report.window ? report : null
}
