// The form of an upload.

/** Return the form that uploads an image, typed as the body that the API document describes. */
export async function uploadForm(file: Blob): Promise<{ image: string }> {
  const form = new FormData()
  form.append("image", file)
  return form as unknown as { image: string }
}
