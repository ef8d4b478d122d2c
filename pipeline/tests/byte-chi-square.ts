import { chiSquareUpper } from '../special.ts'
import { byteHistogram } from './byte-histogram.ts'
import { insufficientResult, okResult, type TestDefinition, totalBytes } from './definition.ts'

/** At least 5 expected of each byte value, the usual rule for a chi-square (Cochran 1954). */
const MINIMUM_BITS = 8 * 5 * 256

/** Are all 256 byte values equally frequent? Upper tail of chi-square with 255 degrees of freedom. */
export const byteChiSquare: TestDefinition = {
  name: 'byte_chi_square',
  title: 'Chi-square of byte values',
  formula: 'X2 = sum (count - N/256)^2 / (N/256); p = igamc(255/2, X2/2)',
  source: 'Knuth, The Art of Computer Programming 2, 3.3.1; `ent` gives the same X2 and p',
  minimumBits: MINIMUM_BITS,
  defaults: {},
  suites: { chunk: {} },
  run(segments, params) {
    const bytes = totalBytes(segments)
    if (8 * bytes < MINIMUM_BITS) return insufficientResult(byteChiSquare, params, MINIMUM_BITS, 8 * bytes)
    const expected = bytes / 256
    const chi2 = byteHistogram(segments).reduce((sum, count) => sum + (count - expected) ** 2, 0) / expected
    return okResult(byteChiSquare, params, {
      p_values: [chiSquareUpper(chi2, 255)],
      statistic: chi2,
      metrics: { n_bytes: bytes, df: 255, expected_count: expected },
    })
  },
}
