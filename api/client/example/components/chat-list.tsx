// The list of chats, with the number of unread messages in each.

"use client"

import type { Chat } from "@parley/client"
import { useChats, useParley, useProfile, useUser } from "@parley/client/react"
import Link from "next/link"
import { useParams, usePathname, useRouter } from "next/navigation"
import { useState } from "react"
import { Avatar } from "@/components/avatar"
import { Dialog } from "@/components/dialog"
import { Field, FormError, useSubmit } from "@/components/form"
import { LoadMore } from "@/components/load-more"
import { formatDate, formatName } from "@/lib/format"

export function ChatList() {
  const parley = useParley()
  const { status, chats, hasMore } = useChats()
  const profile = useProfile()
  const pathname = usePathname()
  const [isCreating, setIsCreating] = useState(false)
  const page = (path: string) => (pathname === path ? ("page" as const) : undefined)
  return (
    <nav className="sidebar" aria-label="Chats">
      <header className="bar">
        <h2>Chats</h2>
        <button type="button" onClick={() => setIsCreating(true)}>
          New chat
        </button>
        <Link href="/search" className="button" aria-current={page("/search")}>
          Search
        </Link>
        <Link href="/settings" className="button me" aria-label="Settings" aria-current={page("/settings")}>
          <Avatar name={profile?.name} image={profile?.imageUrl} />
        </Link>
      </header>
      <div className="scroll">
        {status === "loading" && <p role="status">Loading chats…</p>}
        {status === "ready" && !chats.length && <p>You have no chats yet. Start one with “New chat”.</p>}
        <ul>
          {chats.map((chat) => (
            <ChatItem key={chat.id} chat={chat} />
          ))}
        </ul>
        {hasMore && <LoadMore load={() => parley.loadMoreChats()} label="More chats" />}
      </div>
      {isCreating && <NewChat onClose={() => setIsCreating(false)} />}
    </nav>
  )
}

function ChatItem({ chat }: { chat: Chat }) {
  const isCurrent = useParams().chatId === chat.id
  const { title, lastMessage, unreadCount } = chat
  return (
    <li>
      <Link href={`/chats/${chat.id}`} className="row" aria-current={isCurrent ? "page" : undefined}>
        <span className="title" dir="auto">
          {title}
        </span>
        <time dateTime={chat.lastMessageAt ?? chat.createdAt}>{formatDate(chat.lastMessageAt ?? chat.createdAt)}</time>
        <span className="preview" dir="auto">
          {lastMessage ? <Preview message={lastMessage} /> : "No messages"}
        </span>
        {unreadCount > 0 && (
          <span className="badge">
            {unreadCount}
            <span className="visually-hidden"> unread</span>
          </span>
        )}
      </Link>
    </li>
  )
}

function Preview({ message }: { message: NonNullable<Chat["lastMessage"]> }) {
  const author = useUser(message.userId)
  return `${formatName(author)}: ${message.type === "image" ? "Image" : (message.content ?? "…")}`
}

/** Refer to a user by e-mail address if the text has an @, and by ID otherwise. */
const toUserReference = (user: string) => (user.includes("@") ? { email: user } : { userId: user })

function NewChat({ onClose }: { onClose: () => void }) {
  const parley = useParley()
  const router = useRouter()
  const [users, setUsers] = useState<string[]>([])
  const { error, isPending, onSubmit } = useSubmit(async (form) => {
    const users = String(form.get("members"))
      .split(/[\s,]+/)
      .filter(Boolean)
    setUsers(users)
    const chat = await parley.createChat({ title: String(form.get("title")), members: users.map(toUserReference) })
    onClose()
    router.push(`/chats/${chat.id}`)
  })
  const invalid = users.findIndex(
    (_, index) => error && Object.keys(error.fields).some((key) => key.startsWith(`members[${index}]`)),
  )
  return (
    <Dialog title="New chat" onClose={onClose}>
      <form onSubmit={onSubmit}>
        <Field label="Title" name="title" required error={error?.fields.title} />
        <Field
          label="Members"
          name="members"
          placeholder="E-mail addresses or IDs, optional"
          error={invalid < 0 ? undefined : `“${users[invalid]}” is not a known user`}
        />
        <FormError error={error} fields={["title", `members[${invalid}]`]} />
        <p className="buttons">
          <button type="submit" className="primary" disabled={isPending}>
            Create
          </button>
        </p>
      </form>
    </Dialog>
  )
}
