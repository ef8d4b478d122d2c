import type { SampleColumns } from './samples.ts'

// Samples come in the order of their inserts, and a chunk has them by device. These write the rows of one column in another order,
// where they will stay: in sorted columns, or in the file itself.

/** 32-bit words of a column; in memory of their own if they are not aligned. */
export function wordsOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Int32Array {
  if (byteOffset % 4 === 0) return new Int32Array(buffer, byteOffset, byteLength / 4)
  return new Int32Array(new Uint8Array(buffer, byteOffset, byteLength).slice().buffer)
}

/** Writes the `rows` of a column of `width` bytes a row, a multiple of 4, into `target`, which is aligned to 4 bytes. */
export function gatherFixed(
  column: ArrayBufferView,
  width: 4 | 8 | 16,
  rows: Uint32Array,
  target: ArrayBufferView,
): void {
  const from = wordsOf(column)
  const to = new Int32Array(target.buffer, target.byteOffset, (width / 4) * rows.length)
  // Words: a bigint of a BigInt64Array would be an object, and `set` of a subarray costs more than 16 bytes do.
  if (width === 4) {
    for (let index = 0; index < rows.length; index++) to[index] = from[rows[index]]
  } else if (width === 8) {
    for (let index = 0; index < rows.length; index++) {
      to[2 * index] = from[2 * rows[index]]
      to[2 * index + 1] = from[2 * rows[index] + 1]
    }
  } else {
    for (let index = 0; index < rows.length; index++) {
      const [at, row] = [4 * index, 4 * rows[index]]
      to[at] = from[row]
      to[at + 1] = from[row + 1]
      to[at + 2] = from[row + 2]
      to[at + 3] = from[row + 3]
    }
  }
}

/** Payload bytes of these rows. */
export function payloadOf({ dataOffsets }: SampleColumns, rows: Uint32Array): number {
  let bytes = 0
  for (let index = 0; index < rows.length; index++) bytes += dataOffsets[rows[index] + 1] - dataOffsets[rows[index]]
  return bytes
}

/** Writes the offsets of these rows' payloads, rows + 1 of 32 bits from 0, into `target`, which is aligned to 4 bytes. */
export function gatherOffsets({ dataOffsets }: SampleColumns, rows: Uint32Array, target: ArrayBufferView): void {
  const to = new Int32Array(target.buffer, target.byteOffset, rows.length + 1)
  to[0] = 0
  for (let index = 0; index < rows.length; index++)
    to[index + 1] = to[index] + dataOffsets[rows[index] + 1] - dataOffsets[rows[index]]
}

/** Writes the payloads of these rows one after the other. */
export function gatherPayload({ data, dataOffsets }: SampleColumns, rows: Uint32Array, target: Uint8Array): void {
  const from = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  let at = 0
  for (let index = 0; index < rows.length;) {
    // Rows that follow one another in memory go together.
    const first = rows[index]
    let last = first
    while (++index < rows.length && rows[index] === last + 1) last++
    at += from.copy(target, at, dataOffsets[first], dataOffsets[last + 1])
  }
}
