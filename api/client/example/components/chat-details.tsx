// The details of a chat: its title, its members, and leaving or deleting it.

"use client"

import { type Chat, type Member, ParleyError, type User } from "@parley/client"
import { useMembers, useParley, usePresence, useProfile } from "@parley/client/react"
import { useRouter } from "next/navigation"
import { useState } from "react"
import { Avatar } from "@/components/avatar"
import { Confirm, Dialog } from "@/components/dialog"
import { Field, FormError, useSubmit } from "@/components/form"
import { formatName } from "@/lib/format"

interface ChatDetailsProps {
  chat: Chat
  onClose: () => void
}

export function ChatDetails({ chat, onClose }: ChatDetailsProps) {
  const parley = useParley()
  const router = useRouter()
  const [isConfirming, setIsConfirming] = useState(false)
  const isOwner = chat.role === "owner"
  const endLabel = isOwner ? "Delete chat" : "Leave chat"
  return (
    <Dialog title="Chat details" onClose={onClose}>
      {isOwner && <Rename chat={chat} />}
      <Members chatId={chat.id} isOwner={isOwner} />
      {isOwner && <AddMember key={chat.memberCount} chatId={chat.id} />}
      <p>
        <button type="button" className="danger" onClick={() => setIsConfirming(true)}>
          {endLabel}
        </button>
      </p>
      {isConfirming && (
        <Confirm
          title={endLabel}
          label={isOwner ? "Delete" : "Leave"}
          action={async () => {
            await (isOwner ? parley.deleteChat(chat.id) : parley.leaveChat(chat.id))
            router.replace("/")
          }}
          onClose={() => setIsConfirming(false)}
        >
          {isOwner
            ? "Delete this chat with all its messages, for all members? This cannot be undone. To leave it instead, first make another member the owner."
            : "Leave this chat? Only its owner can add you again."}
        </Confirm>
      )}
    </Dialog>
  )
}

function Rename({ chat }: { chat: Chat }) {
  const parley = useParley()
  const { error, isPending, onSubmit } = useSubmit((form) =>
    parley.updateChat(chat.id, { title: String(form.get("title")) }),
  )
  return (
    <form className="inline" onSubmit={onSubmit}>
      <Field
        key={chat.title}
        label="Title"
        name="title"
        required
        defaultValue={chat.title}
        error={error?.fields.title}
      />
      <button type="submit" disabled={isPending}>
        Rename
      </button>
      <FormError error={error} fields={["title"]} />
    </form>
  )
}

function Members({ chatId, isOwner }: { chatId: string; isOwner: boolean }) {
  const session = useParley().chat(chatId)
  const { status, error, members, total } = useMembers(chatId)
  const { online } = usePresence(chatId)
  const userId = useProfile()?.id
  return (
    <section>
      <h3>Members {total > 0 && `(${total})`}</h3>
      {status === "loading" && <p role="status">Loading members…</p>}
      {status === "failed" && (
        <>
          <FormError error={error} />
          <button type="button" onClick={() => session.loadMembers().catch(() => {})}>
            Try again
          </button>
        </>
      )}
      <ul className="members">
        {members.map((member) => (
          <MemberItem
            key={member.userId}
            chatId={chatId}
            member={member}
            isOnline={online.has(member.userId)}
            isSelf={member.userId === userId}
            canManage={isOwner && member.userId !== userId}
          />
        ))}
      </ul>
      {total > members.length && <p>And {total - members.length} more.</p>}
    </section>
  )
}

interface MemberItemProps {
  chatId: string
  member: Member
  isOnline: boolean
  isSelf: boolean
  canManage: boolean
}

function MemberItem({ chatId, member, isOnline, isSelf, canManage }: MemberItemProps) {
  const session = useParley().chat(chatId)
  const [isPromoting, setIsPromoting] = useState(false)
  const { error, isPending, onSubmit } = useSubmit(() => session.removeMember(member.userId))
  const name = formatName(member)
  return (
    <li>
      <Avatar name={member.name} image={member.image} isOnline={isOnline} />
      <span className="name">
        <bdi>{name}</bdi>
        {isSelf && " (you)"}
        {member.role === "owner" && <small> Owner</small>}
      </span>
      {canManage && (
        <form className="buttons" onSubmit={onSubmit}>
          <button type="button" onClick={() => setIsPromoting(true)} aria-label={`Make owner: ${name}`}>
            Make owner
          </button>
          <button type="submit" disabled={isPending} aria-label={`Remove ${name}`}>
            Remove
          </button>
        </form>
      )}
      <FormError error={error} />
      {isPromoting && (
        <Confirm
          title="Make owner"
          label="Make owner"
          action={() => session.makeOwner(member.userId)}
          onClose={() => setIsPromoting(false)}
        >
          Make <bdi>{name}</bdi> the owner of this chat? You will be a member.
        </Confirm>
      )}
    </li>
  )
}

/** Finds a user, and shows the user before adding. */
function AddMember({ chatId }: { chatId: string }) {
  const parley = useParley()
  const [found, setFound] = useState<User | null>(null)
  const [unknown, setUnknown] = useState<string>()
  const find = useSubmit(async (form) => {
    const user = String(form.get("user")).trim()
    const known = parley.users.getSnapshot().get(user)
    setFound(null)
    setUnknown(undefined)
    // Users are found by e-mail address only. An ID is checked when the member is added.
    const found = user.includes("@") ? await parley.findUser(user) : (known ?? { id: user, name: null, imageUrl: null })
    if (!found) setUnknown(`No user has the address ${user}.`)
    setFound(found)
  })
  const onUnknown = (user: User) => {
    setFound(null)
    setUnknown(`No user has the ID ${user.id}.`)
  }
  return (
    <section>
      <h3>Add a member</h3>
      <form className="inline" onSubmit={find.onSubmit}>
        <Field label="E-mail address or ID" name="user" required error={find.error?.fields.email} />
        <button type="submit" disabled={find.isPending}>
          Find
        </button>
        <FormError error={find.error} fields={["email"]} />
        {unknown && (
          <p role="alert" className="error">
            {unknown}
          </p>
        )}
      </form>
      {found && (
        <FoundUser
          key={found.id}
          chatId={chatId}
          user={found}
          onAdded={() => setFound(null)}
          onUnknown={() => onUnknown(found)}
        />
      )}
    </section>
  )
}

interface FoundUserProps {
  chatId: string
  user: User
  onAdded: () => void
  onUnknown: () => void
}

function FoundUser({ chatId, user, onAdded, onUnknown }: FoundUserProps) {
  const session = useParley().chat(chatId)
  const { error, isPending, onSubmit } = useSubmit(async () => {
    try {
      await session.addMember({ userId: user.id })
      onAdded()
    } catch (error) {
      if (!(error instanceof ParleyError && error.fields.userId)) throw error
      onUnknown()
    }
  })
  const name = user.name ?? user.id
  return (
    <form className="found" onSubmit={onSubmit}>
      <Avatar name={user.name} image={user.imageUrl} />
      <bdi className="name">{name}</bdi>
      <button type="submit" className="primary" disabled={isPending} aria-label={`Add ${name}`}>
        Add
      </button>
      <FormError error={error} />
    </form>
  )
}
