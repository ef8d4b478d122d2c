/**
 * Counts over packed bits and bytes. Bit 0 of a byte run is the MOST significant bit of its first byte, everywhere.
 * Long runs go through the vector kernels where the host has them, seven times as fast as by words.
 */
import { alignedWords, countAgreementsByWords, countOnesByWords } from './bit-words.ts'
import { AREA_BYTES, simdKernels, type SimdKernels, STEP_BYTES } from './simd.ts'

/** From here on the way into the memory of the vector kernels is paid for. */
const SIMD_FROM_BYTES = 512
/** What is copied there at once: it stays in the first cache or the second. */
const PIECE_BYTES = 16_384
/** From here on a view of the words is paid for. */
const WORDS_FROM_BYTES = 256

/** Number of one bits in `bytes`. */
export function countOnes(bytes: Uint8Array): number {
  const simd = bytes.length < SIMD_FROM_BYTES ? null : simdKernels()
  if (!simd) return countOnesByWords(bytes)
  const whole = bytes.length - (bytes.length % STEP_BYTES)
  let ones = 0
  for (let from = 0; from < whole; from += PIECE_BYTES) {
    const to = Math.min(whole, from + PIECE_BYTES)
    simd.memory.set(bytes.subarray(from, to))
    ones += simd.ones(to - from)
  }
  return whole === bytes.length ? ones : ones + countOnesByWords(bytes.subarray(whole))
}

/**
 * Number of i with bit i equal to bit i + lag, over the max(0, 8 * bytes.length - lag) pairs inside `bytes`. Throws
 * RangeError unless lag is an integer >= 1.
 */
export function countAgreements(bytes: Uint8Array, lag: number): number {
  if (!Number.isSafeInteger(lag) || lag < 1) throw new RangeError(`lag must be a positive integer, not ${lag}`)
  const ahead = Math.floor(lag / 8)
  // The byte after that of the last bit of a pair must be there too.
  const usable = bytes.length - ahead - 1
  const simd = usable < SIMD_FROM_BYTES ? null : simdKernels()
  if (!simd) return countAgreementsByWords(bytes, lag)
  const whole = usable - (usable % STEP_BYTES)
  const disagreements = countSimdDisagreements(simd, bytes, ahead, lag % 8, whole)
  return 8 * whole - disagreements + countAgreementsByWords(bytes.subarray(whole), lag)
}

/** Pairs of unlike bits whose first lies in the first `whole` bytes, lag = 8 * ahead + shift. */
function countSimdDisagreements(
  simd: SimdKernels,
  bytes: Uint8Array,
  ahead: number,
  shift: number,
  whole: number,
): number {
  let disagreements = 0
  for (let from = 0; from < whole; from += PIECE_BYTES) {
    const to = Math.min(whole, from + PIECE_BYTES)
    simd.memory.set(bytes.subarray(from, to))
    simd.memory.set(bytes.subarray(from + ahead, to + ahead + 1), AREA_BYTES)
    disagreements += simd.disagreements(to - from, shift, (0xff << shift) & 0xff, 0xff >> (8 - shift))
  }
  return disagreements
}

/** Number of i with bit i unlike bit i + 1, inside `bytes`: one less than the runs of SP 800-22 rev 1a, 2.3. */
export function countTransitions(bytes: Uint8Array): number {
  return bytes.length === 0 ? 0 : 8 * bytes.length - 1 - countAgreements(bytes, 1)
}

/** Sum of bytes[i] bytes[i + 1]; exact below 2^53, 138 GB. */
export function sumNeighbourProducts(bytes: Uint8Array): number {
  const simd = bytes.length < SIMD_FROM_BYTES ? null : simdKernels()
  const pairs = Math.max(0, bytes.length - 1)
  const whole = simd ? pairs - (pairs % 16) : 0
  let total = 0
  for (let from = 0; from < whole; from += PIECE_BYTES) {
    const to = Math.min(whole, from + PIECE_BYTES)
    simd?.memory.set(bytes.subarray(from, to + 1))
    total += simd?.products(to - from) ?? 0
  }
  for (let i = whole; i < pairs; i++) total += bytes[i] * bytes[i + 1]
  return total
}

