// The content of a message: text, code or an image, and its editor.

"use client"

import type { Message } from "@parley/client"
import { type KeyboardEvent, useState } from "react"
import { FormError, useSubmit } from "@/components/form"

export function MessageContent({ message, alt }: { message: Message; alt: string }) {
  const { type, content } = message
  if (content === undefined) return <p className="content">Loading…</p>
  if (type === "image") return <ImageContent key={content} url={content} alt={alt} />
  if (type === "code") {
    return (
      // biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls long lines.
      <pre className="content" tabIndex={0}>
        <code>{content}</code>
      </pre>
    )
  }
  return (
    <p className="content" dir="auto">
      {content}
    </p>
  )
}

function ImageContent({ url, alt }: { url: string; alt: string }) {
  const [isBroken, setIsBroken] = useState(false)
  if (isBroken || !/^(https?|blob):/.test(url)) return <p className="content">The image is not available.</p>
  return (
    <a href={url} target="_blank" rel="noreferrer" className="content">
      {/* biome-ignore lint/performance/noImgElement: the API has scaled the image. */}
      <img src={url} alt={alt} loading="lazy" onError={() => setIsBroken(true)} />
    </a>
  )
}

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

/** Enter submits the form of a text area, unless it completes a word of an input method; Shift+Enter adds a line. */
export function submitOnEnter(event: KeyboardEvent<HTMLTextAreaElement>): void {
  if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return
  event.preventDefault()
  event.currentTarget.form?.requestSubmit()
}
