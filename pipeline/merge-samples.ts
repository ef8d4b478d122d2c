import { allocateSamples, type SampleColumns, uuidBytes } from './samples.ts'

/** The rows of one device with from <= timestamp < to (microseconds since 1970), in memory of their own. */
export function selectSamples(samples: SampleColumns, deviceId: string, from: bigint, to: bigint): SampleColumns {
  const wanted = uuidBytes(deviceId)
  const rows: number[] = []
  for (let row = 0; row < samples.rows; row++) {
    const time = samples.timestamp[row]
    if (time >= from && time < to && isUuid(samples.deviceId, row, wanted)) rows.push(row)
  }
  return takeRows(samples, rows)
}

/** All parts together, sorted as a chunk is: by device, timestamp, sequence, id. */
export function mergeSamples(parts: readonly SampleColumns[]): SampleColumns {
  const filled = parts.filter((part) => part.rows > 0)
  if (filled.length === 1) return filled[0]
  const joined = joinSamples(filled)
  const order = Array.from({ length: joined.rows }, (_, row) => row)
  return takeRows(
    joined,
    order.toSorted((a, b) => compareRows(joined, a, b)),
  )
}

/** Views of successive rows, each of at most `most.rows` and of at most `most.bytes` of payload, or of one row that has more. */
export function* cutSamples(samples: SampleColumns, most: { rows: number; bytes: number }): Generator<SampleColumns> {
  const { dataOffsets } = samples
  for (let start = 0, end = 0; start < samples.rows; start = end) {
    end = start + 1
    while (end < samples.rows && end - start < most.rows && dataOffsets[end + 1] - dataOffsets[start] <= most.bytes)
      end++
    yield {
      ...samples,
      rows: end - start,
      id: samples.id.subarray(start * 16, end * 16),
      deviceId: samples.deviceId.subarray(start * 16, end * 16),
      profileId: samples.profileId.subarray(start * 16, end * 16),
      timestamp: samples.timestamp.subarray(start, end),
      sequence: samples.sequence.subarray(start, end),
      byteLength: samples.byteLength.subarray(start, end),
      dataOffsets: dataOffsets.subarray(start, end + 1),
    }
  }
}

function joinSamples(parts: readonly SampleColumns[]): SampleColumns {
  const rows = parts.reduce((sum, part) => sum + part.rows, 0)
  const joined = allocateSamples(
    rows,
    parts.reduce((sum, part) => sum + part.data.length, 0),
  )
  let row = 0
  let at = 0
  for (const part of parts) {
    joined.id.set(part.id, row * 16)
    joined.deviceId.set(part.deviceId, row * 16)
    joined.profileId.set(part.profileId, row * 16)
    joined.timestamp.set(part.timestamp, row)
    joined.sequence.set(part.sequence, row)
    joined.byteLength.set(part.byteLength, row)
    joined.data.set(part.data, at)
    for (let i = 0; i < part.rows; i++) joined.dataOffsets[row + i + 1] = at + part.dataOffsets[i + 1]
    row += part.rows
    at += part.data.length
  }
  return joined
}

function takeRows(samples: SampleColumns, rows: readonly number[]): SampleColumns {
  const { dataOffsets } = samples
  const bytes = rows.reduce((sum, row) => sum + dataOffsets[row + 1] - dataOffsets[row], 0)
  const taken = allocateSamples(rows.length, bytes)
  let at = 0
  for (const [index, row] of rows.entries()) {
    taken.id.set(samples.id.subarray(row * 16, row * 16 + 16), index * 16)
    taken.deviceId.set(samples.deviceId.subarray(row * 16, row * 16 + 16), index * 16)
    taken.profileId.set(samples.profileId.subarray(row * 16, row * 16 + 16), index * 16)
    taken.timestamp[index] = samples.timestamp[row]
    taken.sequence[index] = samples.sequence[row]
    taken.byteLength[index] = samples.byteLength[row]
    taken.data.set(samples.data.subarray(dataOffsets[row], dataOffsets[row + 1]), at)
    at += dataOffsets[row + 1] - dataOffsets[row]
    taken.dataOffsets[index + 1] = at
  }
  return taken
}

function compareRows(samples: SampleColumns, a: number, b: number): number {
  return (
    compareBytes(samples.deviceId, a, b) ||
    compareNumbers(samples.timestamp[a], samples.timestamp[b]) ||
    compareNumbers(samples.sequence[a], samples.sequence[b]) ||
    compareBytes(samples.id, a, b)
  )
}

function compareNumbers(a: bigint, b: bigint): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

function compareBytes(column: Uint8Array, a: number, b: number): number {
  for (let i = 0; i < 16; i++) {
    const difference = column[a * 16 + i] - column[b * 16 + i]
    if (difference !== 0) return difference
  }
  return 0
}

function isUuid(column: Uint8Array, row: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < 16; i++) if (column[row * 16 + i] !== wanted[i]) return false
  return true
}
