// A value that all tabs of a browser share: in localStorage, changed under a Web Lock.

/** A value of JSON that several tabs change. */
export interface SharedState {
  /**
   * Replace the value, undefined at first, by `value` of what `change` returns, and return its `result`. `change` has no
   * side effects. It is synchronous, so that no tab waits for the timers or requests of another one.
   */
  update<Result>(change: (value: unknown) => { value: unknown; result: Result }): Promise<Result>
}

/** A tab that holds the lock for longer, in milliseconds, was suspended by the browser. */
const LOCK_TIMEOUT = 1000

/**
 * Open the value of this name. Without Web Locks, which pages on plain HTTP lack, tabs may rarely overwrite each other's
 * changes. Where localStorage is forbidden or full, this tab has a value of its own.
 */
export function openSharedState(name: string): SharedState {
  let own: unknown
  const read = (): unknown => {
    try {
      return own ?? JSON.parse(localStorage.getItem(name) ?? "") ?? undefined
    } catch {
      return undefined
    }
  }
  const write = (value: unknown): void => {
    try {
      localStorage.setItem(name, JSON.stringify(value))
      own = undefined
    } catch {
      own = value
    }
  }
  return {
    async update(change) {
      const run = () => {
        const { value, result } = change(read())
        write(value)
        return result
      }
      const locks = globalThis.navigator?.locks as LockManager | undefined
      if (!locks) return run()
      const controller = new AbortController()
      const timer = setTimeout(() => controller.abort(), LOCK_TIMEOUT)
      // A sandboxed page has Web Locks, but may not use them.
      const granted = locks.request(name, { signal: controller.signal }, async () => run())
      return granted.catch(run).finally(() => clearTimeout(timer))
    },
  }
}
