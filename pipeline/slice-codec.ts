import { countOnes } from './bits.ts'
import { emptyPartial, finishPartial, GCP_TRIAL_BITS, SLICE_LAGS, type SlicePartial, sum } from './slice.ts'

/** Format 1 had no trials of profile gcp200: those seconds are read as having none. */
const FORMAT = 2
/** Each byte value's number of ones: the ones of a slice follow from its histogram. */
const ONES_IN_BYTE = Uint8Array.from({ length: 256 }, (_, byte) => countOnes(Uint8Array.of(byte)))
/** So many bits of the next 32 are there wherever in a byte they begin. */
const MOST_PEEKED = 25
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
  const bits = openBits()
  putBits(bits, FORMAT, 8)
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
  const reporting = secondsFrom(partial, 1)
  const density = partial.ones / (8 * bytes)
  putList(
    bits,
    reporting.map((i) => zigzag(partial.secondOnes[i] - Math.round(density * partial.secondBits[i]))),
  )
  const long = longSeconds(partial)
  putList(
    bits,
    long.map((i) => (partial.gcpTrials[i] === 0 ? 1 : 0)),
  )
  putList(
    bits,
    long
      .filter((i) => partial.gcpTrials[i] > 0)
      .map((i) => zigzag(partial.gcpTrials[i] - 1 - likelyGcpOnes(partial, i))),
  )
  return closeBits(bits)
}

/**
 * The partial that `encodePartial` made `encoded` of. Throws RangeError if the version is another, or the bytes are cut short or
 * contradict themselves.
 */
export function decodePartial(encoded: Uint8Array, deviceId: string, sliceStart: number): SlicePartial {
  const format = encoded[0]
  if (format !== 1 && format !== FORMAT) {
    throw new RangeError(`slice partial of format ${format}; this build reads 1 to ${FORMAT}`)
  }
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
  const histogram = takeList(source, 256)
  for (let i = 0; i < 256; i++) partial.histogram[i] = unzigzag(histogram[i]) + mean
  const unit = takeNumber(source)
  const typical = Math.round((8 * bytes) / unit / seconds)
  const ofBits = takeList(source, seconds)
  for (let i = 0; i < seconds; i++) partial.secondBits[i] = (unzigzag(ofBits[i]) + typical) * unit
  const reporting = secondsFrom(partial, 1)
  const density = onesOf(partial.histogram) / (8 * bytes)
  const ofOnes = takeList(source, reporting.length)
  for (let j = 0; j < reporting.length; j++) {
    const i = reporting[j]
    partial.secondOnes[i] = unzigzag(ofOnes[j]) + Math.round(density * partial.secondBits[i])
  }
  if (format >= 2) takeTrials(source, partial)
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
    areSecondsPossible(partial)
  if (!holds)
    throw new RangeError(`the counts of slice ${partial.deviceId} ${partial.sliceStart} contradict each other`)
}

function areSecondsPossible({ secondBits, secondOnes, gcpTrials }: SlicePartial): boolean {
  for (let i = 0; i < secondBits.length; i++) {
    const [bits, ones, trial] = [secondBits[i], secondOnes[i], gcpTrials[i]]
    if (ones > bits || (trial > 0 && !isPossibleTrial(trial - 1, bits, ones))) return false
  }
  return true
}

/** Seconds with bits enough for a trial of profile gcp200. */
function longSeconds(partial: SlicePartial): number[] {
  return secondsFrom(partial, GCP_TRIAL_BITS)
}

/** Seconds of so many bits or more. */
function secondsFrom({ secondBits }: SlicePartial, least: number): number[] {
  const seconds: number[] = []
  for (let i = 0; i < secondBits.length; i++) if (secondBits[i] >= least) seconds.push(i)
  return seconds
}

function likelyGcpOnes({ secondBits, secondOnes }: SlicePartial, i: number): number {
  return Math.round((GCP_TRIAL_BITS * secondOnes[i]) / secondBits[i])
}

function takeTrials(source: BitSource, partial: SlicePartial): void {
  const long = longSeconds(partial)
  const isMissing = takeList(source, long.length)
  const there = long.filter((_, j) => isMissing[j] === 0)
  const codes = takeList(source, there.length)
  for (let j = 0; j < there.length; j++) {
    const ones = unzigzag(codes[j]) + likelyGcpOnes(partial, there[j])
    if (ones < 0 || ones > GCP_TRIAL_BITS) throw new RangeError('slice partial with an impossible trial: it is damaged')
    partial.gcpTrials[there[j]] = ones + 1
  }
}

/** Whether `ones` among the first bits of a second are possible with the second's own counts. */
function isPossibleTrial(ones: number, bits: number, allOnes: number): boolean {
  return bits >= GCP_TRIAL_BITS && ones <= allOnes && GCP_TRIAL_BITS - ones <= bits - allOnes
}

function onesOf(histogram: Uint32Array): number {
  let ones = 0
  for (let byte = 0; byte < histogram.length; byte++) ones += histogram[byte] * ONES_IN_BYTE[byte]
  return ones
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
  // Nearly all codes: a remainder of doubles is slow.
  if (code < 2 ** 31) return (code & 1) === 1 ? -((code + 1) / 2) : code / 2
  return code % 2 === 1 ? -(code + 1) / 2 : code / 2
}

interface BitSource {
  readonly encoded: Uint8Array
  at: number
}

interface BitSink {
  bytes: Uint8Array<ArrayBuffer>
  /** Whole bytes so far. */
  length: number
  /** The bits since then, fewer than 8, lowest in a word whose other bits are not theirs. */
  word: number
  held: number
}

/** Memory of the last sink: partials are encoded by the hundred, one after the other. */
let scratch = new Uint8Array(1024)

