import { countOnes } from '../bits.ts'
import { igamc } from '../special.ts'
import { insufficientResult, integerParam, okResult, type TestDefinition, totalBytes } from './definition.ts'
import { insufficientBlocks } from './sp800-22.ts'

/** SP 800-22 rev 1a, 2.2.7 asks for n >= 100 and M >= 20; there must be one whole block besides. */
const MINIMUM_BITS = 100
const MINIMUM_M = 20
/** A word's popcount leaves at most 8 in each byte, so this many can be added before a byte could overflow. */
const WORDS_PER_FOLD = 31

/** Number of ones in each byte of `word`, as four bytes. */
function onesInBytes(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555)
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333)
  return (nibbles + (nibbles >>> 4)) & 0x0f0f0f0f
}

/** Number of ones in bits [from, to) of `bytes`. */
function countOnesBetween(bytes: Uint8Array, from: number, to: number): number {
  const first = Math.floor(from / 8)
  const last = Math.floor(to / 8)
  // What the first byte holds before `from` is taken off, what the last one holds before `to` is added.
  let ones = countOnes(bytes.subarray(first, last))
  if (from % 8 > 0) ones -= countOnes(Uint8Array.of(bytes[first] >>> (8 - (from % 8))))
  if (to % 8 > 0) ones += countOnes(Uint8Array.of(bytes[last] >>> (8 - (to % 8))))
  return ones
}

/**
 * The whole blocks of M bits among the first `bits` bits of `bytes`: their number, and the sum of (2 ones - M)^2 over
 * them, exact up to 2^53.
 */
export function blockDeviations(bytes: Uint8Array, bits: number, M: number): { blocks: number; sum: number } {
  const blocks = Math.floor(bits / M)
  let sum = 0
  if (M % 32 > 0) {
    for (let block = 0; block < blocks; block++) {
      sum += (2 * countOnesBetween(bytes, block * M, (block + 1) * M) - M) ** 2
    }
    return { blocks, sum }
  }
  const whole = bytes.subarray(0, (blocks * M) / 8)
  const aligned = whole.byteOffset % 4 === 0 ? whole : whole.slice()
  const words = new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4)
  const wordsPerBlock = M / 32
  for (let start = 0; start < words.length; start += wordsPerBlock) {
    const end = start + wordsPerBlock
    let ones = 0
    for (let at = start; at < end;) {
      const stop = Math.min(end, at + WORDS_PER_FOLD)
      let inBytes = 0
      for (; at < stop; at++) inBytes += onesInBytes(words[at])
      const inHalves = (inBytes & 0x00ff00ff) + ((inBytes >>> 8) & 0x00ff00ff)
      ones += (inHalves & 0xffff) + (inHalves >>> 16)
    }
    sum += (2 * ones - M) ** 2
  }
  return { blocks, sum }
}

/** chi2 = 4 M sum (ones / M - 1/2)^2 = sum (2 ones - M)^2 / M and its P-value. SP 800-22 rev 1a, 2.2.4. */
export function blockFrequencyStatistic(blocks: number, sum: number, M: number): { chi2: number; p: number } {
  const chi2 = sum / M
  return { chi2, p: igamc(blocks / 2, chi2 / 2) }
}

/**
 * Frequency within blocks of M bits. Blocks are cut inside each segment, from its first bit. The standard's advice that
 * M be above n / 100 is not enforced: STS's M of 128 breaks it at a million bits, and the chi-square only gains by it.
 */
export const blockFrequency: TestDefinition = {
  name: 'block_frequency',
  title: 'Frequency within a block',
  formula: 'chi2 = 4 M sum (ones_i / M - 1/2)^2 over N blocks of M bits; p = igamc(N/2, chi2/2)',
  source: 'SP 800-22 rev 1a, 2.2',
  minimumBits: 128,
  defaults: { M: 128 },
  suites: { 'sp800-22': {} },
  run(segments, params) {
    const M = integerParam(params, 'M', MINIMUM_M, 2 ** 31)
    const given = 8 * totalBytes(segments)
    const needed = Math.max(MINIMUM_BITS, M)
    if (given < needed) return insufficientResult(blockFrequency, params, needed, given)
    let blocks = 0
    let sum = 0
    for (const segment of segments) {
      const found = blockDeviations(segment, 8 * segment.length, M)
      blocks += found.blocks
      sum += found.sum
    }
    const blocksNeeded = Math.max(1, Math.floor(MINIMUM_BITS / M))
    if (blocks < blocksNeeded) return insufficientBlocks(blockFrequency, params, blocksNeeded, M, blocks)
    const { chi2, p } = blockFrequencyStatistic(blocks, sum, M)
    return okResult(blockFrequency, params, {
      p_values: [p],
      statistic: chi2,
      metrics: { n_bits: blocks * M, bits_left_out: given - blocks * M, blocks },
    })
  },
}
