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
  for (const partial of partials) finishPartial(partial)
  return partials.toSorted((a, b) =>
    a.deviceId === b.deviceId ? a.sliceStart - b.sliceStart : a.deviceId < b.deviceId ? -1 : 1,
  )
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
function finishPartial(partial: SlicePartial): void {
  partial.bytes = sum(partial.histogram)
  partial.ones = sum(partial.secondOnes)
  partial.pairs = partial.lagPairs[0]
  partial.transitions = partial.lagPairs[0] - partial.lagAgreements[0]
}

function sum(counts: Uint32Array): number {
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

const FORMAT = 1
/** Each byte value's number of ones: the ones of a slice follow from its histogram. */
const ONES_IN_BYTE = Uint8Array.from({ length: 256 }, (_, byte) => countOnes(Uint8Array.of(byte)))
/** In place of a Rice parameter: every number of the list is 0. */
const ALL_ZERO = 31
const MAX_RICE = 30
/** Quotients from here on are written out: one outlier may not cost kilobytes of unary. */
const ESCAPE = 16

/**
 * The counts of a partial, without its device and start. Byte 0 is the format version; the rest is a bit stream (MSB first) of
 * the counts as differences from what the others make likely, Golomb-Rice coded with the best parameter of each list (R. Rice,
 * JPL 79-22): ideal random counts then cost within a few per cent of their entropy, and what follows from others costs nothing.
 * Throws RangeError if the counts contradict each other (every partial of this module is consistent).
 */
export function encodePartial(partial: SlicePartial): Uint8Array {
  assertConsistent(partial)
  const { bytes, lagPairs, lagAgreements, histogram } = partial
  const bits: number[] = []
  const seconds = partial.secondBits.length
  for (const count of [seconds, partial.samples, bytes, partial.duplicates, partial.gaps]) putNumber(bits, count)
  // Every segment begun costs a lag that many pairs, so the first lag foretells the others.
  const lost = 8 * bytes - lagPairs[0]
  putNumber(bits, lost)
  putList(
    bits,
    SLICE_LAGS.map((lag, i) => zigzag(8 * bytes - lagPairs[i] - lag * lost)),
  )
  putList(
    bits,
    lagAgreements.map((count, i) => zigzag(count - Math.round(lagPairs[i] / 2))),
  )
  const mean = Math.round(bytes / 256)
  putList(
    bits,
    Array.from(histogram, (count) => zigzag(count - mean)),
  )
  const unit = commonDivisor(partial.secondBits)
  const typical = Math.round((8 * bytes) / unit / seconds)
  putNumber(bits, unit)
  putList(
    bits,
    Array.from(partial.secondBits, (count) => zigzag(count / unit - typical)),
  )
  const reporting = Array.from(partial.secondBits.keys()).filter((i) => partial.secondBits[i] > 0)
  const density = partial.ones / (8 * bytes)
  putList(
    bits,
    reporting.map((i) => zigzag(partial.secondOnes[i] - Math.round(density * partial.secondBits[i]))),
  )
  const encoded = new Uint8Array(1 + Math.ceil(bits.length / 8))
  encoded[0] = FORMAT
  for (let i = 0; i < bits.length; i++) encoded[1 + (i >> 3)] |= bits[i] << (7 - (i & 7))
  return encoded
}

/**
 * The partial that `encodePartial` made `encoded` of. Throws RangeError if the version is another, or the bytes are cut short or
 * contradict themselves.
 */
export function decodePartial(encoded: Uint8Array, deviceId: string, sliceStart: number): SlicePartial {
  if (encoded[0] !== FORMAT) throw new RangeError(`slice partial of format ${encoded[0]}; this build reads ${FORMAT}`)
  const source: BitSource = { encoded, at: 8 }
  const [seconds, samples, bytes, duplicates, gaps] = Array.from({ length: 5 }, () => takeNumber(source))
  // Refused before anything of that size is made: no bucket is longer than a leap year.
  if (seconds > 366 * 86400) throw new RangeError(`slice partial of ${seconds} seconds: the bytes are damaged`)
  const partial: SlicePartial = { ...emptyPartial(deviceId, sliceStart, seconds), samples, duplicates, gaps }
  const lost = takeNumber(source)
  takeList(source, SLICE_LAGS.length).forEach((code, i) => {
    partial.lagPairs[i] = 8 * bytes - SLICE_LAGS[i] * lost - unzigzag(code)
  })
  takeList(source, SLICE_LAGS.length).forEach((code, i) => {
    partial.lagAgreements[i] = unzigzag(code) + Math.round(partial.lagPairs[i] / 2)
  })
  const mean = Math.round(bytes / 256)
  takeList(source, 256).forEach((code, i) => (partial.histogram[i] = unzigzag(code) + mean))
  const unit = takeNumber(source)
  const typical = Math.round((8 * bytes) / unit / seconds)
  takeList(source, seconds).forEach((code, i) => (partial.secondBits[i] = (unzigzag(code) + typical) * unit))
  const reporting = Array.from(partial.secondBits.keys()).filter((i) => partial.secondBits[i] > 0)
  const density = onesOf(partial.histogram) / (8 * bytes)
  takeList(source, reporting.length).forEach((code, j) => {
    const i = reporting[j]
    partial.secondOnes[i] = unzigzag(code) + Math.round(density * partial.secondBits[i])
  })
  finishPartial(partial)
  if (partial.bytes !== bytes) throw new RangeError('slice partial whose histogram is not of its bytes: it is damaged')
  assertConsistent(partial)
  return partial
}

function assertConsistent(partial: SlicePartial): void {
  const { lagPairs, lagAgreements, secondBits, secondOnes } = partial
  const holds =
    partial.bytes === sum(partial.histogram) &&
    8 * partial.bytes === sum(secondBits) &&
    partial.ones === sum(secondOnes) &&
    partial.ones === onesOf(partial.histogram) &&
    partial.pairs === lagPairs[0] &&
    partial.transitions === lagPairs[0] - lagAgreements[0] &&
    lagAgreements.every((count, i) => count >= 0 && count <= lagPairs[i] && lagPairs[i] <= 8 * partial.bytes) &&
    secondOnes.every((count, i) => count <= secondBits[i])
  if (!holds)
    throw new RangeError(`the counts of slice ${partial.deviceId} ${partial.sliceStart} contradict each other`)
}

function onesOf(histogram: Uint32Array): number {
  return histogram.reduce((ones, count, byte) => ones + count * ONES_IN_BYTE[byte], 0)
}

/** The greatest number that divides all counts; 1 if all are 0. */
function commonDivisor(counts: Uint32Array): number {
  let divisor = 0
  for (let i = 0; i < counts.length && divisor !== 1; i++) {
    for (let rest = counts[i]; rest > 0;) [divisor, rest] = [rest, divisor % rest]
  }
  return divisor || 1
}

/** Signed numbers in the order 0, -1, 1, -2, 2, … */
function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value
}

