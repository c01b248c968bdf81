// The server's environment. It is read at run time, so that one build runs everywhere.

import type { ParleyOptions } from "@parley/client"

/** What the browser needs to know about Parley and Pusher. None of it is secret. */
export type ClientConfig = Pick<ParleyOptions, "url" | "pusher">

const { env } = process

/** Whether anybody may sign in under any name. Only for development: `parley dev --web` sets it. */
export const isDemo = () => env.DEMO_SIGN_IN === "1"

/** Throws an error that names all missing variables. */
export function checkEnvironment(): void {
  const required = [["PARLEY_URL"], ["PUSHER_KEY"], ["PUSHER_CLUSTER", "PUSHER_HOST"], ["AUTH_SECRET"]]
  const missing = required.filter((names) => !names.some((name) => env[name])).map((names) => names.join(" or "))
  if (missing.length) throw new Error(`Set the environment variables ${missing.join(", ")}: see README.md`)
}

export function readClientConfig(): ClientConfig {
  checkEnvironment()
  const host = env.PUSHER_HOST
  const port = env.PUSHER_PORT
  const server = { host, ...(port && { port: Number(port) }), useTLS: env.PUSHER_USE_TLS !== "false" }
  return {
    url: env.PARLEY_URL ?? "",
    pusher: {
      key: env.PUSHER_KEY ?? "",
      ...(host ? { ...server, host } : { cluster: env.PUSHER_CLUSTER ?? "" }),
    },
  }
}