function openBits(): BitSink {
  return { bytes: scratch, length: 0, word: 0, held: 0 }
}

/** The bytes, the last one filled up with zeros. */
function closeBits(sink: BitSink): Uint8Array {
  if (sink.held > 0) putBits(sink, 0, 8 - sink.held)
  scratch = sink.bytes
  return sink.bytes.slice(0, sink.length)
}

/** The low `width` bits of `value`, first the most significant. */
function putBits(sink: BitSink, value: number, width: number): void {
  if (width > 24) {
    putBits(sink, Math.floor(value / 2 ** 24), width - 24)
    return putBits(sink, value % 2 ** 24, 24)
  }
  sink.word = (sink.word << width) | value
  sink.held += width
  if (sink.length + 4 > sink.bytes.length) {
    const bytes = new Uint8Array(2 * sink.bytes.length)
    bytes.set(sink.bytes)
    sink.bytes = bytes
  }
  while (sink.held >= 8) {
    sink.held -= 8
    sink.bytes[sink.length++] = sink.word >>> sink.held
  }
}

/** The next 25 bits, first the most significant, in the top of 32; zeros beyond the end. */
function peekBits({ encoded, at }: BitSource): number {
  const byte = at >> 3
  return ((encoded[byte] << 24) | (encoded[byte + 1] << 16) | (encoded[byte + 2] << 8) | encoded[byte + 3]) << (at & 7)
}

function skipBits(source: BitSource, count: number): void {
  source.at += count
  if (source.at > 8 * source.encoded.length) throw new RangeError('slice partial cut short: it is damaged')
}

function takeBits(source: BitSource, width: number): number {
  if (width === 0) return 0
  if (width > 24) return takeBits(source, width - 24) * 2 ** 24 + takeBits(source, 24)
  const value = peekBits(source) >>> (32 - width)
  skipBits(source, width)
  return value
}

/** A whole number up to 2^53: 6 bits of width, then the number. */
function putNumber(bits: BitSink, value: number): void {
  const width = widthOf(value)
  putBits(bits, width, 6)
  putBits(bits, value, width)
}

/** The bits of a whole number up to 2^53, without leading zeros. */
function widthOf(value: number): number {
  return value < 2 ** 32 ? 32 - Math.clz32(value) : 64 - Math.clz32(value / 2 ** 32)
}

function takeNumber(source: BitSource): number {
  return takeBits(source, Math.min(53, takeBits(source, 6)))
}

/** A list whose length the reader knows: 5 bits of Rice parameter k, then each as unary quotient and k bits of remainder. */
function putList(bits: BitSink, values: readonly number[]): void {
  let most = 0
  for (let i = 0; i < values.length; i++) most = Math.max(most, values[i])
  if (most === 0) return putBits(bits, ALL_ZERO, 5)
  const k = bestParameter(values, most)
  putBits(bits, k, 5)
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    const quotient = quotientOf(value, k)
    if (quotient >= ESCAPE) {
      putBits(bits, 2 ** ESCAPE - 1, ESCAPE)
      putNumber(bits, value)
      continue
    }
    // So many ones, and a zero; nearly always in one piece with what follows.
    const unary = (2 << quotient) - 2
    if (quotient + 1 + k <= 24) {
      putBits(bits, (unary << k) | (value & ((1 << k) - 1)), quotient + 1 + k)
    } else {
      putBits(bits, unary, quotient + 1)
      putBits(bits, value % 2 ** k, k)
    }
  }
}

/** The least parameter with which the list is shortest. With more bits than the largest number has, each of them costs one more. */
function bestParameter(values: readonly number[], most: number): number {
  let [best, least] = [0, Infinity]
  const last = Math.min(widthOf(most), MAX_RICE)
  for (let k = 0; k <= last; k++) {
    let cost = 0
    for (let i = 0; i < values.length && cost < least; i++) {
      const quotient = quotientOf(values[i], k)
      cost += quotient >= ESCAPE ? ESCAPE + 6 + widthOf(values[i]) : quotient + 1 + k
    }
    if (cost < least) [best, least] = [k, cost]
  }
  return best
}

function quotientOf(value: number, k: number): number {
  return value < 2 ** 31 ? value >> k : Math.floor(value / 2 ** k)
}

function takeList(source: BitSource, length: number): number[] {
  const k = takeBits(source, 5)
  const values: number[] = []
  if (k === ALL_ZERO) {
    for (let i = 0; i < length; i++) values.push(0)
    return values
  }
  const { encoded } = source
  // In this loop the time of a decoder goes: what lies within four bytes of the list, as nearly all does, is read at once.
  const last = 8 * (encoded.length - 4)
  let { at } = source
  for (let i = 0; i < length; i++) {
    if (at < last) {
      const byte = at >> 3
      const word =
        ((encoded[byte] << 24) | (encoded[byte + 1] << 16) | (encoded[byte + 2] << 8) | encoded[byte + 3]) << (at & 7)
      const quotient = Math.clz32(~word)
      const width = quotient + 1 + k
      if (quotient < ESCAPE && width <= MOST_PEEKED) {
        values.push((quotient << k) | ((word >>> (32 - width)) & ((1 << k) - 1)))
        at += width
        continue
      }
    }
    source.at = at
    values.push(takeRice(source, k))
    at = source.at
  }
  source.at = at
  return values
}

function takeRice(source: BitSource, k: number): number {
  // As many as there are ones in front.
  const quotient = Math.min(ESCAPE, Math.clz32(~peekBits(source)))
  skipBits(source, quotient === ESCAPE ? ESCAPE : quotient + 1)
  return quotient === ESCAPE ? takeNumber(source) : quotient * 2 ** k + takeBits(source, k)
}
