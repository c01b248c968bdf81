// Runs once when the server starts.

import { checkEnvironment } from "@/lib/environment"

export function register() {
  checkEnvironment()
}
