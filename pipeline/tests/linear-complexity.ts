import { AREA_BYTES, BALANCE_AT, BALANCE_PLANES, simdKernels, type SimdKernels } from '../simd.ts'
import { igamc } from '../special.ts'
import { insufficientResult, integerParam, okResult, type TestDefinition, totalBytes } from './definition.ts'
import { countBlocks, insufficientBlocks, type Variant, variantParam } from './sp800-22.ts'

const DEFAULT_M = 500
/** From so many blocks on, 128 at once are faster than one after the other; SIMD_BITS fit into the kernel's memory. */
const SIMD_FROM_BLOCKS = 24
const MAXIMUM_SIMD_BITS = 8000
/** SP 800-22 rev 1a, 2.10.7: 500 <= M <= 5000, at least 200 blocks, n >= 10^6. */
const MINIMUM_BITS = 1_000_000
const MINIMUM_BLOCKS = 200

/**
 * Probabilities of the seven classes of T: at most -2.5, in steps of 1, above 2.5. 'corrected' are the limits that
 * follow from the number of sequences of each complexity (SP 800-22 rev 1a, 3.10), 1/96 and 1/48 at the ends; the first
 * is misprinted .01047 in 2.10.4, which makes the sum exceed 1. 'nist212' is what version 2.1.2 of the NIST program has.
 */
const CLASS_PROBABILITIES = {
  corrected: [1 / 96, 1 / 32, 1 / 8, 1 / 2, 1 / 4, 1 / 16, 1 / 48],
  nist212: [0.01047, 0.03125, 0.125, 0.5, 0.25, 0.0625, 0.020833],
} as const satisfies Record<Variant, readonly number[]>

/**
 * The linear complexity of the first `bits` bits of `bytes`: the length of the shortest linear feedback shift register
 * that makes them, 0 for zeros. Source: Berlekamp-Massey over GF(2), SP 800-22 rev 1a, 2.10.4 (2).
 */
export function linearComplexity(bytes: Uint8Array, bits: number): number {
  return blockComplexities(bytes, bits, 1)[0]
}

/**
 * The linear complexity of each of the first `blocks` blocks of `blockBits` bits of `bytes`. Throws RangeError if there
 * are not so many.
 */
export function blockComplexities(bytes: Uint8Array, blockBits: number, blocks: number): Uint32Array {
  if (!(Number.isInteger(blockBits) && blockBits >= 1 && blockBits * blocks <= 8 * bytes.length)) {
    throw new RangeError(`${bytes.length} bytes do not hold ${blocks} blocks of ${blockBits} bits`)
  }
  const found = new Uint32Array(blocks)
  const simd = blocks >= SIMD_FROM_BLOCKS && blockBits <= MAXIMUM_SIMD_BITS ? simdKernels() : null
  if (simd) fillSimdComplexities(simd, bytes, blockBits, found)
  else fillPlainComplexities(bytes, blockBits, found)
  return found
}

/** Sets `found` to the complexities of as many blocks, one after the other. */
export function fillPlainComplexities(bytes: Uint8Array, blockBits: number, found: Uint32Array): void {
  const ahead = new Int32Array(Math.ceil(blockBits / 32) + 1)
  const earlier = new Int32Array(ahead.length)
  for (let block = 0; block < found.length; block++) {
    readWords(bytes, block * blockBits, ahead)
    earlier.set(ahead)
    found[block] = wordComplexity(ahead, earlier, blockBits)
  }
}

