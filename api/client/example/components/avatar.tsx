// The picture of a user.

"use client"

interface AvatarProps {
  name: string | null | undefined
  image: string | null | undefined
  isOnline?: boolean
}

export function Avatar({ name, image, isOnline = false }: AvatarProps) {
  return (
    <span className="avatar">
      {/* biome-ignore lint/performance/noImgElement: the image may be of any site, and is small. */}
      {image ? <img src={image} alt="" /> : <span aria-hidden>{Array.from(name || "?")[0]?.toUpperCase()}</span>}
      {isOnline && (
        <span className="online">
          <span className="visually-hidden">online</span>
        </span>
      )}
    </span>
  )
}
