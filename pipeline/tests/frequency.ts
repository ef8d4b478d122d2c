import { countOnes } from '../bits.ts'
import { binomialTwoSidedHalf, erfc } from '../special.ts'
import { insufficientResult, okResult, type TestDefinition, type TestResult, totalBytes } from './definition.ts'

const MINIMUM_BITS = 100
/** Below this the discreteness of the count shows in the normal approximation, and the exact p is given beside it. */
const EXACT_BELOW_BITS = 1000

/** P-value of `ones` one bits among `n`: erfc(|2 ones - n| / sqrt(2 n)), SP 800-22 rev 1a, 2.1.4. */
export function frequencyPValue(ones: number, n: number): number {
  return erfc(Math.abs(2 * ones - n) / Math.sqrt(2 * n))
}

/**
 * Monobit test. `p_values` always holds the standard's normal approximation, so that results compare with other
 * implementations at every length; below 1,000 bits `metrics.p_exact` is the exact two-sided binomial p.
 */
export const frequency: TestDefinition = {
  name: 'frequency',
  title: 'Frequency (monobit)',
  formula: 's = |2 ones - n| / sqrt(n); p = erfc(s / sqrt(2))',
  source: 'SP 800-22 rev 1a, 2.1',
  minimumBits: MINIMUM_BITS,
  defaults: {},
  suites: { chunk: {}, 'sp800-22': {} },
  run(segments, params) {
    const n = 8 * totalBytes(segments)
    if (n < MINIMUM_BITS) return insufficientResult(frequency, params, MINIMUM_BITS, n)
    const ones = segments.reduce((sum, segment) => sum + countOnes(segment), 0)
    const metrics: TestResult['metrics'] = { n_bits: n, ones, proportion: ones / n }
    if (n < EXACT_BELOW_BITS) metrics.p_exact = binomialTwoSidedHalf(n, ones)
    return okResult(frequency, params, {
      p_values: [frequencyPValue(ones, n)],
      statistic: Math.abs(2 * ones - n) / Math.sqrt(n),
      metrics,
    })
  },
}
