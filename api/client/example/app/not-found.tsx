import Link from "next/link"

export default function NotFound() {
  return (
    <main className="notice">
      <title>Page not found · Parley</title>
      <h1>Page not found</h1>
      <Link href="/">All chats</Link>
    </main>
  )
}
