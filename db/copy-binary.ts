import { CoherenceError } from '../pipeline/errors.ts'
import { wordsOf } from '../pipeline/gather-rows.ts'
import { allocateSamples, type SampleColumns } from '../pipeline/samples.ts'

/** The columns of a chunk, in the order that `parseSampleCopy` expects them in the COPY. */
export const SAMPLE_COLUMNS = 'id, device_id, profile_id, "timestamp", sequence, byte_length, sample_data'

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1')
const FIELDS = 7
/** PostgreSQL counts microseconds from 2000-01-01, everybody else from 1970-01-01. */
const POSTGRES_EPOCH_US = 946_684_800_000_000n
const EPOCH_LOW = Number(POSTGRES_EPOCH_US & 0xffff_ffffn)
const EPOCH_HIGH = Number(POSTGRES_EPOCH_US >> 32n)
/** Field count, seven lengths and the fixed-width values: the bytes of a row before its payload. */
const ROW_HEAD = 2 + FIELDS * 4 + 16 * 3 + 8 + 8 + 4

/** Takes the pieces of a COPY, cut anywhere and valid only during the call; `end` returns what they hold. */
export interface SampleParser {
  readonly push: (piece: Buffer) => void
  readonly end: () => SampleColumns
}

/**
 * Reads `COPY (select SAMPLE_COLUMNS …) TO STDOUT (FORMAT binary)` straight into columns, without an object per row.
 * `expected` sizes the columns, in `memory` if that is given and in memory of their own if not; they grow, out of it, if more
 * rows come, after `admit` has been told how many rows and bytes there are: it may throw. Both functions throw CHUNK_FORMAT if
 * the data are not what was asked for.
 */
export function openSampleParser(
  expected: { rows: number; bytes: number },
  { memory, admit }: { memory?: Uint8Array; admit?: (rows: number, bytes: number) => void } = {},
): SampleParser {
  let columns = allocateSamples(expected.rows, expected.bytes, memory)
  columns.dataOffsets[0] = 0
  let words = wordColumns(columns)
  let rows = 0
  let used = 0
  let ended = false
  // A row, or the header, of which only a part has come.
  let rest: Buffer = Buffer.alloc(0)
  let wanted = wantedOfHeader

  /** Takes the row at `at`, which is there as a whole. */
  const takeRow = (buffer: Buffer, at: number): void => {
    const length = bigEndian(buffer, at + ROW_HEAD - 4)
    if (rows === columns.sequence.length || used + length > columns.data.length) {
      admit?.(rows + 1, used + length)
      columns = grow(columns, rows, used, length)
      words = wordColumns(columns)
    }
    // Lengths of the fixed-width fields are known; skip them: 2 + 4, then 16 + 4, and so on.
    copyUuid(buffer, at + 6, words.id, rows)
    copyUuid(buffer, at + 26, words.deviceId, rows)
    copyUuid(buffer, at + 46, words.profileId, rows)
    const low = (bigEndian(buffer, at + 70) >>> 0) + EPOCH_LOW
    words.timestamp[2 * rows] = low
    words.timestamp[2 * rows + 1] = bigEndian(buffer, at + 66) + EPOCH_HIGH + (low > 0xffff_ffff ? 1 : 0)
    words.sequence[2 * rows] = bigEndian(buffer, at + 82)
    words.sequence[2 * rows + 1] = bigEndian(buffer, at + 78)
    columns.byteLength[rows] = bigEndian(buffer, at + 90)
    copyBytes(buffer, at + ROW_HEAD, columns.data, used, length)
    used += length
    rows++
    columns.dataOffsets[rows] = used
  }
  const take = (buffer: Buffer, at: number): void => {
    if (wanted === wantedOfHeader) {
      wanted = wantedOfRow
    } else if (buffer.readInt16BE(at) === -1) {
      ended = true
    } else {
      takeRow(buffer, at)
    }
  }

  const push = (piece: Buffer): void => {
    let at = 0
    while (at < piece.length) {
      if (ended) throw malformed('bytes after the end')
      if (rest.length > 0) {
        // No more of the piece than completes it: the rest of the piece is read where it is.
        const missing = wanted(rest, 0) - rest.length
        if (missing === 0) {
          take(rest, 0)
          rest = Buffer.alloc(0)
        } else {
          const more = Math.min(missing, piece.length - at)
          rest = Buffer.concat([rest, piece.subarray(at, at + more)])
          at += more
        }
        continue
      }
      const length = wanted(piece, at)
      if (piece.length - at < length) {
        rest = Buffer.from(piece.subarray(at))
        at = piece.length
      } else {
        take(piece, at)
        at += length
      }
    }
    if (rest.length > 0 && wanted(rest, 0) === rest.length) {
      take(rest, 0)
      rest = Buffer.alloc(0)
    }
  }
  const end = (): SampleColumns => {
    if (!ended || rest.length > 0) throw malformed('the stream ended in the middle of a row')
    return {
      rows,
      id: columns.id.subarray(0, rows * 16),
      deviceId: columns.deviceId.subarray(0, rows * 16),
      profileId: columns.profileId.subarray(0, rows * 16),
      timestamp: columns.timestamp.subarray(0, rows),
      sequence: columns.sequence.subarray(0, rows),
      byteLength: columns.byteLength.subarray(0, rows),
      dataOffsets: columns.dataOffsets.subarray(0, rows + 1),
      data: columns.data.subarray(0, used),
    }
  }
  return { push, end }
}

