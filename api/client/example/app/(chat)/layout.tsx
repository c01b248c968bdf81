import { redirect } from "next/navigation"
import type { ReactNode } from "react"
import { auth } from "@/auth"
import { Shell } from "@/components/shell"
import { readClientConfig } from "@/lib/environment"

export default async function ChatLayout({ children }: { children: ReactNode }) {
  const userId = (await auth())?.user?.id
  if (!userId) redirect("/sign-in")
  return (
    <Shell key={userId} config={readClientConfig()} userId={userId}>
      {children}
    </Shell>
  )
}
