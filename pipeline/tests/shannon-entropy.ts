import { logGamma } from '../special.ts'
import { byteHistogram } from './byte-histogram.ts'
import { insufficientResult, okResult, type TestDefinition, totalBytes } from './definition.ts'

const MINIMUM_BITS = 8

/**
 * Expectation of the plug-in entropy (bits per byte) of `bytes` >= 1 independent, uniform bytes:
 * -256 E[(X/N) log2(X/N)], X ~ Bin(N, 1/256), summed over all X that matter.
 */
export function expectedPlugInEntropy(bytes: number): number {
  const p = 1 / 256
  const mode = Math.floor((bytes + 1) * p)
  const atMode = Math.exp(
    logGamma(bytes + 1) -
      logGamma(mode + 1) -
      logGamma(bytes - mode + 1) +
      mode * Math.log(p) +
      (bytes - mode) * Math.log1p(-p),
  )
  // From the mode outwards by the ratio of neighbours, until the terms no longer count.
  let mass = atMode
  let sum = atMode * entropyTerm(mode, bytes)
  for (let x = mode, weight = atMode; x < bytes && weight > 1e-20 * atMode; x++) {
    weight *= ((bytes - x) / (x + 1)) * (p / (1 - p))
    mass += weight
    sum += weight * entropyTerm(x + 1, bytes)
  }
  for (let x = mode, weight = atMode; x > 0 && weight > 1e-20 * atMode; x--) {
    weight *= (x / (bytes - x + 1)) * ((1 - p) / p)
    mass += weight
    sum += weight * entropyTerm(x - 1, bytes)
  }
  // The logarithms of huge factorials cost digits in atMode, and only there; the true mass is 1.
  return (256 * sum) / mass
}

/** -(x/n) log2(x/n), 0 at x = 0. */
function entropyTerm(x: number, n: number): number {
  return x === 0 ? 0 : (x / n) * Math.log2(n / x)
}

/**
 * Plug-in Shannon entropy, bits per byte. An estimate without a P-value. It is biased low, by much at small N: read it
 * against `metrics.expected_ideal`, the exact expectation for an ideal source at this N, not against 8.
 */
export const shannonEntropy: TestDefinition = {
  name: 'shannon_entropy',
  title: 'Shannon entropy of bytes',
  formula: 'H = -sum (count/N) log2(count/N), bits per byte; ideal: E[H] = -256 E[(X/N) log2(X/N)], X ~ Bin(N, 1/256)',
  source: 'Shannon 1948; plug-in estimator, expectation exact',
  minimumBits: MINIMUM_BITS,
  defaults: {},
  suites: { chunk: {} },
  run(segments, params) {
    const bytes = totalBytes(segments)
    if (8 * bytes < MINIMUM_BITS) return insufficientResult(shannonEntropy, params, MINIMUM_BITS, 8 * bytes)
    const entropy = byteHistogram(segments).reduce((sum, count) => sum + entropyTerm(count, bytes), 0)
    return okResult(shannonEntropy, params, {
      p_values: [],
      statistic: entropy,
      metrics: { n_bytes: bytes, estimator: 'plug-in', expected_ideal: expectedPlugInEntropy(bytes) },
    })
  },
}
