// The form of an upload.

import { resizeImage } from "../images/resize.js"

/** Return the form that uploads an image within the API's limits, typed as the body that the API document describes. */
export async function uploadForm(file: Blob): Promise<{ image: string }> {
  const form = new FormData()
  form.append("image", await resizeImage(file))
  return form as unknown as { image: string }
}
