// pusher-js, loaded when it is needed: servers never load it, and pages need it only after they are shown.

import type module from "pusher-js"

export type PusherClass = typeof module.default
export type Pusher = InstanceType<PusherClass>

/** The types of pusher-js declare an ES module, whereas the package exports the class itself. */
export async function loadPusher(): Promise<PusherClass> {
  const exported = (await import("pusher-js")).default
  return exported.default ?? (exported as unknown as PusherClass)
}
