import path from "node:path"
import type { NextConfig } from "next"

// npm installs the packages of a workspace in its root, one directory up.
const root = path.join(import.meta.dirname, "..")

const config: NextConfig = {
  distDir: process.env.NEXT_DIST_DIR ?? ".next",
  outputFileTracingRoot: root,
  turbopack: { root },
  poweredByHeader: false,
  devIndicators: false, // Its badge would cover the composer on a phone.
  // Next.js would otherwise add each NEXT_DIST_DIR to tsconfig.json.
  experimental: { strictRouteTypes: true },
  async headers() {
    const headers = [
      { key: "X-Content-Type-Options", value: "nosniff" },
      { key: "Referrer-Policy", value: "same-origin" },
      { key: "Permissions-Policy", value: "camera=(), geolocation=(), microphone=()" },
    ]
    return [{ source: "/:path*", headers }]
  },
}

export default config
