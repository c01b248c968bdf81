// Dates, times and names as text, in the language of the document.

import type { User } from "@parley/client"

const time = new Intl.DateTimeFormat("en", { hour: "numeric", minute: "2-digit" })
const day = new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long", year: "numeric" })
const date = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" })

export const formatTime = (timestamp: string) => time.format(new Date(timestamp))
export const formatDay = (timestamp: string) => day.format(new Date(timestamp))

/** The time of today, and the date of other days. */
export function formatDate(timestamp: string): string {
  const isToday = new Date(timestamp).toDateString() === new Date().toDateString()
  return isToday ? formatTime(timestamp) : date.format(new Date(timestamp))
}

export const formatName = (user: Pick<User, "name"> | undefined) => user?.name ?? "Unknown user"

export const formatList = (items: string[]) => new Intl.ListFormat("en").format(items)
