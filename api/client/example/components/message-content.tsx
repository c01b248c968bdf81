// The content of a message: text, code or an image.

"use client"

import type { Message } from "@parley/client"
import { useState } from "react"

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