/** Bytes of the header at `at`, or of as much of it as says how long it is. */
function wantedOfHeader(buffer: Buffer, at: number): number {
  if (buffer.length - at < 19) return 19
  if (!buffer.subarray(at, at + 11).equals(SIGNATURE)) throw malformed('no COPY signature')
  return 19 + buffer.readInt32BE(at + 15)
}

/** The same of a row, or of what stands for the end. */
function wantedOfRow(buffer: Buffer, at: number): number {
  if (buffer.length - at < 2) return 2
  const fields = buffer.readInt16BE(at)
  if (fields === -1) return 2
  if (fields !== FIELDS) throw malformed(`${fields} fields in a row`)
  if (buffer.length - at < ROW_HEAD) return ROW_HEAD
  const length = buffer.readInt32BE(at + ROW_HEAD - 4)
  if (length < 0) throw malformed('a null payload')
  return ROW_HEAD + length
}

function grow(old: SampleColumns, rows: number, used: number, needed: number): SampleColumns {
  const larger = allocateSamples(Math.max(rows * 2, 1024), Math.max(old.data.length, used * 2, used + needed))
  larger.id.set(old.id.subarray(0, rows * 16))
  larger.deviceId.set(old.deviceId.subarray(0, rows * 16))
  larger.profileId.set(old.profileId.subarray(0, rows * 16))
  larger.timestamp.set(old.timestamp.subarray(0, rows))
  larger.sequence.set(old.sequence.subarray(0, rows))
  larger.byteLength.set(old.byteLength.subarray(0, rows))
  larger.dataOffsets.set(old.dataOffsets.subarray(0, rows + 1))
  larger.data.set(old.data.subarray(0, used))
  return larger
}

/** The columns of more than 32 bits as words of 32, lower half first: a bigint would be an object a value. */
function wordColumns(columns: SampleColumns) {
  const { id, deviceId, profileId, timestamp, sequence } = columns
  return {
    id: wordsOf(id),
    deviceId: wordsOf(deviceId),
    profileId: wordsOf(profileId),
    timestamp: wordsOf(timestamp),
    sequence: wordsOf(sequence),
  }
}

/** As `readInt32BE`, without its checks: the row is known to be there. */
function bigEndian(from: Uint8Array, at: number): number {
  return (from[at] << 24) | (from[at + 1] << 16) | (from[at + 2] << 8) | from[at + 3]
}

/** A uuid's 16 bytes as four words of a little-endian machine. */
function copyUuid(from: Uint8Array, at: number, to: Int32Array, row: number): void {
  for (let word = 0; word < 4; word++, at += 4) {
    to[4 * row + word] = from[at] | (from[at + 1] << 8) | (from[at + 2] << 16) | (from[at + 3] << 24)
  }
}

/** A loop beats a native copy's call overhead for short fields. */
function copyBytes(from: Buffer, at: number, to: Uint8Array, offset: number, length: number): void {
  if (length > 64) {
    from.copy(to, offset, at, at + length)
    return
  }
  for (let i = 0; i < length; i++) to[offset + i] = from[at + i]
}

function malformed(what: string): CoherenceError {
  return new CoherenceError('CHUNK_FORMAT', `the COPY stream of samples is malformed: ${what}`)
}