/** Adds how often each byte value occurs in `bytes` to `histogram` (256 counts). */
export function addByteHistogram(bytes: Uint8Array, histogram: Uint32Array): void {
  if (histogram.length !== 256) throw new RangeError(`a byte histogram has 256 counts, not ${histogram.length}`)
  let from = 0
  if (bytes.length >= WORDS_FROM_BYTES) {
    const { head, words } = alignedWords(bytes)
    for (let i = 0; i < head; i++) histogram[bytes[i]]++
    for (let i = 0; i < words.length; i++) {
      const word = words[i]
      histogram[word & 0xff]++
      histogram[(word >>> 8) & 0xff]++
      histogram[(word >>> 16) & 0xff]++
      histogram[word >>> 24]++
    }
    from = head + 4 * words.length
  }
  for (let i = from; i < bytes.length; i++) histogram[bytes[i]]++
}

/**
 * Counts [n00, n01, n10, n11] of the overlapping bit pairs of `bytes` read as a circle (the last bit is followed by the
 * first), 8 * bytes.length in all, as SP 800-22 rev 1a, 2.11 takes them.
 */
export function countCircularPairs(bytes: Uint8Array): [number, number, number, number] {
  if (bytes.length === 0) return [0, 0, 0, 0]
  const ones = countOnes(bytes)
  const closing = (bytes[0] >>> 7) ^ (bytes[bytes.length - 1] & 1)
  // On a circle every rise is followed by a fall, so half of the transitions are 01 and half are 10.
  const rises = (countTransitions(bytes) + closing) / 2
  return [8 * bytes.length - ones - rises, rises, rises, ones - rises]
}

/** Largest pattern of the pattern counts: they look at three bytes at a time. */
export const MAXIMUM_PATTERN_BITS = 16
/** The widest table that is still faster than counting each pattern by itself; 2^16 counts fill the second cache. */
const WIDEST_TABLE_BITS = 16

/**
 * Adds the counts of the overlapping m-bit patterns (1 <= m <= 16) of the first `bits` bits of `bytes`, read as a
 * circle, to `counts` (2^m; index = the pattern, first bit most significant). One pattern starts at every bit. Throws
 * RangeError for another m, number of counts or number of bits.
 */
export function addCircularPatterns(
  bytes: Uint8Array,
  m: number,
  counts: Uint32Array,
  bits: number = 8 * bytes.length,
): void {
  requirePatterns(m, counts)
  if (!(Number.isInteger(bits) && bits >= 0 && bits <= 8 * bytes.length)) {
    throw new RangeError(`bits must be 0 to ${8 * bytes.length}, not ${bits}`)
  }
  if (bits === 0) return
  if (bits === 8 * bytes.length) {
    // A single byte is its own predecessor.
    const before = (bytes[Math.max(0, bytes.length - 2)] << 8) | bytes[bytes.length - 1]
    return addPatternsOfBytes(bytes, 0, bytes.length, before, m, counts)
  }
  // The patterns that go through the seam, each once even where the circle is shorter than a pattern.
  const seam = Math.min(m - 1, bits)
  let window = 0
  for (let i = 1 - m; i < seam; i++) {
    window = ((window << 1) | bitAt(bytes, (i + m * bits) % bits)) & ((1 << m) - 1)
    if (i >= 0) counts[window]++
  }
  if (bits >= m) addPatterns(bytes, 0, bits - m + 1, m, counts)
}

/**
 * Adds the counts of the m-bit patterns (1 <= m <= 16) that start at the bits [from, to) of `bytes` to `counts` (2^m;
 * index = the pattern, first bit most significant); to + m - 1 bits must be there. Throws RangeError otherwise.
 */
export function addPatterns(bytes: Uint8Array, from: number, to: number, m: number, counts: Uint32Array): void {
  requirePatterns(m, counts)
  if (!(from >= 0 && (from >= to || to + m - 1 <= 8 * bytes.length))) {
    throw new RangeError(`patterns of ${m} bits cannot start at bits ${from} to ${to - 1} of ${bytes.length} bytes`)
  }
  if (from >= to) return
  // By the byte where they end; the two bytes before it are then all that is needed.
  const firstEnd = from + m - 1
  const afterEnd = to + m - 1
  const firstByte = Math.max(2, Math.ceil(firstEnd / 8))
  const endByte = Math.floor(afterEnd / 8)
  if (firstByte >= endByte) return addPatternsEnding(bytes, firstEnd, afterEnd, m, counts)
  addPatternsEnding(bytes, firstEnd, 8 * firstByte, m, counts)
  addPatternsOfBytes(bytes, firstByte, endByte, (bytes[firstByte - 2] << 8) | bytes[firstByte - 1], m, counts)
  addPatternsEnding(bytes, 8 * endByte, afterEnd, m, counts)
}

