// Runs before each page: redirects to the sign-in, and sets the Content Security Policy.

import { NextResponse } from "next/server"
import { auth } from "@/auth"
import { readClientConfig } from "@/lib/environment"

export const proxy = auth((request) => {
  const { pathname, search } = request.nextUrl
  if (!request.auth && pathname !== "/sign-in") {
    const query = new URLSearchParams({ callbackUrl: pathname + search })
    return NextResponse.redirect(new URL(`/sign-in?${query}`, request.nextUrl))
  }
  const policy = contentSecurityPolicy(crypto.randomUUID())
  const headers = new Headers(request.headers)
  headers.set("Content-Security-Policy", policy) // Next.js adds this nonce to its scripts.
  const response = NextResponse.next({ request: { headers } })
  response.headers.set("Content-Security-Policy", policy)
  return response
})

export const config = { matcher: "/((?!api/|_next/|icon.svg).*)" }

function contentSecurityPolicy(nonce: string): string {
  const { url, pusher } = readClientConfig()
  const api = new URL(url).origin
  const servers = pusher.host
    ? `${pusher.useTLS ? "wss" : "ws"}://${pusher.host}${pusher.port ? `:${pusher.port}` : ""}`
    : `wss://ws-${pusher.cluster}.pusher.com`
  // Profile images may come from any site that a sign-in provider names.
  const images = process.env.AUTH_GITHUB_ID ? "https:" : ""
  const isDevelopment = process.env.NODE_ENV === "development" // React and Turbopack evaluate code, and use inline styles.
  return [
    "default-src 'self'",
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${isDevelopment ? " 'unsafe-eval'" : ""}`,
    `style-src 'self'${isDevelopment ? " 'unsafe-inline'" : ""}`,
    `img-src 'self' blob: data: ${api} ${process.env.IMAGES_URL ?? ""} ${images}`,
    `connect-src 'self' ${api} ${servers}`,
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  ].join("; ")
}
