// Print the gzipped sizes of the minified package without pusher-js and React: what a page loads before `start()`, and
// all chunks together. Fail if one of them is over its limit.

import { gzipSync } from "node:zlib"
import { build } from "esbuild"

const LIMITS = { first: 15_750, total: 19_500 } // bytes

const { metafile, outputFiles } = await build({
  entryPoints: { index: "src/index.ts", react: "src/react/index.ts" },
  outdir: "out",
  bundle: true,
  splitting: true,
  minify: true,
  write: false,
  metafile: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  external: ["pusher-js", "react"],
})

const sizes = {}
for (const { path, contents } of outputFiles) {
  const output = Object.keys(metafile.outputs).find((name) => path.endsWith(`/${name}`))
  sizes[output] = gzipSync(contents, { level: 9 }).length
}

/** Return a file and all files that it imports statically, which load with it. */
function findLoaded(output, loaded = new Set()) {
  if (loaded.has(output)) return loaded
  loaded.add(output)
  for (const { path, kind, external } of metafile.outputs[output].imports) {
    if (kind === "import-statement" && !external) findLoaded(path, loaded)
  }
  return loaded
}

const sum = (outputs) => [...outputs].reduce((total, output) => total + sizes[output], 0)
const results = { first: sum(findLoaded("out/index.js")), total: sum(Object.keys(sizes)) }
for (const [name, limit] of Object.entries(LIMITS)) {
  console.log(`${name}: ${results[name].toLocaleString("en")} bytes, at most ${limit.toLocaleString("en")}`)
  if (results[name] > limit) process.exitCode = 1
}
