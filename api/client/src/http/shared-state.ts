// A value that all tabs of a browser share: in localStorage, changed under a Web Lock.

/** A value of JSON that several tabs change. */
export interface SharedState {
  /**
   * Replace the value, undefined at first, by `value` of what `change` returns, and return its `result`. `change` has no
   * side effects. It is synchronous, so that no tab waits for the timers or requests of another one.
   */
  update<Result>(change: (value: unknown) => { value: unknown; result: Result }): Promise<Result>
}

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
      // A sandboxed page has Web Locks, but may not use them.
      return locks ? locks.request(name, async () => run()).catch(run) : run()
    },
  }
}
