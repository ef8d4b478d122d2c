import { countAgreements } from '../bits.ts'
import { normalTwoSided } from '../special.ts'
import { insufficientResult, integersParam, okResult, type TestDefinition } from './definition.ts'

/** Fewest pairs of bits at a lag for the normal approximation of their binomial agreement count. */
const MINIMUM_PAIRS = 100
const MAXIMUM_LAG = 2 ** 31 - 1
const DEFAULT_LAGS = [1, 2, 3, 4, 8, 16, 32]

/**
 * Agreement of bits d apart, one P-value per lag. Lags at which the segments hold fewer than 100 pairs are not tested:
 * `params.lags` of the result lists those that were, in the order of `p_values`, and `metrics.lags_skipped` the rest.
 * The statistic is the z of largest size.
 */
export const autocorrelation: TestDefinition = {
  name: 'autocorrelation',
  title: 'Autocorrelation of bits',
  formula: 'A = agreements of bits d apart among N pairs; z = (2A - N) / sqrt(N); p = erfc(|z| / sqrt(2))',
  source:
    'Menezes, van Oorschot, Vanstone: Handbook of Applied Cryptography, 5.4.4 (v), with agreements for differences',
  minimumBits: MINIMUM_PAIRS + DEFAULT_LAGS[0],
  defaults: { lags: DEFAULT_LAGS },
  suites: { chunk: {} },
  run(segments, params) {
    const wanted = integersParam(params, 'lags', 1, MAXIMUM_LAG)
    const pairsAt = (lag: number) => segments.reduce((sum, { length }) => sum + Math.max(0, 8 * length - lag), 0)
    const lags = wanted.filter((lag) => pairsAt(lag) >= MINIMUM_PAIRS)
    if (lags.length === 0) {
      const lag = Math.min(...wanted)
      const hidden = segments.reduce((sum, { length }) => sum + Math.min(lag, 8 * length), 0)
      return insufficientResult(autocorrelation, params, MINIMUM_PAIRS + hidden, pairsAt(lag) + hidden)
    }
    const pairs = lags.map(pairsAt)
    const agreements = lags.map((lag) => segments.reduce((sum, segment) => sum + countAgreements(segment, lag), 0))
    const z = lags.map((_, i) => (2 * agreements[i] - pairs[i]) / Math.sqrt(pairs[i]))
    return okResult(
      autocorrelation,
      { ...params, lags },
      {
        p_values: z.map(normalTwoSided),
        statistic: z.reduce((largest, value) => (Math.abs(value) > Math.abs(largest) ? value : largest)),
        metrics: { z, agreements, pairs, lags_skipped: wanted.filter((lag) => !lags.includes(lag)) },
      },
    )
  },
}
