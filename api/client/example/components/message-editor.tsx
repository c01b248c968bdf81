// The form that edits a message.

"use client"

import type { Message } from "@parley/client"
import type { KeyboardEvent } from "react"
import { FormError, submitOnEnter, useSubmit } from "@/components/form"

interface MessageEditorProps {
  message: Message
  save: (content: string) => Promise<void>
  onClose: () => void
}

const scrollIntoView = (form: HTMLFormElement | null) => form?.scrollIntoView({ block: "nearest" })

export function MessageEditor({ message, save, onClose }: MessageEditorProps) {
  const { error, isPending, onSubmit } = useSubmit(async (form) => {
    await save(String(form.get("content")))
    onClose()
  })
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key === "Escape") onClose()
    else submitOnEnter(event)
  }
  return (
    <form ref={scrollIntoView} className="editor" onSubmit={onSubmit}>
      <textarea
        name="content"
        aria-label="Edit message"
        dir="auto"
        required
        defaultValue={message.content}
        onKeyDown={onKeyDown}
        // biome-ignore lint/a11y/noAutofocus: the user has just chosen to edit.
        autoFocus
      />
      {error?.code === "precondition_failed" ? (
        <p role="alert" className="error">
          The message was changed meanwhile, to “{message.content}”. Saving replaces that.
        </p>
      ) : (
        <FormError error={error} />
      )}
      <p className="buttons">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="submit" className="primary" disabled={isPending}>
          Save
        </button>
      </p>
    </form>
  )
}
