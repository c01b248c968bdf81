// Several tabs of one browser in this process: a localStorage and Web Locks for all of them, and mocked timers.

import { mock, type TestContext } from "node:test"
import { setImmediate } from "node:timers/promises"

/** A localStorage and Web Locks. */
export interface SimulatedBrowser {
  items: Map<string, string>
  /** What `setItem` and `getItem` throw, if anything. */
  storageError: Error | null
  isOnline: boolean
}

/** Install the globals of a browser and mock the timers, until the end of the test. */
export function installBrowser(
  context: TestContext,
  { hasLocks = true, isLockForbidden = false, isLockHeld = false } = {},
): SimulatedBrowser {
  const browser: SimulatedBrowser = { items: new Map(), storageError: null, isOnline: true }
  let tail: Promise<unknown> = Promise.resolve()
  const locks = {
    request: (_name: string, { signal }: { signal: AbortSignal }, callback: () => Promise<unknown>) => {
      if (isLockForbidden) return Promise.reject(new DOMException("forbidden", "SecurityError"))
      if (isLockHeld) return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
      const granted = tail.then(callback)
      tail = granted.catch(() => {})
      return granted
    },
  }
  const localStorage = {
    getItem: (name: string) => {
      if (browser.storageError) throw browser.storageError
      return browser.items.get(name) ?? null
    },
    setItem: (name: string, value: string) => {
      if (browser.storageError) throw browser.storageError
      browser.items.set(name, value)
    },
  }
  const navigator = {
    get onLine() {
      return browser.isOnline
    },
    locks: hasLocks ? locks : undefined,
  }
  const events = new EventTarget()
  const globals = {
    localStorage,
    navigator,
    addEventListener: events.addEventListener.bind(events),
    removeEventListener: events.removeEventListener.bind(events),
    dispatchEvent: events.dispatchEvent.bind(events),
  }
  const replaced = Object.keys(globals).map(
    (name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const,
  )
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
  }
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: Date.UTC(2026, 10, 23) })
  context.after(() => {
    mock.timers.reset()
    for (const [name, descriptor] of replaced) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor)
      else Reflect.deleteProperty(globalThis, name)
    }
  })
  return browser
}

/** Let promises settle. The streams of a response take several turns of the event loop. */
export async function settle(turns = 5): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await setImmediate()
}

/** Advance the clock in steps until a condition is true, for at most `limit` milliseconds. */
export async function advance(
  limit: number,
  { step = 50, until = (): boolean => false, turns = 5 } = {},
): Promise<void> {
  await settle(turns)
  for (let elapsed = 0; elapsed < limit && !until(); elapsed += step) {
    mock.timers.tick(step)
    await settle(turns)
  }
}

/** Wait for a promise while the clock advances. */
export async function finish<Value>(promise: Promise<Value>, limit = 600_000, options: { step?: number } = {}) {
  let isSettled = false
  const done = () => {
    isSettled = true
  }
  promise.then(done, done)
  await advance(limit, { ...options, until: () => isSettled })
  if (!isSettled) throw new Error(`not settled after ${limit} ms`)
  return promise
}
