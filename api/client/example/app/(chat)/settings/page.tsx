import { signOut } from "@/auth"
import { Page } from "@/components/page"
import { Settings } from "@/components/settings"

async function submit() {
  "use server"
  await signOut({ redirectTo: "/sign-in" })
}

export default function SettingsPage() {
  return (
    <Page title="Settings">
      <div className="scroll content-width">
        <Settings />
        <form action={submit} className="buttons">
          <button type="submit">Sign out</button>
        </form>
      </div>
    </Page>
  )
}
