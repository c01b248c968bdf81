// What the store's requests have in common.

/** Send a request to the primary: a replica may lag behind the events that were received. */
export const NO_CACHE = { "Cache-Control": "no-cache" }

/** The query parameter `include`, for the names and pictures of users. */
export const WITH_USERS: { include: ["users"] } = { include: ["users"] }

/** Return the last event of the chat that a response reflects. */
export function getSeq(response: Response): number {
  return Number(response.headers.get("X-Chat-Seq"))
}
