import { analyzeChunk } from '../../../pipeline/analyze-chunk.ts'
import { decodeChunk } from '../../../pipeline/chunk-format.ts'
import { type SampleColumns, sampleData, uuidAt } from '../../../pipeline/samples.ts'

const MOST_ROWS = 20
const MOST_BYTES = 16

/** A chunk as the page shows it. */
export interface OpenedChunk {
  readonly chunkId: string
  readonly libraryVersion: string
  readonly rows: number
  readonly bytes: number
  readonly fileBytes: number
  /** ISO 8601; null of a chunk without rows. */
  readonly from: string | null
  readonly to: string | null
  /** Null where the page may not hash: over plain HTTP from another machine. */
  readonly sha256: string | null
  readonly battery: string
  readonly devices: readonly ChunkDevice[]
  readonly firstRows: readonly ChunkRow[]
}

export type ChunkDevice = ReturnType<typeof analyzeChunk>['metrics']['devices'][number] & {
  readonly results: ReturnType<typeof analyzeChunk>['tests']['devices'][number]['results']
}

export interface ChunkRow {
  readonly deviceId: string
  readonly timestamp: string
  readonly sequence: string
  readonly bytes: number
  /** The first bytes, hexadecimal. */
  readonly hex: string
}

/** Decodes a chunk and runs the battery that the pipeline runs on it. Throws CHUNK_FORMAT for anything else. */
export async function openChunk(bytes: Uint8Array<ArrayBuffer>): Promise<OpenedChunk> {
  const { samples, meta } = decodeChunk(bytes)
  const { tests, metrics } = analyzeChunk(samples)
  const [from, to] = extent(samples.timestamp)
  return {
    chunkId: meta.chunkId,
    libraryVersion: meta.libraryVersion,
    rows: samples.rows,
    bytes: samples.data.length,
    fileBytes: bytes.length,
    from,
    to,
    sha256: await sha256Of(bytes),
    battery: tests.version,
    devices: metrics.devices.map((device, i) => ({ ...device, results: tests.devices[i].results })),
    firstRows: Array.from({ length: Math.min(MOST_ROWS, samples.rows) }, (_, row) => describeRow(samples, row)),
  }
}

function describeRow(samples: SampleColumns, row: number): ChunkRow {
  const data = sampleData(samples, row)
  return {
    deviceId: uuidAt(samples.deviceId, row),
    timestamp: isoOf(samples.timestamp[row]),
    sequence: samples.sequence[row].toString(),
    bytes: data.length,
    hex: [...data.subarray(0, MOST_BYTES)].map((byte) => byte.toString(16).padStart(2, '0')).join(' '),
  }
}

function extent(timestamps: BigInt64Array): [string | null, string | null] {
  if (timestamps.length === 0) return [null, null]
  let [least, most] = [timestamps[0], timestamps[0]]
  for (const time of timestamps) {
    if (time < least) least = time
    if (time > most) most = time
  }
  return [isoOf(least), isoOf(most)]
}

/** Microseconds since 1970, to the millisecond. */
function isoOf(microseconds: bigint): string {
  return new Date(Number(microseconds / 1000n)).toISOString()
}

async function sha256Of(bytes: Uint8Array<ArrayBuffer>): Promise<string | null> {
  // Only secure contexts have it: https, and this machine itself.
  if (globalThis.crypto?.subtle === undefined) return null
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
