// The extract of a search hit: HTML in which `<mark>` is the only element.

/** A part of an extract; `isMatch` parts match the search. */
export interface ExtractPart {
  readonly text: string
  readonly isMatch: boolean
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" }

/** Parse the `extract` of a search hit into plain text, so that no page needs to insert HTML. */
export function parseExtract(html: string): ExtractPart[] {
  return html.split(/<mark>(.*?)<\/mark>/s).flatMap((part, index) => {
    const text = part.replace(/&(amp|lt|gt|quot|#39);/g, (entity, name: string) => ENTITIES[name] ?? entity)
    return text ? [{ text, isMatch: index % 2 === 1 }] : []
  })
}
