// Images for upload: whatever the browser can decode becomes a JPEG, PNG or GIF within the API's limits.

import { ParleyError } from "../http/errors.js"

const MAX_BYTES = 5_242_880
/** In pixels. */
const MAX_SIDE = 2048
const QUALITY = 0.85
/** Each attempt after the first one has three quarters of the width and height. */
const MAX_ATTEMPTS = 8

/**
 * Return the file itself if the API accepts it, otherwise a smaller or converted image: a PNG if it has transparent
 * pixels, else a JPEG. Animated GIFs are returned as they are, since scaling would lose their frames.
 *
 * @throws ParleyError `validation_error` if the browser cannot decode the file.
 */
export async function resizeImage(file: Blob): Promise<Blob> {
  const format = await detectFormat(file)
  if (format === "animation") return file
  const bitmap = await createImageBitmap(file).catch(() => {
    const message = "is not an image that this browser can decode"
    throw new ParleyError(`The file ${message}.`, "validation_error", 0, { image: message })
  })
  try {
    const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height))
    if (format && scale === 1 && file.size <= MAX_BYTES) return file
    return await encode(bitmap, scale)
  } finally {
    bitmap.close()
  }
}

/** Return the format if the API accepts it, by the content of the file, as the API does. */
async function detectFormat(file: Blob): Promise<"still" | "animation" | null> {
  const start = await readText(file.slice(0, 4))
  if (start === "GIF8") return isAnimated(await readText(file)) ? "animation" : "still"
  return start.startsWith("\xff\xd8\xff") || start.endsWith("PNG") ? "still" : null
}

/** A GIF has a graphic control extension for each frame; the first one may lack it. */
function isAnimated(gif: string): boolean {
  return gif.split("\x21\xf9\x04").length > 2
}

/** Return the bytes of a file as characters: of those from 0x80 to 0x9f, other ones. */
async function readText(file: Blob): Promise<string> {
  return new TextDecoder("latin1").decode(await file.arrayBuffer())
}

async function encode(bitmap: ImageBitmap, firstScale: number): Promise<Blob> {
  let scale = firstScale
  for (let attempt = 1; ; attempt++) {
    const canvas = draw(bitmap, scale)
    const type = hasTransparency(canvas) ? "image/png" : "image/jpeg"
    const blob = await canvas.convertToBlob({ type, quality: QUALITY })
    if (blob.size <= MAX_BYTES || attempt === MAX_ATTEMPTS) return blob
    scale *= 0.75
  }
}

function draw(bitmap: ImageBitmap, scale: number): OffscreenCanvas {
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)))
  const canvas = new OffscreenCanvas(width as number, height as number)
  const context = getContext(canvas)
  context.imageSmoothingQuality = "high"
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  return canvas
}

function hasTransparency(canvas: OffscreenCanvas): boolean {
  const { data } = getContext(canvas).getImageData(0, 0, canvas.width, canvas.height)
  for (let alpha = 3; alpha < data.length; alpha += 4) {
    if (data[alpha] !== 255) return true
  }
  return false
}

function getContext(canvas: OffscreenCanvas): OffscreenCanvasRenderingContext2D {
  const context = canvas.getContext("2d")
  if (!context) throw new ParleyError("This browser cannot scale images.", "validation_error", 0)
  return context
}
