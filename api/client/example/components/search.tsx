// The search in all chats, or in one.

"use client"

import { type FoundMessage, ParleyError, parseExtract } from "@parley/client"
import { useChat, useParley, useUser } from "@parley/client/react"
import Form from "next/form"
import Link from "next/link"
import { useEffect, useRef, useState } from "react"
import { LoadMore } from "@/components/load-more"
import { Notice } from "@/components/notice"
import { Page } from "@/components/page"
import { formatDate, formatName } from "@/lib/format"

interface SearchProps {
  query: string
  /** The chat to search; all chats by default. */
  chatId: string | undefined
}

export function Search({ query, chatId }: SearchProps) {
  const chat = useChat(chatId ?? "")
  const [attempt, setAttempt] = useState(0)
  return (
    <Page title={query ? `Search: ${query}` : "Search"}>
      <search>
        <Form action="/search" className="inline">
          {chatId && <input type="hidden" name="chat" value={chatId} />}
          <div className="field">
            <label htmlFor="q">{chatId ? `Search in ${chat?.title ?? "this chat"}` : "Search all chats"}</label>
            <input id="q" key={query} type="search" name="q" defaultValue={query} required dir="auto" />
          </div>
          <button type="submit" className="primary">
            Search
          </button>
        </Form>
        {chatId && (
          <p className="buttons">
            <Link href={`/chats/${chatId}`} className="button">
              Back to the chat
            </Link>
            <Link href={`/search?${new URLSearchParams({ q: query })}`} className="button">
              Search all chats
            </Link>
          </p>
        )}
      </search>
      {query && (
        <Results
          key={`${chatId} ${query} ${attempt}`}
          query={query}
          chatId={chatId}
          retry={() => setAttempt(attempt + 1)}
        />
      )}
    </Page>
  )
}

function Results({ query, chatId, retry }: SearchProps & { retry: () => void }) {
  const { hits, total, error, hasMore, loadMore } = useHits(query, chatId)
  if (error) return <Notice retry={retry}>{error.fields.search ?? error.message}</Notice>
  return (
    <div className="scroll">
      <p role="status" className="status">
        {total === undefined ? "Searching…" : `${total} ${total === 1 ? "message" : "messages"} found`}
      </p>
      <ul className="hits">
        {hits.map((hit) => (
          <HitItem key={hit.id} hit={hit} query={query} />
        ))}
      </ul>
      {hasMore && <LoadMore load={loadMore} label="More hits" />}
    </div>
  )
}

/** The pages of hits that have been loaded so far. */
function useHits(query: string, chatId: string | undefined) {
  const parley = useParley()
  const pages = useRef<ReturnType<typeof parley.search>>(undefined)
  const [hits, setHits] = useState<FoundMessage[]>([])
  const [total, setTotal] = useState<number>()
  const [error, setError] = useState<ParleyError>()
  const [hasMore, setHasMore] = useState(false)

  const load = async (iterator: ReturnType<typeof parley.search>, signal?: AbortSignal) => {
    try {
      const { value, done } = await iterator.next()
      if (signal?.aborted) return
      setHasMore(!done)
      if (done) return
      setTotal(value.total)
      setHits((hits) => [...hits, ...value.messages])
    } catch (error) {
      if (signal?.aborted) return
      if (!(error instanceof ParleyError)) throw error
      setError(error)
    }
  }
  // biome-ignore lint/correctness/useExhaustiveDependencies: `load` only has setters.
  useEffect(() => {
    const controller = new AbortController()
    pages.current = parley.search({ search: query, ...(chatId && { chatId }) }, controller.signal)
    void load(pages.current, controller.signal)
    return () => controller.abort()
  }, [parley, query, chatId])
  const loadMore = async () => {
    if (pages.current) await load(pages.current)
  }
  return { hits, total, error, hasMore, loadMore }
}

function HitItem({ hit, query }: { hit: FoundMessage; query: string }) {
  const chat = useChat(hit.chatId)
  const author = useUser(hit.userId)
  const parts = hit.extract === undefined ? markWords(hit.content, query) : parseExtract(hit.extract)
  return (
    <li>
      <Link href={`/chats/${hit.chatId}?message=${hit.id}`} className="row">
        <span className="title" dir="auto">
          {chat?.title ?? "Chat"}
        </span>
        <time dateTime={hit.createdAt}>{formatDate(hit.createdAt)}</time>
        <span className="preview" dir="auto">
          {formatName(author)}:{" "}
          {parts.map(({ text, isMatch }, index) => {
            // biome-ignore lint/suspicious/noArrayIndexKey: the parts of a hit never change.
            return isMatch ? <mark key={index}>{text}</mark> : text
          })}
        </span>
      </Link>
    </li>
  )
}

/** Mark the words of a query. The search of one chat returns no extracts. */
function markWords(content: string, query: string): { text: string; isMatch: boolean }[] {
  const words = query.match(/[\p{L}\p{N}]+/gu)?.map((word) => word.slice(0, Math.max(3, word.length - 2))) ?? []
  if (!words.length) return [{ text: content, isMatch: false }]
  const parts = content.split(new RegExp(`((?<![\\p{L}\\p{N}])(?:${words.join("|")})[\\p{L}\\p{N}]*)`, "giu"))
  return parts.map((text, index) => ({ text, isMatch: index % 2 === 1 }))
}
