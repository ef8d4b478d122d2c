/**
 * The plain kernels of bits.ts, which hold on every host: they walk 32-bit words where the memory is aligned, and single
 * bytes at the two ends. Bit 0 of a byte run is the MOST significant bit of its first byte.
 */

const ONES_IN_BYTE = Uint8Array.from({ length: 256 }, (_, byte) => {
  let ones = 0
  for (let rest = byte; rest > 0; rest >>= 1) ones += rest & 1
  return ones
})

/** Word kernels that care for the order of bytes are for little-endian hosts; elsewhere the byte kernels do it all. */
const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** The aligned 32-bit words inside `bytes`; they begin at byte `head`. Signed words stay small integers in V8. */
export function alignedWords(bytes: Uint8Array): { head: number; words: Int32Array } {
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
export function countOnesByWords(bytes: Uint8Array): number {
  const { head, words } = alignedWords(bytes)
  let ones = 0
  for (let i = 0; i < words.length; i++) ones += onesInWord(words[i])
  for (let i = 0; i < head; i++) ones += ONES_IN_BYTE[bytes[i]]
  for (let i = head + 4 * words.length; i < bytes.length; i++) ones += ONES_IN_BYTE[bytes[i]]
  return ones
}

/** Number of i with bit i equal to bit i + lag inside `bytes`. lag >= 1, an integer. */
export function countAgreementsByWords(bytes: Uint8Array, lag: number): number {
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
