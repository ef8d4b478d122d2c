/**
 * Slice partials: what is kept of a chunk's bytes per device and UTC minute. All of it is additive, so the statistics of any
 * bucket are recomputed from partials alone, in any order of arrival, and never incremented.
 */
import { addByteHistogram, countAgreements, countOnes } from './bits.ts'
import { type SampleColumns, sameUuid, uuidAt } from './samples.ts'
import { forEachContiguous } from './segments.ts'

/** Distances in bits at which agreements are counted. Part of the stored format: changing them takes a new version byte. */
export const SLICE_LAGS = [1, 2, 3, 4, 8, 16, 32] as const
export const SLICE_SECONDS = 60
/** Bits of a trial of profile gcp200: the first of a second, as the Global Consciousness Project takes them. */
export const GCP_TRIAL_BITS = 200

/** No pair reaches further back than the longest lag. */
const HISTORY_BYTES = 4
const NO_BYTES = new Uint8Array(0)
const MAX_COUNT = 0xffffffff

/**
 * Counts of one device over the `secondBits.length` seconds from `sliceStart`: one minute as it comes from a chunk, any whole
 * number of minutes after merging. Duplicated samples count nowhere but in `duplicates`.
 */
export interface SlicePartial {
  readonly deviceId: string
  /** Seconds since 1970-01-01T00:00:00Z, a multiple of 60. */
  readonly sliceStart: number
  samples: number
  bytes: number
  ones: number
  duplicates: number
  /** Samples before which sequence numbers are missing; the edges of chunks are not gaps. */
  gaps: number
  /** Pairs of neighbouring bits within a segment, = lagPairs[0]; 8 * bytes - pairs is the number of segments begun. */
  pairs: number
  /** Those pairs whose bits differ. */
  transitions: number
  /** By SLICE_LAGS: pairs of bits that far apart within a segment, and those that agree. A pair belongs to its later bit. */
  readonly lagPairs: number[]
  readonly lagAgreements: number[]
  /** Occurrences of each byte value, 256 counts. */
  readonly histogram: Uint32Array
  /** Bits and ones of each second. 0 bits: nothing came. */
  readonly secondBits: Uint32Array
  readonly secondOnes: Uint32Array
  /**
   * One more than the ones among the first GCP_TRIAL_BITS of each second, by time, then sequence; 0: no trial, because the
   * second has fewer bits, or its samples are of several profiles or in several chunks, whose order is not kept.
   */
  readonly gcpTrials: Uint8Array
}

/** A partial of nothing: `seconds` seconds from `sliceStart`. */
export function emptyPartial(deviceId: string, sliceStart: number, seconds: number = SLICE_SECONDS): SlicePartial {
  const counts = { samples: 0, bytes: 0, ones: 0, duplicates: 0, gaps: 0, pairs: 0, transitions: 0 }
  return {
    deviceId,
    sliceStart,
    ...counts,
    lagPairs: SLICE_LAGS.map(() => 0),
    lagAgreements: SLICE_LAGS.map(() => 0),
    histogram: new Uint32Array(256),
    secondBits: new Uint32Array(seconds),
    secondOnes: new Uint32Array(seconds),
    gcpTrials: new Uint8Array(seconds),
  }
}

/** Samples of one segment and slice whose payloads lie end to end, data[from, to), and the segment's bytes before them. */
interface Run {
  slice: SlicePartial | undefined
  from: number
  to: number
  history: Uint8Array
}

/**
 * The partials of a chunk, sorted by device id (as text) and slice. A sample belongs to the second and minute its timestamp
 * falls in; a pair of bits from two samples belongs to the later one's, so that the minutes add up to the whole.
 * Throws RangeError if the rows of a device are not adjacent.
 */
