import type { Viewport } from "next"
import { cookies } from "next/headers"
import type { ReactNode } from "react"
import "./globals.css"
import "./forms.css"
import "./lists.css"
import "./chat.css"

export const viewport: Viewport = {
  width: "device-width",
  initialScale: 1,
  viewportFit: "cover",
  interactiveWidget: "resizes-content",
}

/** The theme is the user's setting. A cookie has a copy, so that a page has its colours from the first frame on. */
export default async function RootLayout({ children }: { children: ReactNode }) {
  const theme = (await cookies()).get("theme")?.value
  return (
    <html lang="en" data-theme={theme}>
      <body>{children}</body>
    </html>
  )
}
