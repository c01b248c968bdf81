import assert from "node:assert/strict"
import { test } from "node:test"
import { fetchPages, type PageCursor, parseLinks } from "../src/pages.js"

const LIST = "https://chat.example.org/api/chats/1/messages"

function respond(link?: string): Response {
  return new Response(null, link === undefined ? {} : { headers: { Link: link } })
}

/** Iterate over pages with these Link headers; return the cursors and the pages. */
async function iterate(links: (string | undefined)[], limit = Number.POSITIVE_INFINITY) {
  const cursors: PageCursor[] = []
  const pages: number[] = []
  const fetchPage = async (cursor: PageCursor) => {
    cursors.push(cursor)
    return { data: cursors.length, response: respond(links[cursors.length - 1]) }
  }
  for await (const page of fetchPages(fetchPage)) {
    pages.push(page)
    if (pages.length === limit) break
  }
  return { cursors, pages }
}

test("links are parsed by their relation", () => {
  const header = `<${LIST}?type=text&before=a%26b>; rel="next", <${LIST}?after=c>; rel="prev", <${LIST}>; rel="first"`
  const links = parseLinks(respond(header))
  assert.deepEqual(
    [links.next?.searchParams.get("before"), links.prev?.searchParams.get("after"), links.first?.href],
    ["a&b", "c", LIST],
  )
  for (const malformed of [undefined, "", "no link", '<>; rel="next"', `<${LIST}>; rel="last"`]) {
    assert.deepEqual(parseLinks(respond(malformed)), {})
  }
})

test("pages are fetched until one has no next page", async () => {
  const next = (query: string) => `<${LIST}?${query}>; rel="next", <${LIST}>; rel="first"`
  const { cursors, pages } = await iterate([next("before=a"), next("after=b"), next("page=4"), undefined])
  assert.deepEqual(cursors, [{}, { before: "a" }, { after: "b" }, { page: 4 }])
  assert.deepEqual(pages, [1, 2, 3, 4])
  assert.deepEqual((await iterate([`<${LIST}>; rel="next"`])).cursors, [{}])
})

test("no page is fetched that is not requested", async () => {
  const links = [`<${LIST}?before=a>; rel="next"`, `<${LIST}?before=b>; rel="next"`]
  assert.deepEqual((await iterate(links, 1)).cursors, [{}])
})

test("an error ends the iteration", async () => {
  const pages = fetchPages(() => Promise.reject(new Error("lost")))
  await assert.rejects(pages.next(), /lost/)
  assert.deepEqual(await pages.next(), { done: true, value: undefined })
})
