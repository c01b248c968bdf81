// The frame of all pages after sign-in: the client of Parley, the list of chats, and the connection's state.

"use client"

import { type ConnectionStatus, createParley } from "@parley/client"
import { ParleyProvider, useSettings, useStatus } from "@parley/client/react"
import { usePathname, useSearchParams } from "next/navigation"
import { type ReactNode, useEffect, useState } from "react"
import { ChatList } from "@/components/chat-list"
import type { ClientConfig } from "@/lib/environment"

interface ShellProps {
  config: ClientConfig
  userId: string
  children: ReactNode
}

export function Shell({ config, userId, children }: ShellProps) {
  // Requests carry the session cookie.
  const [parley] = useState(() => createParley({ ...config, userId }))
  useEffect(() => leaveToOtherUser(userId), [userId])
  return (
    <ParleyProvider client={parley}>
      <Theme />
      <Frame>{children}</Frame>
    </ParleyProvider>
  )
}

/** A user who signs in in another tab replaces the session cookie of all tabs, which must not go on as another user. */
function leaveToOtherUser(userId: string) {
  const channel = new BroadcastChannel("user")
  channel.onmessage = ({ data }) => data !== userId && location.reload()
  channel.postMessage(userId)
  return () => channel.close()
}

const BANNERS: Partial<Record<ConnectionStatus, string>> = {
  connecting: "Connecting…", // The style sheet shows this after some seconds.
  offline: "You are offline. Messages will be sent when the connection is back.",
}

function Frame({ children }: { children: ReactNode }) {
  const status = useStatus()
  if (status === "signed-out") return <SignedOut />
  return (
    <div className="shell">
      <a href="#main" className="skip button">
        Skip to content
      </a>
      <p role="status" className="banner" data-status={status}>
        {BANNERS[status]}
      </p>
      <ChatList />
      {children}
    </div>
  )
}

function SignedOut() {
  const query = useSearchParams().toString()
  const callbackUrl = usePathname() + (query && `?${query}`)
  return (
    <main className="notice">
      <title>Signed out · Parley</title>
      <h1>You are signed out</h1>
      <p role="alert">Your session has ended. Sign in again to continue where you were.</p>
      <a href={`/sign-in?${new URLSearchParams({ callbackUrl })}`} className="button primary">
        Sign in again
      </a>
    </main>
  )
}

/** Applies the setting `theme`. The cookie is for the server, which renders the next page. */
function Theme() {
  const theme = useSettings()?.theme
  useEffect(() => {
    if (!theme) return
    document.documentElement.dataset.theme = theme
    // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is not in all browsers.
    document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax`
  }, [theme])
  return null
}
