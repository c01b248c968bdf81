// Dialogs. The browser keeps the focus inside, and returns it to where it was.

"use client"

import { type ReactNode, type SyntheticEvent, useId, useLayoutEffect, useRef } from "react"
import { FormError, useSubmit } from "@/components/form"

interface DialogProps {
  title: string
  onClose: () => void
  children: ReactNode
}

/** A modal dialog, which is open while it is mounted. */
export function Dialog({ title, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  const titleId = useId()
  useLayoutEffect(() => {
    const element = dialog.current
    element?.showModal()
    return () => element?.close() // Before the element is removed, or the focus would be lost.
  }, [])
  // The event is queued, so React's StrictMode, which mounts twice, gets that of the first time when the dialog is open
  // again. A close event of a dialog inside this one bubbles in React.
  const handleClose = (event: SyntheticEvent) => {
    if (event.target === dialog.current && !dialog.current.open) onClose()
  }
  return (
    <dialog ref={dialog} aria-labelledby={titleId} onClose={handleClose}>
      <header>
        <h2 id={titleId} dir="auto">
          {title}
        </h2>
        <button type="button" className="plain" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </header>
      {children}
    </dialog>
  )
}

interface ConfirmProps extends DialogProps {
  /** The text of the button. */
  label: string
  action: () => Promise<unknown>
}

/** Asks before an action that cannot be undone, and closes after it. */
export function Confirm({ label, action, children, ...dialog }: ConfirmProps) {
  const { error, isPending, onSubmit } = useSubmit(async () => {
    await action()
    dialog.onClose()
  })
  return (
    <Dialog {...dialog}>
      <form onSubmit={onSubmit}>
        <p>{children}</p>
        <FormError error={error} />
        <p className="buttons">
          <button type="button" onClick={dialog.onClose}>
            Cancel
          </button>
          <button type="submit" className="danger" disabled={isPending}>
            {label}
          </button>
        </p>
      </form>
    </Dialog>
  )
}
