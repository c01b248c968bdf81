// A notice in place of the content of a page.

"use client"

import type { ReactNode } from "react"

/** A placeholder for a page that is loading, empty or failed. */
export function Notice({ children, retry }: { children: ReactNode; retry?: (() => unknown) | undefined }) {
  return (
    <div className="notice" role={retry ? "alert" : "status"}>
      <p>{children}</p>
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  )
}
