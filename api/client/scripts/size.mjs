// Print the gzipped size of the minified package without pusher-js and React: what a page loads at first, and the chunks
// that it loads when it connects and when it uploads an image. Fail if one is over its limit.

import { gzipSync } from "node:zlib"
import { build } from "esbuild"

const LIMITS = { index: 16_000, connection: 3_000, resize: 1_500, react: 1_000 } // bytes
const ENTRY_POINTS = { index: "src/index.ts", react: "src/react/index.ts" }

const { outputFiles } = await build({
  entryPoints: ENTRY_POINTS,
  outdir: "out",
  entryNames: "[name]",
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  minify: true,
  write: false,
  format: "esm",
  platform: "browser",
  target: "es2022",
  external: ["pusher-js", "react"],
})

const sizes = {}
for (const { path, contents } of outputFiles) {
  const name = path.split("/").at(-1).split(/[-.]/)[0]
  // A chunk that several others share is a part of the first one.
  const part = name === "chunk" ? "index" : name
  sizes[part] = (sizes[part] ?? 0) + gzipSync(contents, { level: 9 }).length
}
for (const [name, limit] of Object.entries(LIMITS)) {
  console.log(`${name}: ${sizes[name].toLocaleString("en")} bytes, at most ${limit.toLocaleString("en")}`)
  if (sizes[name] > limit) process.exitCode = 1
}
