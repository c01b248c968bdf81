// The form of an upload.

/** Return the form that uploads an image within the API's limits, typed as the body that the API document describes. */
export async function createUploadForm(file: Blob): Promise<{ image: string }> {
  const { resizeImage } = await import("../images/resize.js") // Most pages upload nothing.
  const form = new FormData()
  form.append("image", await resizeImage(file))
  return form as unknown as { image: string }
}
