// Forms: submitting, and errors beside their fields.

"use client"

import { ParleyError } from "@parley/client"
import {
  type ComponentProps,
  type FormEvent,
  type KeyboardEvent,
  type ReactNode,
  startTransition,
  useActionState,
  useId,
} from "react"

/** Handles the submission of a form: runs an action, and returns whether it is running and the error of the last run. */
export function useSubmit(action: (form: FormData) => Promise<unknown>) {
  const [error, run, isPending] = useActionState(async (_: ParleyError | null, form: FormData) => {
    try {
      await action(form)
      return null
    } catch (error) {
      if (error instanceof ParleyError) return error
      throw error
    }
  }, null)
  const onSubmit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    if (!isPending) startTransition(() => run(form))
  }
  return { error, isPending, onSubmit }
}

/** Enter submits the form of a text area, unless it completes a word of an input method; Shift+Enter adds a line. */
export function submitOnEnter(event: KeyboardEvent<HTMLTextAreaElement>): void {
  if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return
  event.preventDefault()
  event.currentTarget.form?.requestSubmit()
}

/** The error of a form, unless it is shown beside one of the `fields`. */
export function FormError({ error, fields = [] }: { error: ParleyError | null | undefined; fields?: string[] }) {
  if (!error || fields.some((field) => error.fields[field])) return null
  return (
    <p role="alert" className="error">
      {Object.values(error.fields)[0] ?? error.message}
    </p>
  )
}

interface FieldProps {
  label: string
  name: string
  /** Why the value is invalid. */
  error?: string | undefined
}

/** A label, an input and its error. */
export function Field({ label, error, ...input }: FieldProps & ComponentProps<"input">) {
  return <FieldFrame {...{ label, error }}>{(props) => <input dir="auto" {...input} {...props} />}</FieldFrame>
}

export function TextArea({ label, error, ...input }: FieldProps & ComponentProps<"textarea">) {
  return (
    <FieldFrame {...{ label, error }}>{(props) => <textarea dir="auto" rows={3} {...input} {...props} />}</FieldFrame>
  )
}

export function Select({
  label,
  error,
  options,
  ...input
}: FieldProps & ComponentProps<"select"> & { options: string[] }) {
  return (
    <FieldFrame {...{ label, error }}>
      {(props) => (
        <select {...input} {...props}>
          {options.map((option) => (
            <option key={option} value={option}>
              {option[0]?.toUpperCase() + option.slice(1)}
            </option>
          ))}
        </select>
      )}
    </FieldFrame>
  )
}

type InputProps = { id: string; "aria-invalid": boolean; "aria-describedby": string | undefined }

function FieldFrame(props: { label: string; error?: string | undefined; children: (input: InputProps) => ReactNode }) {
  const id = useId()
  const errorId = props.error && `${id}-error`
  return (
    <div className="field">
      <label htmlFor={id}>{props.label}</label>
      {props.children({ id, "aria-invalid": Boolean(errorId), "aria-describedby": errorId || undefined })}
      {errorId && (
        <p id={errorId} className="error" role="alert">
          {props.label}: {props.error}
        </p>
      )}
    </div>
  )
}
