import { indexUuids } from './uuid-dictionary.ts'

/**
 * Samples in columns: the in-memory form of a chunk. Row r of every column belongs to one row of `entropy_samples`.
 * Ids are the 16 raw bytes of the uuid. No per-row objects are made anywhere on the hot path.
 */
export interface SampleColumns {
  /** Number of rows. */
  readonly rows: number
  /** 16 * rows bytes. */
  readonly id: Uint8Array
  /** 16 * rows bytes. */
  readonly deviceId: Uint8Array
  /** 16 * rows bytes. */
  readonly profileId: Uint8Array
  /** Microseconds since 1970-01-01T00:00:00Z, one per row. */
  readonly timestamp: BigInt64Array
  readonly sequence: BigInt64Array
  /** The `byte_length` column as the device claimed it; the true length is in `dataOffsets`. */
  readonly byteLength: Int32Array
  /** rows + 1 offsets into `data`; row r is data[dataOffsets[r], dataOffsets[r+1]). */
  readonly dataOffsets: Int32Array
  readonly data: Uint8Array
}

/** The payload bytes of row `row`, without copying. */
export function sampleData(samples: SampleColumns, row: number): Uint8Array {
  return samples.data.subarray(samples.dataOffsets[row], samples.dataOffsets[row + 1])
}

const HEX: string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** The uuid at `index` of a column of 16-byte ids, in its usual text form. */
export function uuidAt(column: Uint8Array, index: number): string {
  const at = index * 16
  let text = ''
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += '-'
    text += HEX[column[at + i]]
  }
  return text
}

/** The 16 bytes of a uuid's text form. Throws RangeError on anything else. */
export function uuidBytes(text: string): Uint8Array {
  const hex = text.replaceAll('-', '')
  if (!/^[0-9a-fA-F]{32}$/.test(hex)) throw new RangeError(`not a uuid: ${JSON.stringify(text)}`)
  return Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16))
}

/** True if rows a and b of a 16-byte id column are equal. */
export function sameUuid(column: Uint8Array, a: number, b: number): boolean {
  for (let i = 0; i < 16; i++) if (column[a * 16 + i] !== column[b * 16 + i]) return false
  return true
}

/** First and last time (UTC, ISO 8601 with microseconds) and the devices, in order of their ids, of samples in any order. */
export function sampleExtents(samples: SampleColumns): { from: string; to: string; deviceIds: string[] } {
  if (samples.rows === 0) throw new RangeError('no samples have no extents')
  let [first, last] = [samples.timestamp[0], samples.timestamp[0]]
  for (let row = 1; row < samples.rows; row++) {
    const time = samples.timestamp[row]
    if (time < first) first = time
    if (time > last) last = time
  }
  const { entries } = indexUuids(samples.deviceId)
  const deviceIds = Array.from({ length: entries.length / 16 }, (_, position) => uuidAt(entries, position)).toSorted()
  return { from: isoMicroseconds(first), to: isoMicroseconds(last), deviceIds }
}

/** 2026-01-31T12:00:00.123456Z of microseconds since 1970; RangeError outside what a Date can hold. */
function isoMicroseconds(time: bigint): string {
  const within = ((time % 1000n) + 1000n) % 1000n
  const ms = new Date(Number((time - within) / 1000n)).toISOString().slice(0, -1)
  return `${ms}${String(within).padStart(3, '0')}Z`
}

/** Bytes of memory that the columns of `rows` rows with `bytes` payload bytes in all take. */
export function sizeOfSamples(rows: number, bytes: number): number {
  return (16 * 3 + 8 * 2 + 4 * 2) * rows + 4 + bytes
}

/**
 * Columns for `rows` rows of `bytes` payload bytes in all, to be filled by whoever makes them: all of them, and `dataOffsets[0]`,
 * if `memory` of that size, aligned to 8 bytes, is not fresh.
 */
export function allocateSamples(
  rows: number,
  bytes: number,
  memory: Uint8Array = new Uint8Array(sizeOfSamples(rows, bytes)),
): SampleColumns {
  const { buffer, byteOffset } = memory
  let at = byteOffset
  /** The next `length` bytes begin here: the widest columns first, so that each is aligned. */
  const place = (length: number): number => {
    at += length
    return at - length
  }
  return {
    rows,
    timestamp: new BigInt64Array(buffer, place(8 * rows), rows),
    sequence: new BigInt64Array(buffer, place(8 * rows), rows),
    id: new Uint8Array(buffer, place(16 * rows), 16 * rows),
    deviceId: new Uint8Array(buffer, place(16 * rows), 16 * rows),
    profileId: new Uint8Array(buffer, place(16 * rows), 16 * rows),
    byteLength: new Int32Array(buffer, place(4 * rows), rows),
    dataOffsets: new Int32Array(buffer, place(4 * rows + 4), rows + 1),
    data: new Uint8Array(buffer, place(bytes), bytes),
  }
}
