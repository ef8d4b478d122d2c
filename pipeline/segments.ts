import { type SampleColumns, sameUuid, sampleData, uuidAt } from './samples.ts'

/** Samples of one device and profile with no sequence number missing between them. */
export interface Segment {
  readonly profileId: string
  /** Row of the first sample. */
  readonly firstRow: number
  /** Number of samples, empty ones included, duplicates not. */
  readonly rows: number
  /** Microseconds since 1970-01-01T00:00:00Z of the first and of the last sample. */
  readonly startTimestamp: bigint
  readonly endTimestamp: bigint
  /** The payloads end to end. A view of the chunk's data unless other rows lie between. */
  readonly bytes: Uint8Array
}

/** What one device sent in a chunk. Duplicates count nowhere but in `duplicates`. */
export interface DeviceSegments {
  readonly deviceId: string
  readonly samples: number
  readonly bytes: number
  /** Rows whose profile, timestamp and sequence repeat those of the row before. */
  readonly duplicates: number
  /** Breaks at which the sequence jumped forward, and how many sequence numbers the jumps left out. */
  readonly gaps: number
  readonly missing: number
  /** Breaks at which the sequence jumped backward or stood still at another timestamp. */
  readonly restarts: number
  readonly emptySamples: number
  /** Samples whose `byte_length` is not the true length. */
  readonly lengthMismatches: number
  readonly segments: readonly Segment[]
}

/**
 * Told of every row once, in statistical order. `previous` is the row that came before it in the same device and
 * profile (duplicates skipped), or -1 at the first. A duplicate never starts a segment.
 */
export type ContiguityCallback = (
  row: number,
  isStartOfSegment: boolean,
  isDuplicate: boolean,
  previous: number,
) => void

/**
 * Visits the rows of `samples` in statistical order: device by device as they stand, within a device profile by profile
 * as they first appear, within a profile by timestamp, then sequence. This is the one definition of contiguity: a row
 * continues its segment if its sequence is exactly one more than the previous row's of that device and profile.
 * Throws RangeError if the rows of a device are not adjacent.
 */
export function forEachContiguous(samples: SampleColumns, callback: ContiguityCallback): void {
  const { timestamp, sequence } = samples
  for (const [start, end] of deviceRuns(samples)) {
    for (const rows of rowsByProfile(samples, start, end)) {
      let previous = -1
      for (const row of rows) {
        const isDuplicate =
          previous >= 0 && timestamp[row] === timestamp[previous] && sequence[row] === sequence[previous]
        const isStart = !isDuplicate && (previous < 0 || sequence[row] !== sequence[previous] + 1n)
        callback(row, isStart, isDuplicate, previous)
        if (!isDuplicate) previous = row
      }
    }
  }
}

/**
 * The contiguous segments of every device of a chunk, and what is wrong with its samples, in the order of the devices.
 * Throws RangeError if the rows of a device are not adjacent.
 */
export function segmentByDevice(samples: SampleColumns): DeviceSegments[] {
  const devices: Tally[] = []
  let tally = emptyTally('')
  let deviceRow = -1
  let rows: number[] = []
  const closeSegment = () => {
    if (rows.length > 0) tally.segments.push(segmentOf(samples, rows))
    rows = []
  }
  forEachContiguous(samples, (row, isStart, isDuplicate, previous) => {
    if (isDuplicate) {
      tally.duplicates++
      return
    }
    if (isStart) closeSegment()
    if (deviceRow < 0 || !sameUuid(samples.deviceId, row, deviceRow)) {
      deviceRow = row
      tally = emptyTally(uuidAt(samples.deviceId, row))
      devices.push(tally)
    }
    if (isStart && previous >= 0) countBreak(tally, samples.sequence[row] - samples.sequence[previous])
    const length = samples.dataOffsets[row + 1] - samples.dataOffsets[row]
    tally.samples++
    tally.bytes += length
    if (length === 0) tally.emptySamples++
    if (length !== samples.byteLength[row]) tally.lengthMismatches++
    rows.push(row)
  })
  closeSegment()
  return devices
}

interface Tally extends DeviceSegments {
  samples: number
  bytes: number
  duplicates: number
  gaps: number
  missing: number
  restarts: number
  emptySamples: number
  lengthMismatches: number
  segments: Segment[]
}

function emptyTally(deviceId: string): Tally {
  const counts = { samples: 0, bytes: 0, duplicates: 0, gaps: 0, missing: 0, restarts: 0 }
  return { deviceId, ...counts, emptySamples: 0, lengthMismatches: 0, segments: [] }
}

function countBreak(tally: Tally, step: bigint): void {
  if (step <= 0n) {
    tally.restarts++
    return
  }
  tally.gaps++
  tally.missing += Number(step - 1n)
}

/** The [start, end) rows of each device. */
function deviceRuns(samples: SampleColumns): [number, number][] {
  const runs: [number, number][] = []
  const seen = new Set<string>()
  for (let start = 0, end = 0; start < samples.rows; start = end) {
    const deviceId = uuidAt(samples.deviceId, start)
    if (seen.has(deviceId)) throw new RangeError(`the rows of device ${deviceId} are not adjacent (row ${start})`)
    seen.add(deviceId)
    for (end = start + 1; end < samples.rows && sameUuid(samples.deviceId, start, end);) end++
    runs.push([start, end])
  }
  return runs
}

/** Rows [start, end) of one device, a list per profile, each in order of timestamp, then sequence. */
function rowsByProfile(samples: SampleColumns, start: number, end: number): number[][] {
  const { profileId, timestamp, sequence } = samples
  const profiles: number[][] = []
  for (let row = start; row < end; row++) {
    const rows = profiles.find((candidate) => sameUuid(profileId, candidate[0], row))
    if (rows) rows.push(row)
    else profiles.push([row])
  }
  const compare = (a: number, b: number): number => {
    if (timestamp[a] !== timestamp[b]) return timestamp[a] < timestamp[b] ? -1 : 1
    if (sequence[a] === sequence[b]) return 0
    return sequence[a] < sequence[b] ? -1 : 1
  }
  // Chunks are written sorted; the check costs a fraction of a sort, and a foreign file still comes out right.
  for (const rows of profiles) if (rows.some((row, i) => i > 0 && compare(rows[i - 1], row) > 0)) rows.sort(compare)
  return profiles
}

function segmentOf(samples: SampleColumns, rows: readonly number[]): Segment {
  const [first, last] = [rows[0], rows[rows.length - 1]]
  return {
    profileId: uuidAt(samples.profileId, first),
    firstRow: first,
    rows: rows.length,
    startTimestamp: samples.timestamp[first],
    endTimestamp: samples.timestamp[last],
    bytes: joinedData(samples, rows),
  }
}

/** The payloads of `rows` end to end: a view where they lie end to end already, else a copy. */
function joinedData(samples: SampleColumns, rows: readonly number[]): Uint8Array {
  const { data, dataOffsets } = samples
  const adjacent = rows.every((row, i) => i === 0 || dataOffsets[row] === dataOffsets[rows[i - 1] + 1])
  if (adjacent) return data.subarray(dataOffsets[rows[0]], dataOffsets[rows[rows.length - 1] + 1])
  const joined = new Uint8Array(rows.reduce((length, row) => length + dataOffsets[row + 1] - dataOffsets[row], 0))
  let at = 0
  for (const row of rows) {
    const payload = sampleData(samples, row)
    joined.set(payload, at)
    at += payload.length
  }
  return joined
}
