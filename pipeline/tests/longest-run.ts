import { igamc } from '../special.ts'
import { insufficientResult, okResult, type TestDefinition, totalBytes } from './definition.ts'
import { countBlocks, insufficientBlocks, type Variant, variantParam } from './sp800-22.ts'

/** One row of the standard's table: blocks of `blockBits` bits, classes "at most `low`", ..., "at least `high`". */
export interface LongestRunClasses {
  readonly blockBits: number
  readonly low: number
  readonly high: number
  /** The row is used from so many blocks: 128, 6,272 and 750,000 bits. */
  readonly minimumBlocks: number
  /** Probabilities of the classes as STS 2.1.2 has them. */
  readonly nist212: readonly number[]
}

/** SP 800-22 rev 1a, 2.4.2 and 2.4.4 (2), the longest blocks first. */
export const LONGEST_RUN_CLASSES: readonly LongestRunClasses[] = [
  {
    blockBits: 10_000,
    low: 10,
    high: 16,
    minimumBlocks: 75,
    nist212: [0.0882, 0.2092, 0.2483, 0.1933, 0.1208, 0.0675, 0.0727],
  },
  {
    blockBits: 128,
    low: 4,
    high: 9,
    minimumBlocks: 49,
    nist212: [0.1174035788, 0.242955959, 0.249363483, 0.17517706, 0.102701071, 0.112398847],
  },
  { blockBits: 8, low: 1, high: 4, minimumBlocks: 16, nist212: [0.21484375, 0.3671875, 0.23046875, 0.1875] },
]

const [MINIMUM_BITS] = LONGEST_RUN_CLASSES.map((row) => row.blockBits * row.minimumBlocks).toReversed()

/** Longest run of ones at the front of each byte, at its end, and anywhere in it. */
const LEADING = Uint8Array.from({ length: 256 }, (_, byte) => Math.clz32(~(byte << 24)))
const TRAILING = Uint8Array.from({ length: 256 }, (_, byte) => 31 - Math.clz32(~byte & -~byte))
const LONGEST = Uint8Array.from({ length: 256 }, (_, byte) => {
  let length = 0
  for (let rest = byte; rest > 0; rest &= rest >>> 1) length++
  return length
})

/**
 * Adds the number of blocks in each class (at most `low`, ..., at least `high` ones in a row) to `counts`, for the whole
 * blocks of `blockBits` bits, a multiple of 8, among the first `bits` bits of `bytes`.
 */
export function addLongestRuns(
  bytes: Uint8Array,
  bits: number,
  { blockBits, low, high }: LongestRunClasses,
  counts: Float64Array,
): void {
  const step = blockBits / 8
  const end = Math.floor(bits / blockBits) * step
  for (let start = 0; start < end; start += step) {
    let longest = 0
    let run = 0
    for (let i = start; i < start + step; i++) {
      const byte = bytes[i]
      if (byte === 0xff) {
        run += 8
        continue
      }
      run += LEADING[byte]
      if (run > longest) longest = run
      if (LONGEST[byte] > longest) longest = LONGEST[byte]
      run = TRAILING[byte]
    }
    if (run > longest) longest = run
    counts[Math.min(Math.max(longest, low), high) - low]++
  }
}

/**
 * Exact probabilities of the classes: longest run of ones in `blockBits` fair bits at most `low`, low + 1, ..., at least
 * `high`.
 */
export function longestRunProbabilities(blockBits: number, low: number, high: number): number[] {
  const atMost = Array.from({ length: high - low }, (_, i) => probabilityOfNoRun(blockBits, low + i + 1))
  return [...atMost, 1].map((p, i) => (i === 0 ? p : p - atMost[i - 1]))
}

/**
 * Probability that `bits` fair bits hold no run of `length` ones. The first such run ends at bit i if bits i - length + 1
 * to i are ones, the bit before is a zero, and there was none before that: f(i) = f(i-1) - f(i-length-1) / 2^(length+1).
 */
function probabilityOfNoRun(bits: number, length: number): number {
  const none = new Float64Array(bits + 1).fill(1)
  for (let i = length; i <= bits; i++) {
    none[i] = none[i - 1] - (i === length ? 2 ** -length : none[i - length - 1] * 2 ** -(length + 1))
  }
  return none[bits]
}

const probabilities = new Map<number, number[]>()

/** Probabilities of the classes in the variant asked for; the exact ones are computed once. */
export function longestRunClassProbabilities(row: LongestRunClasses, variant: Variant): readonly number[] {
  if (variant === 'nist212') return row.nist212
  let exact = probabilities.get(row.blockBits)
  if (!exact) probabilities.set(row.blockBits, (exact = longestRunProbabilities(row.blockBits, row.low, row.high)))
  return exact
}

/** chi2 = sum (count - N pi)^2 / (N pi) over the classes, and its P-value. SP 800-22 rev 1a, 2.4.4 (4) and (5). */
export function classesStatistic(
  counts: ArrayLike<number>,
  pi: readonly number[],
): { blocks: number; chi2: number; p: number } {
  let blocks = 0
  for (let i = 0; i < counts.length; i++) blocks += counts[i]
  const chi2 = pi.reduce((sum, share, i) => sum + (counts[i] - blocks * share) ** 2 / (blocks * share), 0)
  return { blocks, chi2, p: igamc((pi.length - 1) / 2, chi2 / 2) }
}

/**
 * Longest run of ones in a block. Blocks are cut inside each segment; their length is the largest of the standard's of
 * which there are enough, which for one segment is the standard's choice by n. The variant 'corrected' has exact class
 * probabilities; STS's are rounded, for blocks of 10^4 bits to 4 digits, which moves p visibly.
 */
export const longestRun: TestDefinition = {
  name: 'longest_run',
  title: 'Longest run of ones in a block',
  formula:
    'counts of blocks by longest run, in K + 1 classes; chi2 = sum (count - N pi)^2 / (N pi); p = igamc(K/2, chi2/2)',
  source: "SP 800-22 rev 1a, 2.4; corrected: exact probabilities by recursion; nist212: STS 2.1.2's table",
  notes:
    'STS 2.1.2 has the class probabilities for blocks of 10,000 bits in four digits; exact ones move P of ' +
    "e's first million bits from .718945 to .718366, of pi's from .024390 to .027295. `nist212` takes " +
    "STS's.",
  minimumBits: MINIMUM_BITS,
  defaults: { variant: 'corrected' },
  suites: { 'sp800-22': {} },
  run(segments, params) {
    const variant = variantParam(params)
    const given = 8 * totalBytes(segments)
    if (given < MINIMUM_BITS) return insufficientResult(longestRun, params, MINIMUM_BITS, given)
    const row = LONGEST_RUN_CLASSES.find((one) => countBlocks(segments, one.blockBits) >= one.minimumBlocks)
    // Every byte is a block of 8, so that 128 bits always suffice.
    if (!row) return insufficientBlocks(longestRun, params, 16, 8, countBlocks(segments, 8))
    const counts = new Float64Array(row.high - row.low + 1)
    for (const segment of segments) addLongestRuns(segment, 8 * segment.length, row, counts)
    const { blocks, chi2, p } = classesStatistic(counts, longestRunClassProbabilities(row, variant))
    const used = blocks * row.blockBits
    return okResult(longestRun, params, {
      p_values: [p],
      statistic: chi2,
      metrics: { n_bits: used, bits_left_out: given - used, blocks, block_bits: row.blockBits, counts: [...counts] },
    })
  },
}
