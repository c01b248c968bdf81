// The form that sends messages.

"use client"

import type { ChatSession } from "@parley/client"
import { useParley } from "@parley/client/react"
import { type ChangeEvent, type ClipboardEvent, type SubmitEvent, useEffect, useRef, useState } from "react"
import { submitOnEnter } from "@/components/form"

/** Unsent texts, until the page is closed or the user signs out. */
const drafts = new WeakMap<ChatSession, string>()

interface ComposerProps {
  chatId: string
  isReady: boolean
  /** Whether to move the focus here when the chat is opened. */
  hasFocus: boolean
}

export function Composer({ chatId, isReady, hasFocus }: ComposerProps) {
  const session = useParley().chat(chatId)
  const [content, setContent] = useState(drafts.get(session) ?? "")
  const [isCode, setIsCode] = useState(false)
  const input = useRef<HTMLTextAreaElement>(null)

  // With a keyboard, a chat is opened to write in it. On a touch screen, the focus would cover half of it.
  useEffect(() => {
    if (hasFocus && matchMedia("(pointer: fine)").matches) input.current?.focus()
  }, [hasFocus])

  const setDraft = (content: string) => {
    drafts.set(session, content)
    setContent(content)
  }
  const onChange = (event: ChangeEvent<HTMLTextAreaElement>) => {
    setDraft(event.target.value)
    session.notifyTyping()
  }
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault()
    if (!isReady || !content.trim()) return
    session.send({ content, type: isCode ? "code" : "text" })
    setDraft("")
    setIsCode(false)
    input.current?.focus()
  }
  const onPaste = (event: ClipboardEvent) => {
    for (const file of event.clipboardData.files) {
      if (!file.type.startsWith("image/")) continue
      event.preventDefault()
      session.sendImage(file)
    }
  }
  const onChoose = (event: ChangeEvent<HTMLInputElement>) => {
    for (const file of event.target.files ?? []) session.sendImage(file)
    event.target.value = ""
  }
  return (
    <form className="composer" onSubmit={onSubmit}>
      <textarea
        ref={input}
        aria-label="Message"
        placeholder={isCode ? "Write code" : "Write a message"}
        dir={isCode ? "ltr" : "auto"}
        rows={1}
        data-code={isCode}
        value={content}
        onChange={onChange}
        onKeyDown={submitOnEnter}
        onPaste={onPaste}
      />
      <div className="buttons">
        <label className="switch">
          <input
            type="checkbox"
            role="switch"
            aria-checked={isCode}
            checked={isCode}
            onChange={(event) => setIsCode(event.target.checked)}
          />
          Code
        </label>
        <label className="button file">
          <input type="file" accept="image/png,image/jpeg,image/gif" multiple disabled={!isReady} onChange={onChoose} />
          Image
        </label>
        <button type="submit" className="primary" disabled={!isReady}>
          Send
        </button>
      </div>
    </form>
  )
}
