// The one error that the client throws.

import type { components } from "../schema.js"

type Problem = components["schemas"]["Problem"]

/** The API's error codes; `network_error` if there was no response. */
export type ErrorCode = Problem["code"] | "network_error"

/** A rejected or failed request. */
export class ParleyError extends Error {
  override readonly name = "ParleyError"

  constructor(
    message: string,
    readonly code: ErrorCode,
    /** The HTTP status; 0 if there was no response. */
    readonly status: number,
    /** The invalid fields of a `validation_error`, with the reason for each. */
    readonly fields: Readonly<Record<string, string>> = {},
    /** `X-Request-Id`, for reports. */
    readonly requestId: string | null = null,
  ) {
    super(message)
  }
}
