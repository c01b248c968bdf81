// Editing and deleting messages.

import { unwrap } from "../http/api.js"
import { ParleyError } from "../http/errors.js"
import type { MessageType } from "../types.js"
import type { Session } from "./session.js"
import type { Store } from "./store.js"

export interface MessageChanges {
  content?: string
  type?: MessageType
}

/**
 * Change the version of a message that is on screen.
 *
 * @throws ParleyError `precondition_failed` if the message was changed meanwhile: the timeline then has the current version.
 */
export async function editMessage(
  store: Store,
  session: Session,
  messageId: string,
  changes: MessageChanges,
): Promise<void> {
  const { timeline } = session
  const shown = timeline.find(messageId)
  const current = shown?.etag ? shown : await timeline.refreshMessage(messageId)
  if (!current) throw new ParleyError("The message was deleted.", "not_found", 404)
  const isCurrent = !shown || (shown.content === current.content && shown.type === current.type)
  if (!isCurrent) throw new ParleyError("The message was changed.", "precondition_failed", 412)
  const path = { chatId: session.id, messageId }
  const params = { path, header: { "If-Match": current.etag ?? "*" } }
  try {
    const call = store.api.PUT("/api/chats/{chatId}/messages/{messageId}", { params, body: changes })
    const { data, response } = await unwrap(call)
    timeline.replaceMessage({ ...current, ...data, etag: response.headers.get("ETag") ?? undefined })
  } catch (error) {
    if (!(error instanceof ParleyError && ["precondition_failed", "network_error"].includes(error.code))) throw error
    // After a lost response, the message shows whether the request was executed.
    const refreshed = await timeline.refreshMessage(messageId)
    const isDone = refreshed && Object.entries(changes).every(([field, value]) => refreshed[field as "type"] === value)
    if (error.code === "precondition_failed" || !isDone) throw error
  }
}

/** Delete a message; it may have been deleted already. */
export async function deleteMessage(store: Store, session: Session, messageId: string): Promise<void> {
  const params = { path: { chatId: session.id, messageId } }
  try {
    await unwrap(store.api.DELETE("/api/chats/{chatId}/messages/{messageId}", { params }))
  } catch (error) {
    if (!(error instanceof ParleyError && error.status === 404)) throw error
  }
  session.timeline.deleteMessage(messageId)
}
