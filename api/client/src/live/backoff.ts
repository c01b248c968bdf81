// The delays between repeated attempts.

const FIRST_MS = 1000
const LAST_MS = 60_000

/**
 * Return the milliseconds to wait after a number of failures in a row: 1 to 2 s, doubled by each, at most 60 s. Half of
 * the delay is random, so that clients that failed together do not return together.
 */
export function computeBackoff(failures: number): number {
  return Math.min(LAST_MS, 2 * FIRST_MS * 2 ** failures) * (0.5 + Math.random() / 2)
}