function unzigzag(code: number): number {
  return code % 2 === 1 ? -(code + 1) / 2 : code / 2
}

interface BitSource {
  readonly encoded: Uint8Array
  at: number
}

/** The low `width` bits of `value`, first the most significant. */
function putBits(bits: number[], value: number, width: number): void {
  for (let i = width - 1; i >= 0; i--) bits.push(Math.floor(value / 2 ** i) % 2)
}

function takeBits(source: BitSource, width: number): number {
  let value = 0
  for (let i = 0; i < width; i++) value = 2 * value + takeBit(source)
  return value
}

function takeBit(source: BitSource): number {
  const byte = source.at >> 3
  if (byte >= source.encoded.length) throw new RangeError('slice partial cut short: it is damaged')
  return (source.encoded[byte] >> (7 - (source.at++ & 7))) & 1
}

/** A whole number up to 2^53: 6 bits of width, then the number. */
function putNumber(bits: number[], value: number): void {
  const width = value === 0 ? 0 : value.toString(2).length
  putBits(bits, width, 6)
  putBits(bits, value, width)
}

function takeNumber(source: BitSource): number {
  return takeBits(source, Math.min(53, takeBits(source, 6)))
}

/** A list whose length the reader knows: 5 bits of Rice parameter k, then each as unary quotient and k bits of remainder. */
function putList(bits: number[], values: readonly number[]): void {
  if (values.every((value) => value === 0)) return putBits(bits, ALL_ZERO, 5)
  let k = 0
  for (let best = Infinity, candidate = 0; candidate <= MAX_RICE; candidate++) {
    const cost = values.reduce((total, value) => total + riceWidth(value, candidate), 0)
    if (cost < best) [best, k] = [cost, candidate]
  }
  putBits(bits, k, 5)
  for (const value of values) {
    const quotient = Math.floor(value / 2 ** k)
    for (let i = Math.min(quotient, ESCAPE); i > 0; i--) bits.push(1)
    if (quotient >= ESCAPE) putNumber(bits, value)
    else {
      bits.push(0)
      putBits(bits, value, k)
    }
  }
}

function takeList(source: BitSource, length: number): number[] {
  const k = takeBits(source, 5)
  return Array.from({ length }, () => {
    if (k === ALL_ZERO) return 0
    let quotient = 0
    while (quotient < ESCAPE && takeBit(source) === 1) quotient++
    return quotient === ESCAPE ? takeNumber(source) : quotient * 2 ** k + takeBits(source, k)
  })
}

function riceWidth(value: number, k: number): number {
  const quotient = Math.floor(value / 2 ** k)
  return quotient >= ESCAPE ? ESCAPE + 6 + value.toString(2).length : quotient + 1 + k
}
