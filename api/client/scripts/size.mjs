// Print the size of the bundles, minified and gzipped, without pusher-js and React; fail if one is over the limit.

import { existsSync } from "node:fs"
import { gzipSync } from "node:zlib"
import { build } from "esbuild"

const LIMIT = 12_000
const ENTRIES = {
  "@parley/client": ["src/index.ts"],
  "@parley/client/react": ["src/react/index.ts", "src/react/index.tsx"],
}

for (const [name, files] of Object.entries(ENTRIES)) {
  const entryPoints = files.filter((file) => existsSync(file))
  const { outputFiles } = await build({
    entryPoints,
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    platform: "browser",
    target: "es2022",
    external: ["pusher-js", "react"],
  })
  const size = outputFiles.reduce((total, { contents }) => total + gzipSync(contents, { level: 9 }).length, 0)
  console.log(`${name}: ${size.toLocaleString("en")} bytes`)
  if (size > LIMIT) {
    console.error(`${name} has more than ${LIMIT.toLocaleString("en")} bytes.`)
    process.exitCode = 1
  }
}
