// Async iterators over pages, by the `Link` header.

type Relation = "next" | "prev" | "first"

/** The parameters of the next page in the list's order; empty for the first page. */
export interface PageCursor {
  before?: string
  after?: string
  page?: number
}

/** Parse the `Link` header of a page. Lists with the newest item first have older items at `next`, newer at `prev`. */
export function parseLinks(response: Response): Partial<Record<Relation, URL>> {
  const links: Partial<Record<Relation, URL>> = {}
  const header = response.headers.get("Link") ?? ""
  for (const [, url = "", relation] of header.matchAll(/<([^>]*)>;\s*rel="(next|prev|first)"/g)) {
    if (URL.canParse(url)) links[relation as Relation] = new URL(url)
  }
  return links
}

/**
 * Fetch one page after another, each when it is requested, until the last one.
 *
 * @throws what `fetchPage` throws; the iterator ends.
 */
export async function* fetchPages<Page>(
  fetchPage: (cursor: PageCursor) => Promise<{ data: Page; response: Response }>,
): AsyncIterableIterator<Page> {
  let cursor: PageCursor | null = {}
  while (cursor) {
    const { data, response } = await fetchPage(cursor)
    cursor = getCursor(parseLinks(response).next)
    yield data
  }
}

function getCursor(next: URL | undefined): PageCursor | null {
  const [before, after, page] = ["before", "after", "page"].map((name) => next?.searchParams.get(name))
  if (before) return { before }
  if (after) return { after }
  return page ? { page: Number(page) } : null
}
