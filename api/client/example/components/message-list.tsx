// The messages of a chat, in a list that loads further ones at both ends.

"use client"

import type { Message, Timeline } from "@parley/client"
import { useMembers, useParley, useProfile, useUser } from "@parley/client/react"
import { useRouter } from "next/navigation"
import { Fragment, type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react"
import { LoadMore } from "@/components/load-more"
import { MessageItem } from "@/components/message-item"
import { formatDay, formatName } from "@/lib/format"
import { useScroll } from "@/lib/use-scroll"

interface MessageListProps {
  chatId: string
  timeline: Timeline
  isOwner: boolean
  /** The ID of the message to mark. */
  target: string | undefined
}

export function MessageList({ chatId, timeline, isOwner, target }: MessageListProps) {
  const session = useParley().chat(chatId)
  const router = useRouter()
  const { messages, hasOlder, hasNewer } = timeline
  const { list, isAtEnd, scrollToEnd } = useScroll({
    items: messages,
    target: messages.find(({ id }) => id === target)?.key,
    hasNewer,
    onSeen: (key) => {
      const index = messages.findIndex((message) => message.key === key)
      const seen = messages.slice(0, index + 1).findLast(({ id }) => id)
      if (seen?.id) session.markRead(seen.id)
    },
  })

  // The user's own new message is always shown.
  const last = messages.at(-1)
  const pendingKey = last?.status === "pending" ? last.key : undefined
  // biome-ignore lint/correctness/useExhaustiveDependencies: other changes do not scroll.
  useEffect(() => {
    if (pendingKey) scrollToEnd()
  }, [pendingKey])

  const showNewest = async () => {
    if (hasNewer) await session.jumpToNewest().catch(() => {})
    if (target) router.replace(`/chats/${chatId}`, { scroll: false })
    scrollToEnd()
  }
  const older = { load: () => session.loadOlder(), isLoading: timeline.isLoadingOlder, label: "Older messages" }
  const newer = { load: () => session.loadNewer(), isLoading: timeline.isLoadingNewer, label: "Newer messages" }
  return (
    <div className="messages">
      {/* New messages are read aloud by the announcer, which leaves out the history. */}
      <div ref={list} className="scroll" role="log" aria-live="off" aria-label="Messages" onKeyDown={moveFocus}>
        {hasOlder && <LoadMore {...older} />}
        {!messages.length && <p className="empty">No messages yet. Say hello.</p>}
        <Messages chatId={chatId} messages={messages} isOwner={isOwner} target={target} />
        {hasNewer && <LoadMore {...newer} />}
      </div>
      {!isAtEnd && <NewestButton messages={messages} hasNewer={hasNewer} onClick={showNewest} />}
      <Announcer messages={messages} hasNewer={hasNewer} />
    </div>
  )
}

type MessagesProps = Omit<MessageListProps, "timeline"> & { messages: readonly Message[] }

function Messages({ chatId, messages, isOwner, target }: MessagesProps) {
  const userId = useProfile()?.id
  const readers = useReaders(chatId, messages)
  return (
    <ol>
      {messages.map((message, index) => {
        const previous = messages[index - 1]
        const day = formatDay(message.createdAt)
        const isNewDay = !previous || formatDay(previous.createdAt) !== day
        const isOwn = message.userId === userId
        return (
          <Fragment key={message.key}>
            {isNewDay && (
              <li className="day">
                <time dateTime={message.createdAt.slice(0, 10)}>{day}</time>
              </li>
            )}
            <MessageItem
              chatId={chatId}
              message={message}
              canEdit={isOwn}
              canDelete={isOwn || isOwner}
              isTarget={message.id === target}
              isFocusable={index === messages.length - 1}
              hasAuthor={isNewDay || previous.userId !== message.userId}
              readers={readers.get(message.key)}
            />
          </Fragment>
        )
      })}
    </ol>
  )
}

/** The names of the other members, by the key of the last message that they have read. */
function useReaders(chatId: string, messages: readonly Message[]): ReadonlyMap<string, string> {
  const { members } = useMembers(chatId)
  const userId = useProfile()?.id
  return useMemo(() => {
    const readers = new Map<string, string>()
    for (const member of members) {
      const marker = member.lastReadMessageId
      if (!marker || member.userId === userId) continue
      const message = messages.findLast(({ id }) => id && id <= marker) // IDs are in the order of the messages.
      if (!message || message.userId === member.userId) continue
      const names = readers.get(message.key)
      readers.set(message.key, `${names ? `${names}, ` : ""}${formatName(member)}`)
    }
    return readers
  }, [members, messages, userId])
}

/** Arrow keys move the focus from message to message. */
function moveFocus(event: KeyboardEvent<HTMLElement>) {
  const items = Array.from(event.currentTarget.querySelectorAll<HTMLElement>("[data-key]"))
  const index = items.indexOf(event.target as HTMLElement)
  if (index < 0) return
  const targets: Record<string, number> = { ArrowUp: index - 1, ArrowDown: index + 1, Home: 0, End: items.length - 1 }
  const item = items[targets[event.key] ?? -1]
  if (!item) return
  event.preventDefault()
  item.focus()
}

interface NewestProps {
  messages: readonly Message[]
  hasNewer: boolean
}

/** Scrolls to the end. Its text says whether messages have arrived there meanwhile. */
function NewestButton({ messages, hasNewer, onClick }: NewestProps & { onClick: () => void }) {
  const last = messages.findLast(({ id }) => id)?.id
  const [first] = useState(hasNewer ? undefined : last)
  return (
    <button type="button" className="newest" onClick={onClick}>
      {last && first && last > first ? "New messages" : "Newest messages"}
    </button>
  )
}

/** Reads new messages of others aloud, but none that are loaded from the history. */
function Announcer({ messages, hasNewer }: NewestProps) {
  const userId = useProfile()?.id
  const last = messages.findLast(({ status }) => status === "sent")
  const author = formatName(useUser(last?.userId ?? ""))
  const previous = useRef({ id: last?.id ?? "", hasNewer })
  const [text, setText] = useState("")
  useEffect(() => {
    if (!last?.id) return
    const isNew = last.id > previous.current.id && !previous.current.hasNewer && !hasNewer
    previous.current = { id: last.id, hasNewer }
    const content = last.type === "image" ? "Image" : last.content?.slice(0, 300)
    if (isNew && last.userId !== userId) setText(`${author}: ${content}`)
  }, [last, hasNewer, author, userId])
  return (
    <p className="visually-hidden" aria-live="polite">
      {text}
    </p>
  )
}
