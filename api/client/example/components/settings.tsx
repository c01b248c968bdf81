// The user's profile and settings.

"use client"

import type { Profile, Settings as SettingsData } from "@parley/client"
import { useParley, useProfile, useSettings } from "@parley/client/react"
import { useState } from "react"
import { Avatar } from "@/components/avatar"
import { Field, FormError, Select, TextArea, useSubmit } from "@/components/form"
import { Notice } from "@/components/notice"

export function Settings() {
  const profile = useProfile()
  const settings = useSettings()
  if (!profile || !settings) return <Notice>Loading settings…</Notice>
  return (
    <>
      <Picture profile={profile} />
      <ProfileForm key={`profile ${profile.updatedAt}`} profile={profile} />
      <SettingsForm settings={settings} />
    </>
  )
}

function Picture({ profile }: { profile: Profile }) {
  const parley = useParley()
  const { error, isPending, onSubmit } = useSubmit((form) => parley.uploadProfileImage(form.get("image") as File))
  return (
    <section className="picture">
      <h2>Profile</h2>
      <Avatar name={profile.name} image={profile.imageUrl} />
      <form onSubmit={onSubmit}>
        <label className="button file">
          <input
            type="file"
            name="image"
            accept="image/png,image/jpeg,image/gif"
            disabled={isPending}
            onChange={(event) => event.target.files?.length && event.target.form?.requestSubmit()}
          />
          Change picture
        </label>
        <p role="status">{isPending && "Uploading…"}</p>
        <FormError error={error} />
      </form>
    </section>
  )
}

function ProfileForm({ profile }: { profile: Profile }) {
  const parley = useParley()
  const [isSaved, setIsSaved] = useState(false)
  const { error, isPending, onSubmit } = useSubmit(async (form) => {
    setIsSaved(false)
    await parley.updateProfile(changesOf(form, profile))
    setIsSaved(true)
  })
  return (
    <form onSubmit={onSubmit}>
      <Field label="Name" name="name" defaultValue={profile.name ?? ""} error={error?.fields.name} />
      <Field
        label="E-mail address"
        name="email"
        type="email"
        defaultValue={profile.email ?? ""}
        error={error?.fields.email}
      />
      <p>
        Your ID: <code>{profile.id}</code>
      </p>
      <FormError error={error} fields={["name", "email"]} />
      <Save label="Save profile" isPending={isPending} isSaved={isSaved} />
    </form>
  )
}

const FIELDS = ["theme", "responseStyle", "alwaysShowCode", "model", "runtime", "context"]

function SettingsForm({ settings }: { settings: SettingsData }) {
  const parley = useParley()
  const [isSaved, setIsSaved] = useState(false)
  const { error, isPending, onSubmit } = useSubmit(async (form) => {
    setIsSaved(false)
    const alwaysShowCode = form.has("alwaysShowCode")
    form.delete("alwaysShowCode")
    await parley.updateSettings({ ...changesOf(form, settings), alwaysShowCode })
    setIsSaved(true)
  })
  const field = (name: keyof SettingsData & string) => ({
    name,
    defaultValue: String(settings[name] ?? ""),
    error: error?.fields[`settings.${name}`] ?? error?.fields[name],
  })
  return (
    <section>
      <h2>Settings</h2>
      <form key={settings.updatedAt} onSubmit={onSubmit}>
        <Select label="Theme" options={["system", "light", "dark"]} {...field("theme")} />
        <p>This app only stores the settings below. Your own app can use them.</p>
        <Select label="Response style" options={["concise", "detailed"]} {...field("responseStyle")} />
        <label className="switch">
          <input type="checkbox" name="alwaysShowCode" defaultChecked={settings.alwaysShowCode} />
          Always show code
        </label>
        <Field label="Model" {...field("model")} />
        <Field label="Runtime" {...field("runtime")} />
        <TextArea label="Context" {...field("context")} />
        <FormError error={error} fields={FIELDS.flatMap((name) => [name, `settings.${name}`])} />
        <Save label="Save settings" isPending={isPending} isSaved={isSaved} />
      </form>
    </section>
  )
}

/** The fields of a form that differ from `current`. */
function changesOf(form: FormData, current: object): Record<string, string> {
  const before = new Map(Object.entries(current))
  const entries = [...form].map(([name, value]): [string, string] => [name, String(value)])
  return Object.fromEntries(entries.filter(([name, value]) => value !== (before.get(name) ?? "")))
}

function Save({ label, isPending, isSaved }: { label: string; isPending: boolean; isSaved: boolean }) {
  return (
    <p className="buttons">
      <span role="status">{isSaved && "Saved"}</span>
      <button type="submit" className="primary" disabled={isPending}>
        {label}
      </button>
    </p>
  )
}
