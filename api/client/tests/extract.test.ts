import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { parseExtract } from "../src/extract.js"

/** As `parley.snippet()` encodes a text. */
function encode(text: string): string {
  const escaped = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
  return escaped.replaceAll('"', "&quot;").replaceAll("'", "&#39;")
}

test("matches are separated from the text around them", () => {
  assert.deepEqual(parseExtract("…say <mark>Hello</mark> &amp; <mark>hi</mark>"), [
    { text: "…say ", isMatch: false },
    { text: "Hello", isMatch: true },
    { text: " & ", isMatch: false },
    { text: "hi", isMatch: true },
  ])
  assert.deepEqual(parseExtract(""), [])
  assert.deepEqual(parseExtract("&amp;lt;mark&amp;gt;"), [{ text: "&lt;mark&gt;", isMatch: false }])
})

test("any text survives the encoding of the API", () => {
  const text = fc.oneof(
    fc.string({ minLength: 1 }),
    fc.constantFrom("<mark>", "</mark>", "&lt;", "&amp;#39;", "\n", "'\""),
  )
  fc.assert(
    fc.property(fc.array(fc.record({ text, isMatch: fc.boolean() })), (parts) => {
      // Adjacent parts of plain text are one part.
      const expected: typeof parts = []
      for (const part of parts) {
        const last = expected.at(-1)
        if (last && !last.isMatch && !part.isMatch) last.text += part.text
        else expected.push({ ...part })
      }
      const html = parts.map(({ text, isMatch }) => (isMatch ? `<mark>${encode(text)}</mark>` : encode(text)))
      assert.deepEqual(parseExtract(html.join("")), expected)
    }),
  )
})
