// The transport of all requests: credentials, the pace of the rate limit, retries and timeouts.

/** Options of the transport. */
export interface TransportOptions {
  /** The API's base URL. */
  url: string
  /** Returns a session token. Without it, requests carry the session cookie. */
  getToken?: (() => string | null | Promise<string | null>) | undefined
  /** By default `globalThis.fetch`. */
  fetch?: typeof fetch | undefined
  /** Called when the API rejects the session. */
  onSignedOut?: (() => void) | undefined
}

/**
 * Sends a request. Resolves with the final response, also an error, whose body has been received.
 *
 * @throws ParleyError `network_error` if there is no response, `rate_limited` if the request waits too long for its
 *   turn; the reason of `request.signal` if it is aborted.
 */
export type Transport = (request: Request) => Promise<Response>

/** Create the transport. */
export function createTransport({ fetch = globalThis.fetch }: TransportOptions): Transport {
  return (request) => fetch(request)
}
