// Sign-in by Auth.js. Parley accepts its session cookie, because both have the same AUTH_SECRET.

import NextAuth, { type NextAuthConfig } from "next-auth"
import Credentials from "next-auth/providers/credentials"
import GitHub from "next-auth/providers/github"
import { isDemo } from "@/lib/environment"

// NOT FOR PRODUCTION: without a password, anybody can be anybody. The demo users are `alice` and `bob`.
const demo = Credentials({
  id: "demo",
  credentials: { name: {} },
  authorize({ name }) {
    const trimmed = typeof name === "string" ? name.trim().slice(0, 100) : ""
    const id = trimmed.toLowerCase().replace(/\s+/g, "-")
    return id ? { id, name: trimmed, email: `${id}@example.com` } : null
  },
})

// The place for your providers: https://authjs.dev/getting-started/authentication
const providers: NextAuthConfig["providers"] = []
if (isDemo()) providers.push(demo)
if (process.env.AUTH_GITHUB_ID) providers.push(GitHub) // AUTH_GITHUB_SECRET is read by Auth.js

export const { handlers, auth, signIn, signOut } = NextAuth({
  providers,
  pages: { signIn: "/sign-in" },
  session: { strategy: "jwt" },
  callbacks: {
    // The user's ID must be the same at each sign-in. Without an adapter, Auth.js generates a new one for OAuth.
    jwt({ token, account }) {
      if (account?.type === "oauth" || account?.type === "oidc") {
        token.sub = `${account.provider}:${account.providerAccountId}`
      }
      return token
    },
    session({ session, token }) {
      session.user.id = token.sub ?? ""
      return session
    },
  },
})
