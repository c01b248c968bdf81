// User IDs in Pusher's alphabet, as the database encodes them.

import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { test } from "node:test"
import { encodeUserId, getUserChannel } from "../src/live/channel-names.js"

test("a user ID is encoded in base64url without padding", async () => {
  assert.equal(await getUserChannel("alice"), "private-user-YWxpY2U")
  for (const id of ["~~~???x", "ü€😀", "a".repeat(113)]) {
    assert.equal(await encodeUserId(id), Buffer.from(id).toString("base64url"))
  }
})

test("a user ID of more than 113 bytes is replaced by its hash", async () => {
  const id = `${"a".repeat(112)}ü`
  assert.equal(await encodeUserId(id), `sha256-${createHash("sha256").update(id).digest("base64url")}`)
})
