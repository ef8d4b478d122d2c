import { addPatterns } from '../bits.ts'
import { igamc } from '../special.ts'
import { insufficientResult, integerParam, okResult, type TestDefinition, totalBytes } from './definition.ts'
import { countBlocks, insufficientBlocks } from './sp800-22.ts'

const DEFAULT_M = 9
/** N of SP 800-22 rev 1a, 2.7.2. */
const BLOCKS = 8
/**
 * Fewest occurrences to expect in a block; the standard has no such bound. With 5, the usual rule for a chi-square, good
 * data fail at level .01 with probability .014, with 1 three times as often as they should.
 */
const MINIMUM_EXPECTED = 5

/**
 * The aperiodic templates of m bits in rising order: those that no shift by 1 to m - 1 bits lays upon themselves. 148 of
 * 9 bits. Source: SP 800-22 rev 1a, 2.7 and its templates files, which list them in this order.
 */
export function aperiodicTemplates(m: number): number[] {
  return Array.from({ length: 2 ** m }, (_, template) => template).filter((template) => {
    for (let shift = 1; shift < m; shift++) {
      if (template >>> shift === (template & (2 ** (m - shift) - 1))) return false
    }
    return true
  })
}

/**
 * Occurrences in each block of every m-bit pattern that lies inside it (`blocks` tables of 2^m counts), the blocks being
 * the first `blocks` times `blockBits` bits of `bytes`. An aperiodic template cannot overlap itself, so that skipping m
 * bits after each hit, as the standard does, finds exactly as many: one look at every bit serves all templates.
 */
export function countBlockPatterns(bytes: Uint8Array, blockBits: number, blocks: number, m: number): Uint32Array[] {
  return Array.from({ length: blocks }, (_, block) => {
    const counts = new Uint32Array(2 ** m)
    addPatterns(bytes, block * blockBits, (block + 1) * blockBits - m + 1, m, counts)
    return counts
  })
}

/**
 * Chi-square and P-value of the number of times a template of m bits was found in each block of `blockBits` bits.
 * Source: SP 800-22 rev 1a, 2.7.4.
 */
export function nonOverlappingStatistic(
  found: readonly number[],
  blockBits: number,
  m: number,
): { chi2: number; p: number } {
  const mean = (blockBits - m + 1) / 2 ** m
  const variance = blockBits * (1 / 2 ** m - (2 * m - 1) / 2 ** (2 * m))
  const chi2 = found.reduce((sum, count) => sum + (count - mean) ** 2, 0) / variance
  return { chi2, p: igamc(found.length / 2, chi2 / 2) }
}

/** Fewest bits of a block, and so of the sequence an eighth. */
function minimumBlockBits(m: number): number {
  return MINIMUM_EXPECTED * 2 ** m + m - 1
}

/** The longest block of which the segments hold eight. With one segment it is the standard's floor(n / 8). */
function longestBlock(segments: readonly Uint8Array[]): number {
  // A ninth segment gives no block that is not shorter than eight others.
  const longest = segments.map((segment) => 8 * segment.length).toSorted((a, b) => b - a)
  const bits = longest.slice(0, BLOCKS)
  const candidates = bits.flatMap((length) => Array.from({ length: BLOCKS }, (_, k) => Math.floor(length / (k + 1))))
  const fits = (block: number) => bits.reduce((sum, length) => sum + Math.floor(length / block), 0) >= BLOCKS
  return Math.max(0, ...candidates.filter((block) => block > 0 && fits(block)))
}

/**
 * Non-overlapping template matching: does any aperiodic pattern come too often or too seldom? `p_values` has one for
 * each template, in the order of aperiodicTemplates(m), and they are not independent. The statistic is the chi-square of
 * the template with the smallest of them.
 */
export const nonOverlappingTemplate: TestDefinition = {
  name: 'non_overlapping_template',
  title: 'Non-overlapping template matching',
  formula:
    'W = occurrences in each of 8 blocks of M bits; mu = (M-m+1)/2^m, s2 = M (1/2^m - (2m-1)/2^2m); ' +
    'chi2 = sum (W - mu)^2 / s2; p = igamc(4, chi2/2) for each aperiodic template of m bits',
  source: 'SP 800-22 rev 1a, 2.7',
  notes:
    'The standard gives no least length; 5 expected hits in a block are asked for, as for any chi-square. ' +
    'The P-values of the templates are not independent. STS skips templates for m above 9; here all are ' +
    'run.',
  minimumBits: BLOCKS * minimumBlockBits(DEFAULT_M),
  defaults: { m: DEFAULT_M },
  suites: { 'sp800-22': {} },
  run(segments, params) {
    const m = integerParam(params, 'm', 2, 16)
    const n = 8 * totalBytes(segments)
    const least = minimumBlockBits(m)
    if (n < BLOCKS * least) return insufficientResult(nonOverlappingTemplate, params, BLOCKS * least, n)
    const blockBits = longestBlock(segments)
    if (blockBits < least) {
      return insufficientBlocks(nonOverlappingTemplate, params, BLOCKS, least, countBlocks(segments, least))
    }
    const counts: Uint32Array[] = []
    for (const segment of segments) {
      const blocks = Math.min(BLOCKS - counts.length, countBlocks([segment], blockBits))
      counts.push(...countBlockPatterns(segment, blockBits, blocks, m))
    }
    const templates = aperiodicTemplates(m)
    const found = templates.map((template) =>
      nonOverlappingStatistic(
        counts.map((block) => block[template]),
        blockBits,
        m,
      ),
    )
    const worst = found.reduce((smallest, { p }, i) => (p < found[smallest].p ? i : smallest), 0)
    return okResult(nonOverlappingTemplate, params, {
      p_values: found.map(({ p }) => p),
      statistic: found[worst].chi2,
      metrics: {
        n_bits: BLOCKS * blockBits,
        bits_left_out: n - BLOCKS * blockBits,
        block_bits: blockBits,
        templates: templates.length,
        template: templates[worst].toString(2).padStart(m, '0'),
      },
    })
  },
}
