import { redirect } from "next/navigation"
import { AuthError } from "next-auth"
import { signIn } from "@/auth"
import { isDemo } from "@/lib/environment"

interface Props {
  searchParams: Promise<{ callbackUrl?: string; error?: string }>
}

async function submit(form: FormData) {
  "use server"
  const provider = String(form.get("provider"))
  const redirectTo = String(form.get("callbackUrl"))
  try {
    await signIn(provider, { name: form.get("name"), redirectTo }) // Auth.js redirects to this site only.
  } catch (error) {
    if (!(error instanceof AuthError)) throw error // A redirect is an error, too.
    redirect(`/sign-in?${new URLSearchParams({ callbackUrl: redirectTo, error: "1" })}`)
  }
}

export default async function SignInPage({ searchParams }: Props) {
  const { callbackUrl = "/", error } = await searchParams
  const hasGitHub = Boolean(process.env.AUTH_GITHUB_ID)
  const hidden = (provider: string) => (
    <>
      <input type="hidden" name="provider" value={provider} />
      <input type="hidden" name="callbackUrl" value={callbackUrl} />
    </>
  )
  return (
    <main className="notice sign-in">
      <title>Sign in · Parley</title>
      <h1>Sign in to Parley</h1>
      {error && <p role="alert">The sign-in failed. Please try again.</p>}
      {hasGitHub && (
        <form action={submit}>
          {hidden("github")}
          <button type="submit" className="primary">
            Continue with GitHub
          </button>
        </form>
      )}
      {isDemo() && <DemoForms hidden={hidden("demo")} />}
      {!hasGitHub && !isDemo() && <p>No sign-in is configured. See README.md.</p>}
    </main>
  )
}

function DemoForms({ hidden }: { hidden: React.ReactNode }) {
  return (
    <>
      <p>This is a demo: there are no passwords.</p>
      <form action={submit}>
        {hidden}
        <button type="submit" className="primary" name="name" value="Alice">
          Continue as Alice
        </button>
        <button type="submit" className="primary" name="name" value="Bob">
          Continue as Bob
        </button>
      </form>
      <form action={submit}>
        {hidden}
        <div className="field">
          <label htmlFor="name">Another name</label>
          <input id="name" name="name" required maxLength={100} autoComplete="username" />
        </div>
        <button type="submit">Continue</button>
      </form>
    </>
  )
}
