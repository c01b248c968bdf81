// The delays between repeated attempts.

const FIRST_MS = 1000
const LAST_MS = 60_000

/**
 * Return the milliseconds to wait after a number of failures in a row: 1 s, doubled by each, at most 60 s. The second
 * half of the delay is random, so that clients that failed together do not return together.
 */
export function backoff(failures: number): number {
  return Math.max(FIRST_MS, Math.min(LAST_MS, FIRST_MS * 2 ** (failures + 1)) * (0.5 + Math.random() / 2))
}
