// The end of a list that loads its next page when it is scrolled.

"use client"

import { useEffect, useRef, useState } from "react"

interface LoadMoreProps {
  load: () => Promise<void>
  isLoading?: boolean
  label: string
}

/** Loads the next page of a list when it comes near the screen. After a failure, a button does. */
export function LoadMore({ load, isLoading = false, label }: LoadMoreProps) {
  const element = useRef<HTMLDivElement>(null)
  const [state, setState] = useState<"idle" | "loading" | "failed">("idle")
  const start = () => {
    setState("loading")
    load().then(
      () => setState("idle"),
      () => setState("failed"),
    )
  }
  const isIdle = state === "idle" && !isLoading
  useEffect(() => {
    if (!isIdle || !element.current) return
    const onChange = (entries: IntersectionObserverEntry[]) => entries.some((entry) => entry.isIntersecting) && start()
    const options = { root: element.current.closest(".scroll"), rootMargin: "400px" }
    const observer = new IntersectionObserver(onChange, options)
    observer.observe(element.current)
    return () => observer.disconnect()
  })
  return (
    <div ref={element} className="load-more">
      {state === "failed" ? (
        <button type="button" onClick={start}>
          {label}: try again
        </button>
      ) : (
        <span aria-hidden>Loading…</span>
      )}
    </div>
  )
}
