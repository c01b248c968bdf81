// The typed API: openapi-fetch over the transport.

import createClient, { type Client, defaultPathSerializer } from "openapi-fetch"
import type { paths } from "../schema.js"
import { type ErrorCode, ParleyError } from "./errors.js"
import type { Transport } from "./transport.js"

/**
 * Typed requests to Parley. Each resolves with `data` or `error`, and the `response`; `unwrap()` throws the error.
 * `priority: "low"` leaves the last of the rate limit to other requests.
 */
export type Api = Client<paths>

/** Create the API at a base URL, such as `https://chat.example.org`. */
export function createApi(url: string, transport: Transport): Api {
  const querySerializer = { array: { style: "form", explode: false } } as const // include=users,etag
  return createClient<paths>({ baseUrl: url, fetch: transport, querySerializer, pathSerializer })
}

/**
 * URLs cannot have the segments `.` and `..`, even encoded: to remove the member `..` would delete the chat.
 *
 * @throws ParleyError `validation_error`.
 */
function pathSerializer(path: string, params: Record<string, unknown>): string {
  const [name] = Object.entries(params).find(([, value]) => value === "." || value === "..") ?? []
  if (!name) return defaultPathSerializer(path, params)
  const problem = "must not be . or .."
  throw new ParleyError(`${name} ${problem}`, "validation_error", 0, { [name]: problem })
}

/**
 * Return the data and the response of a request to the API.
 *
 * @throws ParleyError if the API rejects the request, or there is no response.
 */
export async function unwrap<T>(
  call: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<{ data: T; response: Response }> {
  const { data, error, response } = await call
  if (!response.ok) throw createError(error, response)
  return { data: data as T, response }
}

interface ErrorBody {
  error?: { message?: string; code?: ErrorCode; details?: { fields?: Record<string, string> } }
}

/** A proxy's error has no body of Parley's, so its status stands for the code. */
function createError(body: unknown, { status, headers }: Response): ParleyError {
  const { message, code, details } = (body as ErrorBody | undefined)?.error ?? {}
  return new ParleyError(
    message ?? `HTTP ${status}`,
    code ?? (status < 500 ? "internal_error" : "unavailable"),
    status,
    details?.fields,
    headers.get("X-Request-Id"),
  )
}
