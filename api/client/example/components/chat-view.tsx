// One chat: its messages, the members who are typing or online, and the composer.

"use client"

import { type ChatSession, ParleyError } from "@parley/client"
import { useChat, useChatSession, useMembers, useParley, usePresence, useTimeline } from "@parley/client/react"
import Link from "next/link"
import { type DragEvent, useEffect, useState } from "react"
import { ChatDetails } from "@/components/chat-details"
import { Composer } from "@/components/composer"
import { MessageList } from "@/components/message-list"
import { Notice } from "@/components/notice"
import { Page } from "@/components/page"
import { formatList, formatName } from "@/lib/format"

interface ChatViewProps {
  chatId: string
  /** The message to show, such as a search hit; the newest ones by default. */
  messageId: string | undefined
}

export function ChatView({ chatId, messageId }: ChatViewProps) {
  useChatSession(chatId) // The chat is open while this is on screen.
  const { status } = useTimeline(chatId)
  const chat = useChat(chatId)
  const [areDetailsOpen, setAreDetailsOpen] = useState(false)
  const [wasReady, setWasReady] = useState(false)
  if (status === "ready" && !wasReady) setWasReady(true)
  if (status === "gone") return <GonePage wasMember={wasReady} />
  const bar = chat && (
    <>
      <Link href={`/search?chat=${chatId}`} className="button" aria-label="Search in this chat">
        Search
      </Link>
      <button type="button" aria-haspopup="dialog" onClick={() => setAreDetailsOpen(true)}>
        Details
      </button>
    </>
  )
  return (
    <Page title={chat?.title ?? "Chat"} bar={bar}>
      <Body chatId={chatId} messageId={messageId} isOwner={chat?.role === "owner"} />
      {areDetailsOpen && chat && <ChatDetails chat={chat} onClose={() => setAreDetailsOpen(false)} />}
    </Page>
  )
}

function GonePage({ wasMember }: { wasMember: boolean }) {
  return (
    <Page title={wasMember ? "You are no longer in this chat" : "Chat not found"}>
      <Notice>
        {wasMember
          ? "You were removed, or the chat was deleted."
          : "This chat was deleted, or you are not a member of it."}{" "}
        <Link href="/">All chats</Link>
      </Notice>
    </Page>
  )
}

function Body({ chatId, messageId, isOwner }: ChatViewProps & { isOwner: boolean }) {
  const session = useParley().chat(chatId)
  const timeline = useTimeline(chatId)
  const jumpError = useJump(session, messageId)
  const [isDropTarget, setIsDropTarget] = useState(false)
  const onDrag = (event: DragEvent) => {
    event.preventDefault()
    setIsDropTarget(event.type === "dragover")
    if (event.type !== "drop") return
    for (const file of event.dataTransfer.files) if (file.type.startsWith("image/")) session.sendImage(file)
  }
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: dropping is an alternative to the button “Image”.
    <div className="chat" data-drop={isDropTarget} onDragOver={onDrag} onDragLeave={onDrag} onDrop={onDrag}>
      {jumpError && (
        <p role="alert" className="error status">
          {jumpError}
        </p>
      )}
      {timeline.status === "loading" && <Notice>Loading messages…</Notice>}
      {timeline.status === "failed" && (
        <Notice retry={() => session.jumpToNewest().catch(() => {})}>
          The messages could not be loaded: {timeline.error?.message}
        </Notice>
      )}
      {timeline.status === "ready" && (
        <>
          <MessageList chatId={chatId} timeline={timeline} isOwner={isOwner} target={messageId} />
          <Status chatId={chatId} />
        </>
      )}
      <Composer chatId={chatId} isReady={timeline.status === "ready"} hasFocus={!messageId} />
    </div>
  )
}

/** Jump to a message, and return the reason for a failure. */
function useJump(session: ChatSession, messageId: string | undefined): string | null {
  const [error, setError] = useState<string | null>(null)
  useEffect(() => {
    setError(null)
    if (!messageId) return
    session.jumpTo(messageId).catch((error: unknown) => {
      if (!(error instanceof ParleyError)) throw error
      setError(error.code === "not_found" ? "This message was deleted." : error.message)
    })
  }, [session, messageId])
  return error
}

/** The members who are typing or, if none are, those who are online. */
function Status({ chatId }: { chatId: string }) {
  const { online, typing } = usePresence(chatId)
  const { members } = useMembers(chatId)
  const names = (ids: ReadonlySet<string>) =>
    formatList([...ids].map((id) => formatName(members.find(({ userId }) => userId === id))))
  return (
    <p className="status" dir="auto">
      {typing.size > 0
        ? `${names(typing)} ${typing.size > 1 ? "are" : "is"} typing…`
        : online.size > 0 && (online.size > 5 ? `${online.size} members are online` : `Online: ${names(online)}`)}
    </p>
  )
}