export function slicePartials(samples: SampleColumns): SlicePartial[] {
  const { data, dataOffsets, timestamp, sequence } = samples
  const slices = new Map<string, SlicePartial>()
  const trials = new Map<SlicePartial, Trials>()
  const run: Run = { slice: undefined, from: 0, to: 0, history: NO_BYTES }
  let slice = emptyPartial('', 0)
  let deviceRow = -1
  forEachContiguous(samples, (row, isStart, isDuplicate, previous) => {
    const second = epochSecond(timestamp[row])
    const sliceStart = Math.floor(second / SLICE_SECONDS) * SLICE_SECONDS
    const isNewDevice = deviceRow < 0 || !sameUuid(samples.deviceId, row, deviceRow)
    if (isNewDevice || slice.sliceStart !== sliceStart) {
      slice = sliceAt(slices, isNewDevice ? uuidAt(samples.deviceId, row) : slice.deviceId, sliceStart)
      deviceRow = row
    }
    if (isDuplicate) {
      slice.duplicates++
      return
    }
    const from = dataOffsets[row]
    const to = dataOffsets[row + 1]
    slice.samples++
    if (isStart && previous >= 0 && sequence[row] > sequence[previous]) slice.gaps++
    slice.secondBits[second - sliceStart] += 8 * (to - from)
    slice.secondOnes[second - sliceStart] += countOnes(data.subarray(from, to))
    addToTrial(samples, row, slice, second - sliceStart, trials)
    if (isStart || run.slice !== slice || run.to !== from) {
      countRun(data, run)
      if (isStart) run.history = NO_BYTES
      run.slice = slice
      run.from = from
    }
    run.to = to
  })
  countRun(data, run)
  const partials = [...slices.values()]
  for (const partial of partials) {
    const bytes = trials.get(partial)?.bytes
    partial.gcpTrials.forEach((ones, i) => (partial.gcpTrials[i] = bytes?.[i] === TRIAL_BYTES ? ones + 1 : 0))
    finishPartial(partial)
  }
  return partials.toSorted((a, b) =>
    a.deviceId === b.deviceId ? a.sliceStart - b.sliceStart : a.deviceId < b.deviceId ? -1 : 1,
  )
}

const TRIAL_BYTES = GCP_TRIAL_BITS / 8
const SPOILT = 255

/** What the trials of a slice's seconds have so far: bytes, or SPOILT; and the row of the first sample of each. */
interface Trials {
  readonly bytes: Uint8Array
  readonly firstRow: Int32Array
}

/** Takes what a second's trial still lacks from the front of a row's payload. */
function addToTrial(
  samples: SampleColumns,
  row: number,
  slice: SlicePartial,
  second: number,
  trials: Map<SlicePartial, Trials>,
): void {
  const [from, to] = [samples.dataOffsets[row], samples.dataOffsets[row + 1]]
  if (from === to) return
  let of = trials.get(slice)
  if (!of) {
    trials.set(slice, (of = { bytes: new Uint8Array(SLICE_SECONDS), firstRow: new Int32Array(SLICE_SECONDS) }))
  }
  const { bytes, firstRow } = of
  if (bytes[second] === 0) firstRow[second] = row
  else if (!sameUuid(samples.profileId, row, firstRow[second])) bytes[second] = SPOILT
  if (bytes[second] >= TRIAL_BYTES) return
  const more = Math.min(TRIAL_BYTES - bytes[second], to - from)
  slice.gcpTrials[second] += countOnes(samples.data.subarray(from, from + more))
  bytes[second] += more
}

/** The UTC second a timestamp in microseconds falls in, before 1970 too. */
function epochSecond(timestamp: bigint): number {
  const micros = Number(timestamp)
  // Beyond the year 2255 a double no longer holds every microsecond.
  if (!Number.isSafeInteger(micros)) return Number(timestamp / 1_000_000n) - (timestamp % 1_000_000n < 0n ? 1 : 0)
  const within = micros % 1e6
  return (micros - within) / 1e6 - (within < 0 ? 1 : 0)
}

function sliceAt(slices: Map<string, SlicePartial>, deviceId: string, sliceStart: number): SlicePartial {
  const key = `${deviceId} ${sliceStart}`
  let slice = slices.get(key)
  if (!slice) slices.set(key, (slice = emptyPartial(deviceId, sliceStart)))
  return slice
}

/**
 * Adds a run to its slice. The pairs that end in the run are those of (history + run) less those within the history, which
 * belong to earlier samples; so no sample is too short for a lag.
 */
