// One message: its author, its state, and the actions on it.

"use client"

import type { Message } from "@parley/client"
import { useParley, useUser } from "@parley/client/react"
import { memo, type RefObject, useRef, useState } from "react"
import { Avatar } from "@/components/avatar"
import { Confirm } from "@/components/dialog"
import { MessageContent } from "@/components/message-content"
import { MessageEditor } from "@/components/message-editor"
import { formatName, formatTime } from "@/lib/format"

interface MessageItemProps {
  chatId: string
  message: Message
  canEdit: boolean
  canDelete: boolean
  isTarget: boolean
  /** Whether the message is in the tab order. Arrow keys reach the others. */
  isFocusable: boolean
  hasAuthor: boolean
  /** The names of the members who have read up to this message. */
  readers: string | undefined
}

type Mode = "show" | "edit" | "delete"

export const MessageItem = memo(function MessageItem({ chatId, message, ...props }: MessageItemProps) {
  const session = useParley().chat(chatId)
  const author = useUser(message.userId)
  const [mode, setMode] = useState<Mode>("show")
  const item = useRef<HTMLLIElement>(null)
  const { id, key, status } = message
  const name = formatName(author)
  const closeEditor = () => {
    item.current?.focus()
    setMode("show")
  }
  return (
    <li
      ref={item}
      className="message"
      data-key={key}
      data-own={props.canEdit}
      data-status={status}
      aria-current={props.isTarget || undefined}
      tabIndex={props.isFocusable ? 0 : -1}
    >
      {props.hasAuthor && (
        <p className="author">
          <Avatar name={author?.name} image={author?.imageUrl} />
          <bdi>{name}</bdi>
        </p>
      )}
      {mode === "edit" && id ? (
        <MessageEditor message={message} save={(content) => session.edit(id, { content })} onClose={closeEditor} />
      ) : (
        <MessageContent message={message} alt={`Image from ${name}, ${formatTime(message.createdAt)}`} />
      )}
      <Footer message={message} {...props} isEditing={mode === "edit"} setMode={setMode} />
      {status === "failed" && <Failure chatId={chatId} message={message} />}
      {mode === "delete" && id && (
        <Delete remove={() => session.deleteMessage(id)} item={item} onClose={() => setMode("show")} />
      )}
    </li>
  )
})

type FooterProps = Pick<MessageItemProps, "message" | "canEdit" | "canDelete" | "readers"> & {
  isEditing: boolean
  setMode: (mode: Mode) => void
}

function Footer({ message, canEdit, canDelete, readers, isEditing, setMode }: FooterProps) {
  const { createdAt, updatedAt, status, type } = message
  return (
    <footer>
      <time dateTime={createdAt}>{formatTime(createdAt)}</time>
      {status === "pending" && <span>Sending…</span>}
      {status === "sent" && updatedAt !== createdAt && <span>edited</span>}
      {readers && <span>Read by {readers}</span>}
      {status === "sent" && !isEditing && (
        <span className="actions">
          {canEdit && type !== "image" && (
            <button type="button" onClick={() => setMode("edit")}>
              Edit
            </button>
          )}
          {canDelete && (
            <button type="button" onClick={() => setMode("delete")}>
              Delete
            </button>
          )}
        </span>
      )}
    </footer>
  )
}

function Failure({ chatId, message }: { chatId: string; message: Message }) {
  const session = useParley().chat(chatId)
  return (
    <p role="alert" className="error">
      Not sent: {message.error?.fields.content ?? message.error?.message}{" "}
      <button type="button" onClick={() => session.retry(message.key)}>
        Retry
      </button>{" "}
      <button type="button" onClick={() => session.discard(message.key)}>
        Discard
      </button>
    </p>
  )
}

interface DeleteProps {
  remove: () => Promise<void>
  item: RefObject<HTMLLIElement | null>
  onClose: () => void
}

/** Deletes a message, and moves the focus to the next one or, at the end, to the previous one. */
function Delete({ remove, item, onClose }: DeleteProps) {
  const action = async () => {
    const items = [...document.querySelectorAll<HTMLElement>("[data-key]")]
    const index = item.current ? items.indexOf(item.current) : -1
    await remove()
    requestAnimationFrame(() => (items[index + 1] ?? items[index - 1])?.focus())
  }
  return (
    <Confirm title="Delete message" label="Delete" action={action} onClose={onClose}>
      Delete this message for everybody? This cannot be undone.
    </Confirm>
  )
}
