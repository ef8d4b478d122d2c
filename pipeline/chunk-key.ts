/** What names a chunk's objects: its id, when it was created, and the sha256 (64 hex digits) of its Arrow file. */
export interface ChunkName {
  readonly chunkId: string
  readonly createdAt: Date
  readonly sha256: string
}

/**
 * The object key of a chunk: `v1/yyyy/mm/dd/<chunk id>-<first 16 of sha256>.arrow`, by the UTC day of its creation. The hash
 * gives each content a key of its own, so a second attempt never meets other bytes. RangeError for a malformed part.
 */
export function chunkKey(chunk: ChunkName): string {
  return `${keyStem(chunk)}.arrow`
}

/** The object key of the chunk's slice partials: the chunk's own key, ending in `.slices.arrow`. */
export function slicesKey(chunk: ChunkName): string {
  return `${keyStem(chunk)}.slices.arrow`
}

function keyStem({ chunkId, createdAt, sha256 }: ChunkName): string {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(chunkId)) {
    throw new RangeError(`not a uuid in lower case: ${JSON.stringify(chunkId)}`)
  }
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new RangeError(`not a sha256 in lower-case hex: ${JSON.stringify(sha256)}`)
  const day = createdAt.toISOString().slice(0, 10)
  if (!/^\d{4}-/.test(day)) throw new RangeError(`not a year of four digits: ${createdAt.toISOString()}`)
  return `v1/${day.replaceAll('-', '/')}/${chunkId}-${sha256.slice(0, 16)}`
}
