import { estimateMostCommonValue } from '../sp800-90b/most-common-value.ts'
import { binomialUpper } from '../special.ts'
import { byteHistogram } from './byte-histogram.ts'
import { insufficientResult, okResult, type TestDefinition, totalBytes } from './definition.ts'

/** The bound divides by N - 1. */
const MINIMUM_BITS = 16

/**
 * Min-entropy per byte from the most common value, with the upper end of the 99 % interval of its probability.
 * The one P-value is min(1, 256 P(Bin(N, 1/256) >= max_count)): by the union bound an UPPER bound of the probability
 * that some value is so frequent in an ideal source. It rejects less often than its level says, and is 1 for ordinary
 * data.
 */
export const mostCommonValue: TestDefinition = {
  name: 'most_common_value',
  title: 'Most common value (min-entropy)',
  formula:
    'q = max/N; qu = min(1, q + 2.576 sqrt(q (1 - q) / (N - 1))); H = -log2 qu; p <= 256 P(Bin(N, 1/256) >= max)',
  source: 'SP 800-90B, 6.3.1; P-value: union bound',
  minimumBits: MINIMUM_BITS,
  defaults: {},
  suites: { chunk: {} },
  run(segments, params) {
    const bytes = totalBytes(segments)
    if (8 * bytes < MINIMUM_BITS) return insufficientResult(mostCommonValue, params, MINIMUM_BITS, 8 * bytes)
    const histogram = byteHistogram(segments)
    const max = histogram.reduce((largest, count) => Math.max(largest, count), 0)
    const estimate = estimateMostCommonValue(max, bytes)
    return okResult(mostCommonValue, params, {
      p_values: [Math.min(1, 256 * binomialUpper(bytes, max, 1 / 256))],
      statistic: estimate.min_entropy,
      metrics: { n_bytes: bytes, max_count: max, mode: histogram.indexOf(max), p_upper_bound: estimate.details.p_u },
    })
  },
}
