// The frame of a page: the title of the document, and the main part with its title and bar.

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
  /** Links and buttons beside the title. */
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
