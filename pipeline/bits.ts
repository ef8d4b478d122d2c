/**
 * Counts over packed bits and bytes. Bit 0 of a byte run is the MOST significant bit of its first byte, everywhere.
 * The kernels walk 32-bit words where the memory is aligned, and single bytes at the two ends.
 */

const ONES_IN_BYTE = Uint8Array.from({ length: 256 }, (_, byte) => {
  let ones = 0
  for (let rest = byte; rest > 0; rest >>= 1) ones += rest & 1
  return ones
})

/** Word kernels that care for the order of bytes are for little-endian hosts; elsewhere the byte kernels do it all. */
const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** The aligned 32-bit words inside `bytes`; they begin at byte `head`. Signed words stay small integers in V8. */
function alignedWords(bytes: Uint8Array): { head: number; words: Int32Array } {
  const head = Math.min(-bytes.byteOffset & 3, bytes.length)
  const count = (bytes.length - head) >>> 2
  if (count === 0) return { head: 0, words: new Int32Array(0) }
  return { head, words: new Int32Array(bytes.buffer, bytes.byteOffset + head, count) }
}

function onesInWord(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555)
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333)
  x = (x + (x >>> 4)) & 0x0f0f0f0f
  return Math.imul(x, 0x01010101) >>> 24
}

/** The first byte in memory becomes the most significant: bit order and numeric order then agree. */
function bigEndian(word: number): number {
  const swapped = ((word & 0x00ff00ff) << 8) | ((word >>> 8) & 0x00ff00ff)
  return (swapped << 16) | (swapped >>> 16)
}

/** Number of one bits in `bytes`. */
export function countOnes(bytes: Uint8Array): number {
  const { head, words } = alignedWords(bytes)
  let ones = 0
  for (let i = 0; i < words.length; i++) ones += onesInWord(words[i])
  for (let i = 0; i < head; i++) ones += ONES_IN_BYTE[bytes[i]]
  for (let i = head + 4 * words.length; i < bytes.length; i++) ones += ONES_IN_BYTE[bytes[i]]
  return ones
}

/**
 * Number of i with bit i equal to bit i + lag, over the max(0, 8 * bytes.length - lag) pairs inside `bytes`. lag >= 1.
 */
export function countAgreements(bytes: Uint8Array, lag: number): number {
  if (!Number.isSafeInteger(lag) || lag < 1) throw new RangeError(`lag must be a positive integer, not ${lag}`)
  const pairs = 8 * bytes.length - lag
  if (pairs <= 0) return 0
  const { head, words } = alignedWords(bytes)
  const ahead = Math.floor(lag / 32)
  // The last word of a pair needs its right neighbour to be a whole word too.
  const usable = LITTLE_ENDIAN ? Math.max(0, words.length - ahead - 1) : 0
  const first = usable > 0 ? head : 0
  const after = first + 4 * usable
  const disagreements =
    countByteDisagreements(bytes, lag, 0, first) +
    countWordDisagreements(words, ahead, lag % 32, usable) +
    countByteDisagreements(bytes, lag, after, Math.ceil(pairs / 8))
  return pairs - disagreements
}

/** Number of i with bit i unlike bit i + 1, inside `bytes`: one less than the runs of SP 800-22 rev 1a, 2.3. */
export function countTransitions(bytes: Uint8Array): number {
  return bytes.length === 0 ? 0 : 8 * bytes.length - 1 - countAgreements(bytes, 1)
}

/** popcount(x ^ (x << lag)) over `usable` words, lag = 32 * ahead + shift. */
function countWordDisagreements(words: Int32Array, ahead: number, shift: number, usable: number): number {
  if (usable === 0) return 0
  let count = 0
  let left = bigEndian(words[ahead])
  for (let i = 0; i < usable; i++) {
    const right = bigEndian(words[i + ahead + 1])
    // Two shifts, because JavaScript takes x >>> 32 for x >>> 0.
    const shifted = (left << shift) | ((right >>> 1) >>> (31 - shift))
    count += onesInWord(bigEndian(words[i]) ^ shifted)
    left = right
  }
  return count
}

/** The same by single bytes for the pairs whose first bit lies in bytes [from, to); pairs past the end do not count. */
function countByteDisagreements(bytes: Uint8Array, lag: number, from: number, to: number): number {
  const pairs = 8 * bytes.length - lag
  const ahead = Math.floor(lag / 8)
  const shift = lag % 8
  let count = 0
  for (let i = from; i < to; i++) {
    const next = i + ahead + 1 < bytes.length ? bytes[i + ahead + 1] : 0
    const shifted = ((bytes[i + ahead] << shift) | (next >>> (8 - shift))) & 0xff
    const valid = Math.min(8, pairs - 8 * i)
    count += ONES_IN_BYTE[(bytes[i] ^ shifted) & (0xff << (8 - valid)) & 0xff]
  }
  return count
}

/** Adds how often each byte value occurs in `bytes` to `histogram` (256 counts). */
export function addByteHistogram(bytes: Uint8Array, histogram: Uint32Array): void {
  if (histogram.length !== 256) throw new RangeError(`a byte histogram has 256 counts, not ${histogram.length}`)
  for (let i = 0; i < bytes.length; i++) histogram[bytes[i]]++
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

/**
 * Adds the counts of the overlapping m-bit patterns (1 <= m <= 16) of `bytes`, read as a circle, to `counts` (2^m;
 * index = the pattern, first bit most significant). One pattern starts at every bit.
 */
export function addCircularPatterns(bytes: Uint8Array, m: number, counts: Uint32Array): void {
  if (!Number.isInteger(m) || m < 1 || m > 16) throw new RangeError(`m must be 1 to 16, not ${m}`)
  if (counts.length !== 1 << m) throw new RangeError(`${m}-bit patterns need ${1 << m} counts, not ${counts.length}`)
  if (bytes.length === 0) return
  const mask = (1 << m) - 1
  const last = bytes.length - 1
  // Enter the circle with its last 16 bits (a single byte is its own predecessor), so that no end needs a special case.
  let window = (bytes[Math.max(0, last - 1)] << 8) | bytes[last]
  for (let i = 0; i < bytes.length; i++) {
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
