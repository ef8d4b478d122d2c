import { gatherFixed, gatherOffsets, gatherPayload, payloadOf } from './gather-rows.ts'
import { allocateSamples, type SampleColumns, uuidBytes } from './samples.ts'
import { indexUuids } from './uuid-dictionary.ts'

/** The rows of one device with from <= timestamp < to (microseconds since 1970), in memory of their own. */
export function selectSamples(samples: SampleColumns, deviceId: string, from: bigint, to: bigint): SampleColumns {
  const wanted = uuidBytes(deviceId)
  const rows: number[] = []
  for (let row = 0; row < samples.rows; row++) {
    const time = samples.timestamp[row]
    if (time >= from && time < to && isUuid(samples.deviceId, row, wanted)) rows.push(row)
  }
  return takeRows(samples, Uint32Array.from(rows))
}

/** All parts together, sorted as a chunk is. */
export function mergeSamples(parts: readonly SampleColumns[]): SampleColumns {
  const filled = parts.filter((part) => part.rows > 0)
  return sortSamples(filled.length === 1 ? filled[0] : joinSamples(filled))
}

/** The samples in the order of a chunk; the samples themselves if they are in that order already. */
export function sortSamples(samples: SampleColumns): SampleColumns {
  const order = orderSamples(samples)
  return order === null ? samples : takeRows(samples, order)
}

/**
 * The rows in the order of a chunk: by device, timestamp, sequence, id. Null if they are in that order already. Devices are told
 * apart by counting, and what each has sent comes almost in order: no comparison of all with all.
 */
export function orderSamples(samples: SampleColumns): Uint32Array | null {
  const { entries, positions } = indexUuids(samples.deviceId)
  const devices = Array.from({ length: entries.length / 16 }, (_, position) => position)
  // Where the rows of each device go next, by position.
  const next = new Uint32Array(devices.length)
  for (const position of positions) next[position]++
  let at = 0
  for (const position of devices.toSorted((a, b) => compareBytes(entries, a, b))) {
    const count = next[position]
    next[position] = at
    at += count
  }
  const order = new Uint32Array(samples.rows)
  for (let row = 0; row < samples.rows; row++) order[next[positions[row]]++] = row
  for (let start = 0, end = 0; start < samples.rows; start = end) {
    end = next[positions[order[start]]]
    sortWithinDevice(samples, order.subarray(start, end))
  }
  for (let index = 0; index < order.length; index++) if (order[index] !== index) return order
  return null
}

function sortWithinDevice(samples: SampleColumns, order: Uint32Array): void {
  for (let i = 1; i < order.length; i++) {
    if (compareRows(samples, order[i - 1], order[i]) > 0) {
      order.sort((a, b) => compareRows(samples, a, b))
      return
    }
  }
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
  const joined = allocateSamples(
    parts.reduce((sum, part) => sum + part.rows, 0),
    parts.reduce((sum, part) => sum + part.dataOffsets[part.rows] - part.dataOffsets[0], 0),
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
    const { dataOffsets, rows } = part
    joined.data.set(part.data.subarray(dataOffsets[0], dataOffsets[rows]), at)
    at -= dataOffsets[0]
    for (let i = 1; i <= rows; i++) joined.dataOffsets[row + i] = at + dataOffsets[i]
    row += rows
    at += dataOffsets[rows]
  }
  return joined
}

function takeRows(samples: SampleColumns, rows: Uint32Array): SampleColumns {
  const taken = allocateSamples(rows.length, payloadOf(samples, rows))
  for (const name of ['id', 'deviceId', 'profileId'] as const) gatherFixed(samples[name], 16, rows, taken[name])
  for (const name of ['timestamp', 'sequence'] as const) gatherFixed(samples[name], 8, rows, taken[name])
  gatherFixed(samples.byteLength, 4, rows, taken.byteLength)
  gatherOffsets(samples, rows, taken.dataOffsets)
  gatherPayload(samples, rows, taken.data)
  return taken
}

/** Of one device. */
function compareRows(samples: SampleColumns, a: number, b: number): number {
  return (
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
