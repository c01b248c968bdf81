// The API's rate limiter: the algorithm, the headers and the schedule of Retry-After of api/ratelimit.

interface Decision {
  isAllowed: boolean
  headers: Record<string, string>
}

/** Counts the requests of one client address. Times are in milliseconds. */
export class SimulatedLimiter {
  allowed = 0
  rejected = 0
  private readonly counts = new Map<number, number>()
  private scheduled: number[] = []

  constructor(
    readonly limit = 10,
    readonly window = 10_000,
  ) {}

  consume(now: number): Decision {
    const window = Math.floor(now / this.window)
    const elapsed = (now % this.window) / this.window
    const previous = this.count(window - 1)
    let current = this.count(window)
    const isAllowed = Math.floor((1 - elapsed) * previous) + current < this.limit
    if (isAllowed) this.counts.set(window, ++current)
    this.allowed += isAllowed ? 1 : 0
    this.rejected += isAllowed ? 0 : 1
    const end = (window + 1) * this.window
    const remaining = Math.max(0, this.limit - current - Math.floor((1 - elapsed) * previous))
    const wait = remaining ? Math.ceil((end - now) / 1000) : this.computeWait(now, end, current, previous)
    const headers: Record<string, string> = {
      "RateLimit-Policy": `"default";q=${this.limit};w=${Math.ceil(this.window / 1000)}`,
      RateLimit: `"default";r=${remaining};t=${wait}`,
    }
    if (!isAllowed) headers["Retry-After"] = String(this.schedule(now, wait))
    return { isAllowed, headers }
  }

  private count(window: number): number {
    return this.counts.get(window) ?? 0
  }

  private computeWait(now: number, end: number, current: number, previous: number): number {
    const allowedAt =
      current < this.limit
        ? end - (this.window * (this.limit - current)) / Math.max(previous, 1)
        : end + this.window * (1 - this.limit / current)
    return Math.max(0, Math.floor((allowedAt - now) / 1000)) + 1
  }

  private schedule(now: number, firstWait: number): number {
    const maxWait = firstWait + Math.ceil(this.window / 1000)
    this.scheduled = this.scheduled.filter((time) => time > now && time <= now + 1000 * maxWait)
    const last = this.scheduled.at(-1)
    let wait = last === undefined ? firstWait : Math.max(firstWait, Math.ceil((last - now) / 1000))
    if (wait < maxWait) {
      const slot = this.findSlot(now + 1000 * wait)
      wait = Math.min(Math.max(wait, Math.floor((slot - now) / 1000) + 1), maxWait)
    }
    if (wait < maxWait) this.scheduled.push(now + 1000 * wait)
    return wait
  }

  private findSlot(start: number): number {
    const countOf = (window: number) =>
      this.count(window) + this.scheduled.filter((time) => Math.floor(time / this.window) === window).length
    let window = Math.floor(start / this.window)
    while (countOf(window) >= this.limit) window++
    const weight = (this.limit - countOf(window)) / Math.max(countOf(window - 1), 1)
    return (window + Math.max(1 - weight, 0)) * this.window
  }
}
