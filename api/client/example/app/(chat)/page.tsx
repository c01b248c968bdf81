import { DocumentTitle } from "@/components/page"

/** Beside the list of chats. On a phone, only the list is on screen. */
export default function HomePage() {
  return (
    <main id="main" className="home" tabIndex={-1}>
      <DocumentTitle>Chats</DocumentTitle>
      <h1>Choose a chat, or start one with New chat</h1>
    </main>
  )
}
