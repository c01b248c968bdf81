"use client"

export default function ErrorPage({ reset }: { reset: () => void }) {
  return (
    <main className="notice">
      <title>Error · Parley</title>
      <h1>Something went wrong</h1>
      <p>The page could not be shown.</p>
      <button type="button" onClick={reset}>
        Try again
      </button>
    </main>
  )
}
