// The names of Pusher's channels, and the user IDs in Pusher's alphabet.

const MAX_USER_ID_BYTES = 113 // longer IDs would exceed the 164 characters of Pusher's channel names

/**
 * Return a user's ID as it appears at Pusher: in base64url or, if it is too long, the base64url of its SHA-256, which
 * browsers compute in secure contexts only.
 */
export async function encodeUserId(userId: string): Promise<string> {
  const bytes = new TextEncoder().encode(userId)
  if (bytes.length <= MAX_USER_ID_BYTES) return toBase64url(bytes)
  return `sha256-${toBase64url(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)))}`
}

/** Return the name of a user's own channel. */
export async function getUserChannel(userId: string): Promise<string> {
  return `private-user-${await encodeUserId(userId)}`
}

/** Return the name of the channel whose subscribers are the members who have the chat on screen. */
export function getPresenceChannel(chatId: string): string {
  return `presence-chat-${chatId}`
}

function toBase64url(bytes: Uint8Array): string {
  const base64 = btoa(String.fromCharCode(...bytes))
  return base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
}
