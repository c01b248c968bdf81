// The scroll position of a list of messages, which grows at both ends.

"use client"

import { type RefObject, useEffect, useEffectEvent, useLayoutEffect, useRef, useState } from "react"

const END_PX = 40 // This close to its end, the list is at its end.

interface ScrollOptions {
  /** The items, each an element with its key in `data-key`. */
  items: readonly unknown[]
  /** The key of the item to scroll to, once. */
  target: string | undefined
  /** Whether the end of the items is not the end of the chat. */
  hasNewer: boolean
  /** Called with the key of the last item on screen. */
  onSeen: (key: string) => void
}

interface Scroll {
  list: RefObject<HTMLDivElement | null>
  isAtEnd: boolean
  scrollToEnd: () => void
}

/** Keep the position when the items change: at the item being edited, at the end, or at the first item on screen. */
export function useScroll({ items, target, hasNewer, onSeen }: ScrollOptions): Scroll {
  const list = useRef<HTMLDivElement>(null)
  const anchor = useRef<{ isAtEnd: boolean; item?: HTMLElement | undefined; top: number }>({ isAtEnd: true, top: 0 })
  const shownTarget = useRef<string>(undefined)
  const [isAtEnd, setIsAtEnd] = useState(true)

  const record = useEffectEvent(() => {
    const element = list.current
    if (!element?.clientHeight) return
    const onScreen = findOnScreen(element)
    const isAtEnd = !hasNewer && element.scrollHeight - element.scrollTop - element.clientHeight < END_PX
    const item = onScreen.find(hasEditor) ?? onScreen[0]
    anchor.current = { isAtEnd, item, top: item?.getBoundingClientRect().top ?? 0 }
    setIsAtEnd(isAtEnd)
    const seen = onScreen.at(-1)?.dataset.key
    if (seen && document.visibilityState === "visible") onSeen(seen)
  })

  const restore = useEffectEvent(() => {
    const element = list.current
    if (!element) return
    const { isAtEnd, item, top } = anchor.current
    if (target && target !== shownTarget.current) {
      shownTarget.current = target
      const shown = element.querySelector<HTMLElement>(`[data-key="${CSS.escape(target)}"]`)
      shown?.scrollIntoView({ block: "center" })
      shown?.focus({ preventScroll: true })
    } else if (isAtEnd && !hasEditor(element)) element.scrollTop = element.scrollHeight
    else if (item?.isConnected) {
      element.scrollTop += item.getBoundingClientRect().top - top
      if (hasEditor(item)) item.scrollIntoView({ block: "nearest" })
    }
    record()
  })

  // biome-ignore lint/correctness/useExhaustiveDependencies: the items have changed on screen.
  useLayoutEffect(() => restore(), [items, target])
  useEffect(() => {
    const element = list.current
    if (!element) return
    const onChange = () => record()
    const observer = new ResizeObserver(() => restore()) // of the list, and of its content, such as an open editor
    for (const observed of [element, ...element.children]) observer.observe(observed)
    element.addEventListener("scroll", onChange)
    document.addEventListener("visibilitychange", onChange)
    return () => {
      observer.disconnect()
      element.removeEventListener("scroll", onChange)
      document.removeEventListener("visibilitychange", onChange)
    }
  }, [])

  const scrollToEnd = () => {
    anchor.current = { isAtEnd: true, top: 0 }
    if (list.current) list.current.scrollTop = list.current.scrollHeight
  }
  return { list, isAtEnd, scrollToEnd }
}

const hasEditor = (element: HTMLElement) => element.querySelector(".editor") !== null

function findOnScreen(list: HTMLElement): HTMLElement[] {
  const { top, bottom } = list.getBoundingClientRect()
  return Array.from(list.querySelectorAll<HTMLElement>("[data-key]")).filter((item) => {
    const box = item.getBoundingClientRect()
    return box.bottom > top && box.top < bottom
  })
}