function countRun(data: Uint8Array, run: Run): void {
  const { slice, from, to, history } = run
  if (!slice || from === to) return
  addByteHistogram(data.subarray(from, to), slice.histogram)
  // Only a view of the data itself: a joined history may end in a payload that lies just here, and begin elsewhere.
  const adjacent =
    history.length === 0 ||
    (history.buffer === data.buffer && history.byteOffset + history.length === data.byteOffset + from)
  const joined = adjacent ? data.subarray(from - history.length, to) : join(history, data, from, to)
  for (let i = 0; i < SLICE_LAGS.length; i++) {
    const lag = SLICE_LAGS[i]
    slice.lagPairs[i] += Math.max(0, 8 * joined.length - lag) - Math.max(0, 8 * history.length - lag)
    slice.lagAgreements[i] += countAgreements(joined, lag) - countAgreements(history, lag)
  }
  run.history = joined.subarray(Math.max(0, joined.length - HISTORY_BYTES))
}

/** Payloads that other rows lie between have to be brought together first. */
function join(history: Uint8Array, data: Uint8Array, from: number, to: number): Uint8Array {
  const joined = new Uint8Array(history.length + to - from)
  joined.set(history)
  joined.set(data.subarray(from, to), history.length)
  return joined
}

/** Fills in what follows from the other counts. */
export function finishPartial(partial: SlicePartial): void {
  partial.bytes = sum(partial.histogram)
  partial.ones = sum(partial.secondOnes)
  partial.pairs = partial.lagPairs[0]
  partial.transitions = partial.lagPairs[0] - partial.lagAgreements[0]
}

export function sum(counts: Uint32Array): number {
  let total = 0
  for (let i = 0; i < counts.length; i++) total += counts[i]
  return total
}

/**
 * The sum of one device's partials (of several chunks, of several minutes) as one partial over [bucketStart, bucketEnd),
 * seconds since epoch. The order does not matter. Throws RangeError if there are none, if they are of several devices, if one
 * lies outside the bucket, or if a count leaves 32 bits.
 */
export function mergePartials(partials: readonly SlicePartial[], bucketStart: number, bucketEnd: number): SlicePartial {
  if (partials.length === 0) throw new RangeError('there are no slice partials to merge')
  const merged = emptyPartial(partials[0].deviceId, bucketStart, bucketEnd - bucketStart)
  for (const partial of partials) {
    const offset = partial.sliceStart - bucketStart
    if (partial.deviceId !== merged.deviceId) {
      throw new RangeError(`partials of devices ${merged.deviceId} and ${partial.deviceId} cannot be merged`)
    }
    if (offset < 0 || partial.sliceStart + partial.secondBits.length > bucketEnd) {
      throw new RangeError(`the slice at ${partial.sliceStart} is outside the bucket ${bucketStart} to ${bucketEnd}`)
    }
    merged.samples += partial.samples
    merged.duplicates += partial.duplicates
    merged.gaps += partial.gaps
    for (let i = 0; i < SLICE_LAGS.length; i++) {
      merged.lagPairs[i] += partial.lagPairs[i]
      merged.lagAgreements[i] += partial.lagAgreements[i]
    }
    for (let i = 0; i < partial.gcpTrials.length; i++) {
      if (partial.secondBits[i] === 0) continue
      merged.gcpTrials[offset + i] = merged.secondBits[offset + i] === 0 ? partial.gcpTrials[i] : 0
    }
    addCounts(merged.histogram, partial.histogram, 0)
    addCounts(merged.secondBits, partial.secondBits, offset)
    addCounts(merged.secondOnes, partial.secondOnes, offset)
  }
  finishPartial(merged)
  return merged
}

function addCounts(into: Uint32Array, counts: Uint32Array, offset: number): void {
  for (let i = 0; i < counts.length; i++) {
    const total = into[offset + i] + counts[i]
    if (total > MAX_COUNT) throw new RangeError(`a merged count leaves 32 bits (${total}); merge a shorter bucket`)
    into[offset + i] = total
  }
}