/** Counts of the patterns one bit shorter: on a circle every (m-1)-bit pattern is followed by a 0 or by a 1. */
export function foldPatterns(counts: ArrayLike<number>): Float64Array {
  const shorter = new Float64Array(counts.length / 2)
  for (let pattern = 0; pattern < shorter.length; pattern++) {
    shorter[pattern] = counts[2 * pattern] + counts[2 * pattern + 1]
  }
  return shorter
}

function requirePatterns(m: number, counts: Uint32Array): void {
  if (!Number.isInteger(m) || m < 1 || m > MAXIMUM_PATTERN_BITS) throw new RangeError(`m must be 1 to 16, not ${m}`)
  if (counts.length !== 1 << m) throw new RangeError(`${m}-bit patterns need ${1 << m} counts, not ${counts.length}`)
}

/** Bit `at` of `bytes`, 0 or 1. */
function bitAt(bytes: Uint8Array, at: number): number {
  return (bytes[Math.floor(at / 8)] >>> (7 - (at % 8))) & 1
}

/** Patterns whose last bits are [from, to), one at a time. */
function addPatternsEnding(bytes: Uint8Array, from: number, to: number, m: number, counts: Uint32Array): void {
  for (let end = from; end < to; end++) {
    const at = Math.floor(end / 8)
    const window = ((at > 1 ? bytes[at - 2] : 0) << 16) | ((at > 0 ? bytes[at - 1] : 0) << 8) | bytes[at]
    counts[(window >>> (7 - (end % 8))) & ((1 << m) - 1)]++
  }
}

/** Patterns that end in the bytes [from, to), from < to; `before` are the 16 bits before them. */
function addPatternsOfBytes(
  bytes: Uint8Array,
  from: number,
  to: number,
  before: number,
  m: number,
  counts: Uint32Array,
): void {
  // Four patterns in one look-up, where there are bytes enough to pay for taking the wide table apart.
  const wide = m + 3
  if (wide <= WIDEST_TABLE_BITS && to - from >= 1 << wide) {
    return addHalvedTwice(countNibbleWindows(bytes, from, to, before, wide), counts)
  }
  const mask = (1 << m) - 1
  let window = before
  for (let i = from; i < to; i++) {
    window = ((window & 0xffff) << 8) | bytes[i]
    counts[(window >>> 7) & mask]++
    counts[(window >>> 6) & mask]++
    counts[(window >>> 5) & mask]++
    counts[(window >>> 4) & mask]++
    counts[(window >>> 3) & mask]++
    counts[(window >>> 2) & mask]++
    counts[(window >>> 1) & mask]++
    counts[window & mask]++
  }
}

/** Counts of the `wide`-bit windows that end with either half of the bytes [from, to); `before` as above. */
function countNibbleWindows(bytes: Uint8Array, from: number, to: number, before: number, wide: number): Uint32Array {
  const counts = new Uint32Array(1 << wide)
  const mask = (1 << wide) - 1
  let window = before
  for (let i = from; i < to; i++) {
    window = ((window & 0xffff) << 8) | bytes[i]
    counts[(window >>> 4) & mask]++
    counts[window & mask]++
  }
  return counts
}

/** Adds the patterns of m bits inside the windows of m + 3 bits: the window's two ends, and those of the ends. */
function addHalvedTwice(windows: Uint32Array, counts: Uint32Array): void {
  const ends = new Uint32Array(windows.length / 4)
  addEnds(windows, 2, ends)
  addEnds(ends, 1, counts)
}

/** Adds every window without its last `less` bits, and without its first, to `shorter`. */
function addEnds(windows: Uint32Array, less: number, shorter: Uint32Array): void {
  const mask = shorter.length - 1
  for (let i = 0; i < windows.length; i++) {
    shorter[i >>> less] += windows[i]
    shorter[i & mask] += windows[i]
  }
}
