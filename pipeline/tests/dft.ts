import { bitPowerSpectrum } from '../power-spectrum.ts'
import { erfc } from '../special.ts'
import { okResult, type TestDefinition } from './definition.ts'
import { insufficientSegment, longestSegment, type Variant, variantParam } from './sp800-22.ts'

const MINIMUM_BITS = 1000
/** A transform holds 8 to 20 bytes a bit; of longer segments the front is tested. */
const MAXIMUM_BITS = 2 ** 26
/** The chance that a peak of random bits is higher than the threshold. */
const ABOVE = 0.05
const LOG_20 = Math.log(1 / ABOVE)

/**
 * Number of peaks |X_k|, k = 0, ..., floor(n / 2) - 1, below sqrt(n ln 20), of the first n = `bits` bits of `bytes` as
 * +1 and -1. Source: SP 800-22 rev 1a, 2.6.4.
 */
export function countPeaksBelow(bytes: Uint8Array, bits: number): number {
  const power = bitPowerSpectrum(bytes, bits)
  const threshold = bits * LOG_20
  const peaks = Math.floor(bits / 2)
  let below = 0
  for (let k = 0; k < peaks; k++) if (power[k] < threshold) below++
  return below
}

/**
 * Expectation and variance of the number of peaks below the threshold, of n random bits.
 *
 * 'nist212': .95 n/2 and .95 * .05 * n/4, SP 800-22 rev 1a, 2.6.4 (5) and (7).
 *
 * 'corrected': every |X_k|^2 / n is nearly exponential with mean 1, so that each of N = floor(n/2) peaks is below with
 * probability .95. Were they independent, the variance would be N * .95 * .05, twice the standard's. But they share the
 * bits: by the fourth cumulant, -2, of a bit +-1 any two of |X_k|^2 / n have covariance -2/n (they sum to n: Parseval),
 * which the first Laguerre polynomial carries over to the indicators, as -2/n (.05 ln 20)^2 for each of N (N - 1)
 * ordered pairs. What remains is N (.95 * .05 - (.05 ln 20)^2), or .95 * .05 * n / 3.790. F. Pareschi, R. Rovatti and
 * G. Setti (IEEE Trans. Inf. Forensics Secur., 2012) measured 3.8; A. Iwasaki (IEEE Trans. Inf. Theory, 2020) also
 * starts from Parseval. Simulated at 1,000 to 131,072 bits: 3.74 to 3.84, each within 3 standard errors.
 */
export function expectedPeaks(n: number, variant: Variant): { mean: number; variance: number } {
  if (variant === 'nist212') return { mean: ((1 - ABOVE) * n) / 2, variance: ((1 - ABOVE) * ABOVE * n) / 4 }
  const peaks = Math.floor(n / 2)
  return { mean: (1 - ABOVE) * peaks, variance: peaks * ((1 - ABOVE) * ABOVE - (ABOVE * LOG_20) ** 2) }
}

/** d = (below - mean) / sqrt(variance), and p = erfc(|d| / sqrt 2). SP 800-22 rev 1a, 2.6.4 (7) and (8). */
export function spectralStatistic(below: number, n: number, variant: Variant): { d: number; p: number } {
  const { mean, variance } = expectedPeaks(n, variant)
  const d = (below - mean) / Math.sqrt(variance)
  return { d, p: erfc(Math.abs(d) / Math.SQRT2) }
}

/**
 * Discrete Fourier transform test: do periods stand out of the spectrum? It counts, so that at 1,000 bits P-values come
 * in steps of up to .2.
 */
export const dft: TestDefinition = {
  name: 'dft',
  title: 'Discrete Fourier transform (spectral)',
  formula: 'N1 = number of |X_k| < sqrt(n ln 20), k < n/2; d = (N1 - .95 n/2) / sqrt(variance); p = erfc(|d| / sqrt 2)',
  source: 'SP 800-22 rev 1a, 2.6; variance: corrected n/2 (.0475 - (.05 ln 20)^2), own derivation; nist212 .0475 n/4',
  notes:
    "The standard's variance, .0475 n/4, is too large: the peaks are not independent, as their squares " +
    'sum to n. `corrected` takes that into account, a divisor of 3.79 instead of 4 (Pareschi et al. 2012 ' +
    'fitted 3.8); simulated divisors are 3.777 to 3.795 from 1,000 to 10,000 bits. The two P-values ' +
    "printed in the standard's examples are wrong: the transform of its 100-bit string gives .646355, not " +
    '.168669.',
  minimumBits: MINIMUM_BITS,
  defaults: { variant: 'corrected' },
  memory: (bytes) => 100 * Math.min(bytes, MAXIMUM_BITS / 8),
  suites: { 'sp800-22': {} },
  run(segments, params) {
    const variant = variantParam(params)
    const { bytes, bits, metrics } = longestSegment(segments)
    if (bits < MINIMUM_BITS) return insufficientSegment(dft, params, MINIMUM_BITS, bits, metrics.bits_left_out)
    const n = Math.min(bits, MAXIMUM_BITS)
    const below = countPeaksBelow(bytes, n)
    const { d, p } = spectralStatistic(below, n, variant)
    return okResult(dft, params, {
      p_values: [p],
      statistic: d,
      metrics: {
        n_bits: n,
        bits_left_out: metrics.bits_left_out + bits - n,
        peaks_below: below,
        peaks_expected: expectedPeaks(n, variant).mean,
      },
    })
  },
}
