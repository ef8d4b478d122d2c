import { foldPatterns } from '../bits.ts'
import { igamc } from '../special.ts'
import { insufficientResult, integerParam, okResult, type TestDefinition, totalBytes } from './definition.ts'
import { circularPatterns } from './serial.ts'

const DEFAULT_M = 10

/** Fewest bits for patterns of m bits: m < floor(log2 n) - 5, SP 800-22 rev 1a, 2.12.7. */
function minimumBitsFor(m: number): number {
  return 2 ** (m + 6)
}

/**
 * Approximate entropy ApEn(m) in nats, chi-square = 2 n (ln 2 - ApEn(m)) and its P-value, from the counts of the
 * circular overlapping patterns of m + 1 bits (2^(m+1) of them, m >= 1); those of m bits are their sums. Throws
 * RangeError for another number of counts. Source: SP 800-22 rev 1a, 2.12.4.
 */
export function approximateEntropyStatistic(counts: ArrayLike<number>): { apEn: number; chi2: number; p: number } {
  const m = Math.log2(counts.length) - 1
  if (!Number.isInteger(m) || m < 1) {
    throw new RangeError(`approximate entropy needs 2^(m+1) counts with m >= 1, not ${counts.length}`)
  }
  let n = 0
  for (let pattern = 0; pattern < counts.length; pattern++) n += counts[pattern]
  // Summed as the standard prints it. The cancellation costs 1e-9 of p at a million bits; a form without it would be
  // that far from every other implementation.
  const apEn = phi(foldPatterns(counts), n) - phi(counts, n)
  // Only rounding can take it below 0.
  const chi2 = Math.max(0, 2 * n * (Math.LN2 - apEn))
  return { apEn, chi2, p: igamc(2 ** (m - 1), chi2 / 2) }
}

/** phi = sum C ln C with C = count / n. */
function phi(counts: ArrayLike<number>, n: number): number {
  let sum = 0
  for (let pattern = 0; pattern < counts.length; pattern++) {
    if (counts[pattern] > 0) sum += counts[pattern] * Math.log(counts[pattern] / n)
  }
  return sum / n
}

/** Approximate entropy test: do patterns of m + 1 bits tell more than those of m bits? */
export const approximateEntropy: TestDefinition = {
  name: 'approximate_entropy',
  title: 'Approximate entropy',
  formula: 'ApEn = phi(m) - phi(m+1), phi(m) = sum (count/n) ln(count/n); p = igamc(2^(m-1), n (ln 2 - ApEn))',
  source: 'SP 800-22 rev 1a, 2.12',
  notes:
    'At its least length the chi-square approximation is second-order biased: P-values of good data are ' +
    'not quite uniform at 65,536 bits, and are at 524,288.',
  minimumBits: minimumBitsFor(DEFAULT_M),
  defaults: { m: DEFAULT_M },
  suites: { 'sp800-22': {} },
  run(segments, params) {
    const m = integerParam(params, 'm', 1, 15)
    const { counts, used } = circularPatterns(segments, m + 1)
    const n = 8 * totalBytes(used)
    if (n < minimumBitsFor(m)) return insufficientResult(approximateEntropy, params, minimumBitsFor(m), n)
    const { apEn, chi2, p } = approximateEntropyStatistic(counts)
    return okResult(approximateEntropy, params, {
      p_values: [p],
      statistic: chi2,
      metrics: { n_bits: n, approximate_entropy: apEn, segments: used.length },
    })
  },
}