/** Sets `found` to the complexities of as many blocks, 128 side by side: one in each bit of a vector. */
function fillSimdComplexities(simd: SimdKernels, bytes: Uint8Array, blockBits: number, found: Uint32Array): void {
  const memory = new Int32Array(simd.memory.buffer)
  const ahead = memory.subarray(0, AREA_BYTES / 4)
  const earlier = memory.subarray(AREA_BYTES / 4, (2 * AREA_BYTES) / 4)
  const balance = memory.subarray(BALANCE_AT / 4, BALANCE_AT / 4 + 4 * BALANCE_PLANES)
  const words = Math.ceil(blockBits / 32)
  const rows = Array.from({ length: 32 }, () => new Int32Array(words))
  const square = new Int32Array(32)
  for (let group = 0; group < found.length; group += 128) {
    for (let quarter = 0; quarter < 4; quarter++) {
      for (let row = 0; row < 32; row++) {
        const block = group + 32 * quarter + row
        if (block < found.length) readWords(bytes, block * blockBits, rows[row])
        else rows[row].fill(0)
      }
      for (let word = 0; word < words; word++) {
        for (let row = 0; row < 32; row++) square[row] = rows[row][word]
        transpose(square)
        for (let bit = 0; bit < 32; bit++) ahead[4 * (32 * word + bit) + quarter] = square[bit]
      }
    }
    const used = 4 * blockBits
    earlier.set(ahead.subarray(0, used))
    balance.fill(0)
    simd.complexities(blockBits)
    const end = Math.min(found.length, group + 128)
    for (let block = group; block < end; block++) found[block] = (blockBits - laneBalance(balance, block - group)) / 2
  }
}

/** The two's complement number that bit `block` of every plane makes. */
function laneBalance(planes: Int32Array, block: number): number {
  const word = block >>> 5
  const shift = 31 - (block & 31)
  let value = 0
  for (let plane = 0; plane < BALANCE_PLANES; plane++) value |= ((planes[4 * plane + word] >>> shift) & 1) << plane
  return (value << (32 - BALANCE_PLANES)) >> (32 - BALANCE_PLANES)
}

/** Transposes 32 by 32 bits in place, the first bit of a row being its most significant: ever smaller squares change. */
function transpose(rows: Int32Array): void {
  for (let size = 16, mask = 0xffff; size > 0; size >>= 1, mask ^= mask << size) {
    for (let row = 0; row < 32; row = (row + size + 1) & ~size) {
      const swapped = (rows[row] ^ (rows[row + size] >>> size)) & mask
      rows[row] ^= swapped
      rows[row + size] ^= swapped << size
    }
  }
}

/** Fills `words` with the bits of `bytes` from bit `from`, first bit most significant; zeros past the end. */
function readWords(bytes: Uint8Array, from: number, words: Int32Array): void {
  const shift = from % 8
  let at = Math.floor(from / 8)
  for (let i = 0; i < words.length; i++, at += 4) {
    const word = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]
    words[i] = (word << shift) | (bytes[at + 4] >>> (8 - shift))
  }
}

/**
 * Berlekamp-Massey without the polynomials, whose products with the sequence are enough for the complexity: `ahead`
 * holds the discrepancies that the present register C would give from here on (C times the sequence), `earlier` those of
 * the register before its last change of length. A step drops the first of `ahead`; if that was 1, it adds `earlier` to
 * the rest, and where the length changes, `earlier` becomes what the rest was. `balance` is N - 2L of Massey 1969. Both
 * arrays begin as the sequence and are destroyed.
 */
function wordComplexity(ahead: Int32Array, earlier: Int32Array, bits: number): number {
  let balance = 0
  let left = bits
  // The words before `first` have been used up; `earlier` is moved along so that it stays in line with `ahead`.
  while (left > 0) {
    const zeros = leadingZeros(ahead, left)
    if (zeros >= left) return (bits - (balance + left)) / 2
    balance += zeros
    left -= zeros + 1
    const changesLength = balance >= 0
    balance = changesLength ? -balance - 1 : balance + 1
    addShifted(ahead, earlier, zeros + 1, Math.ceil(left / 32), changesLength)
  }
  return (bits - balance) / 2
}

/** Zeros at the beginning of `words`, or at least `bits` if all of those are. */
function leadingZeros(words: Int32Array, bits: number): number {
  let zeros = 0
  for (let i = 0; zeros < bits; i++) {
    const here = Math.clz32(words[i])
    zeros += here
    if (here < 32) return zeros
  }
  return zeros
}

