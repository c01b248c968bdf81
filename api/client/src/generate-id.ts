// Random identifiers: idempotency keys, nonces.

/** Return 128 random bits in hex. Unlike `crypto.randomUUID()`, this also works on plain HTTP. */
export function generateId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")
}
