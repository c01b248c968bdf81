// Parts of all pages: the title and its bar, pictures of users, and lists that load as they are scrolled.

"use client"

import { useChats } from "@parley/client/react"
import Link from "next/link"
import { type ReactNode, useEffect, useRef, useState, useSyncExternalStore } from "react"

/** The title of the document, with the number of unread messages. */
export function DocumentTitle({ children }: { children: string }) {
  const unread = useChats().chats.reduce((sum, chat) => sum + chat.unreadCount, 0)
  return <title>{`${unread ? `(${unread}) ` : ""}${children} · Parley`}</title>
}

interface PageProps {
  title: string
  /** What is beside the title. */
  bar?: ReactNode
  children: ReactNode
}

const subscribe = () => () => {}

/** Whether the server has rendered this component: it came with the document, not by a client-side navigation. */
function useIsServerRendered(): boolean {
  const isHydrating = useSyncExternalStore(
    subscribe,
    () => false,
    () => true,
  )
  return useState(isHydrating)[0]
}

/** The main part of a page. After a navigation, the focus is on its title, unless it is on another element of the page. */
export function Page({ title, bar, children }: PageProps) {
  const main = useRef<HTMLElement>(null)
  const isServerRendered = useIsServerRendered()
  useEffect(() => {
    if (isServerRendered || main.current?.contains(document.activeElement)) return
    main.current?.querySelector("h1")?.focus({ preventScroll: true })
  }, [isServerRendered])
  return (
    <main ref={main} id="main" tabIndex={-1}>
      <DocumentTitle>{title}</DocumentTitle>
      <header className="bar">
        <Link href="/" className="back button">
          Chats
        </Link>
        <h1 tabIndex={-1} dir="auto">
          {title}
        </h1>
        {bar}
      </header>
      {children}
    </main>
  )
}

/** What a page shows instead of its content: that it is loading, empty or refused, or has failed. */
export function Notice({ children, retry }: { children: ReactNode; retry?: (() => unknown) | undefined }) {
  return (
    <div className="notice" role={retry ? "alert" : "status"}>
      <p>{children}</p>
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  )
}

interface AvatarProps {
  name: string | null | undefined
  image: string | null | undefined
  isOnline?: boolean
}

export function Avatar({ name, image, isOnline = false }: AvatarProps) {
  return (
    <span className="avatar">
      {/* biome-ignore lint/performance/noImgElement: the image may be of any site, and is small. */}
      {image ? <img src={image} alt="" /> : <span aria-hidden>{Array.from(name || "?")[0]?.toUpperCase()}</span>}
      {isOnline && (
        <span className="online">
          <span className="visually-hidden">online</span>
        </span>
      )}
    </span>
  )
}

interface LoadMoreProps {
  load: () => Promise<void>
  isLoading?: boolean
  label: string
}

/** Loads the next page of a list when it comes near the screen. After a failure, a button does. */
export function LoadMore({ load, isLoading = false, label }: LoadMoreProps) {
  const element = useRef<HTMLDivElement>(null)
  const [state, setState] = useState<"idle" | "loading" | "failed">("idle")
  const start = () => {
    setState("loading")
    load().then(
      () => setState("idle"),
      () => setState("failed"),
    )
  }
  const isIdle = state === "idle" && !isLoading
  useEffect(() => {
    if (!isIdle || !element.current) return
    const onChange = (entries: IntersectionObserverEntry[]) => entries.some((entry) => entry.isIntersecting) && start()
    const options = { root: element.current.closest(".scroll"), rootMargin: "400px" }
    const observer = new IntersectionObserver(onChange, options)
    observer.observe(element.current)
    return () => observer.disconnect()
  })
  return (
    <div ref={element} className="load-more">
      {state === "failed" ? (
        <button type="button" onClick={start}>
          {label}: try again
        </button>
      ) : (
        <span aria-hidden>Loading…</span>
      )}
    </div>
  )
}