/** ahead = (ahead << shift) ^ earlier in the first `length` words; with `keep`, earlier = ahead << shift. */
function addShifted(ahead: Int32Array, earlier: Int32Array, shift: number, length: number, keep: boolean): void {
  const skipped = shift >>> 5
  const high = shift & 31
  let word = ahead[skipped]
  for (let i = 0; i < length; i++) {
    const next = ahead[i + skipped + 1]
    // Two shifts, because JavaScript takes x >>> 32 for x >>> 0.
    const shifted = (word << high) | ((next >>> 1) >>> (31 - high))
    ahead[i] = shifted ^ earlier[i]
    if (keep) earlier[i] = shifted
    word = next
  }
}

/**
 * How many of the complexities of blocks of `blockBits` bits fall into each of the seven classes of T. T is within
 * 2^-blockBits of a whole number, L - M/2 for even M and (M + 1)/2 - L for odd, so that it need not be computed.
 * Source: SP 800-22 rev 1a, 2.10.4 (3-5).
 */
export function complexityClasses(complexities: Uint32Array, blockBits: number): number[] {
  const classes = [0, 0, 0, 0, 0, 0, 0]
  const even = blockBits % 2 === 0
  for (const complexity of complexities) {
    const t = even ? complexity - blockBits / 2 : (blockBits + 1) / 2 - complexity
    classes[Math.min(3, Math.max(-3, t)) + 3]++
  }
  return classes
}

/** Chi-square of the counts of the seven classes, and its P-value. Source: SP 800-22 rev 1a, 2.10.4 (6-7). */
export function complexityStatistic(classes: readonly number[], variant: Variant): { chi2: number; p: number } {
  const blocks = classes.reduce((sum, count) => sum + count, 0)
  const chi2 = CLASS_PROBABILITIES[variant].reduce(
    (sum, probability, i) => sum + (classes[i] - blocks * probability) ** 2 / (blocks * probability),
    0,
  )
  return { chi2, p: igamc(3, chi2 / 2) }
}

/** Linear complexity test: are the shortest shift registers of the blocks as long as they should be? */
export const linearComplexityTest: TestDefinition = {
  name: 'linear_complexity',
  title: 'Linear complexity',
  formula:
    'L of each block of M bits (Berlekamp-Massey); T = (-1)^M (L - mu) + 2/9; chi2 over the seven classes of T; ' +
    'p = igamc(3, chi2/2)',
  source: 'SP 800-22 rev 1a, 2.10; first probability 1/96 for the misprinted .01047',
  notes:
    'The standard and STS print .01047 for the first probability, which is 1/96 = .0104167. `nist212` ' +
    'takes .01047.',
  minimumBits: MINIMUM_BITS,
  defaults: { M: DEFAULT_M, variant: 'corrected' },
  suites: { 'sp800-22': {} },
  run(segments, params) {
    const M = integerParam(params, 'M', 500, 5000)
    const variant = variantParam(params)
    const n = 8 * totalBytes(segments)
    if (n < MINIMUM_BITS) return insufficientResult(linearComplexityTest, params, MINIMUM_BITS, n)
    const blocks = countBlocks(segments, M)
    if (blocks < MINIMUM_BLOCKS) return insufficientBlocks(linearComplexityTest, params, MINIMUM_BLOCKS, M, blocks)
    const classes = segments
      .map((segment) => complexityClasses(blockComplexities(segment, M, countBlocks([segment], M)), M))
      .reduce((sums, counts) => sums.map((sum, i) => sum + counts[i]))
    const { chi2, p } = complexityStatistic(classes, variant)
    return okResult(linearComplexityTest, params, {
      p_values: [p],
      statistic: chi2,
      metrics: { n_bits: blocks * M, bits_left_out: n - blocks * M, blocks, classes },
    })
  },
}
