// The names and pictures of the users that were seen, and the profile of the user.

import type { components } from "../schema.js"
import type { Profile, Settings, User } from "../types.js"
import { Value } from "./value.js"

type SyncState = components["schemas"]["InitialState"]

/** The users that were seen; the user's own profile and settings. */
export class Users {
  readonly all = new Value<ReadonlyMap<string, User>>(new Map())
  readonly profile = new Value<Profile | null>(null)
  readonly settings = new Value<Settings | null>(null)

  has(userId: string): boolean {
    return this.all.getSnapshot().has(userId)
  }

  get(userId: string): User | undefined {
    return this.all.getSnapshot().get(userId)
  }

  /** Add users, or replace their names and pictures. */
  add(users: readonly (User | undefined)[] = []): void {
    const known = this.all.getSnapshot()
    const changed = users.filter((user): user is User => {
      const other = user && known.get(user.id)
      return user !== undefined && (!other || other.name !== user.name || other.imageUrl !== user.imageUrl)
    })
    if (!changed.length) return
    const all = new Map(known)
    for (const { id, name, imageUrl } of changed) all.set(id, { id, name, imageUrl })
    this.all.set(all)
    const profile = this.profile.getSnapshot()
    const own = changed.find(({ id }) => id === profile?.id)
    if (profile && own) this.profile.set({ ...profile, name: own.name, imageUrl: own.imageUrl })
  }

  /** Show the user of the state. */
  show({ user, settings, users }: SyncState): void {
    this.profile.set(user)
    this.settings.set(settings)
    this.add([...(users ?? []), { id: user.id, name: user.name, imageUrl: user.imageUrl }])
  }

  /** Change fields of the user's own profile. */
  updateProfile(changes: Partial<Profile>): void {
    const profile = this.profile.getSnapshot()
    if (!profile) return
    const { id, name, imageUrl } = { ...profile, ...changes }
    this.profile.set({ ...profile, ...changes })
    this.add([{ id, name, imageUrl }])
  }

  clear(): void {
    this.all.set(new Map())
    this.profile.set(null)
    this.settings.set(null)
  }
}
