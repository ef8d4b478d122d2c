import { erfc } from '../special.ts'
import { okResult, type TestDefinition } from './definition.ts'
import { insufficientSegment, longestSegment } from './sp800-22.ts'

/** Mean and variance of log2 of the distance, L = 1, ..., 16. SP 800-22 rev 1a, 2.9.4 (5); Handbook of Applied Cryptography, table 5.3. */
const EXPECTED = [
  0.7326495, 1.5374383, 2.4016068, 3.3112247, 4.2534266, 5.2177052, 6.1962507, 7.1836656, 8.1764248, 9.1723243,
  10.170032, 11.168765, 12.16807, 13.167693, 14.167488, 15.167379,
]
const VARIANCE = [
  0.69, 1.338, 1.901, 2.358, 2.705, 2.954, 3.125, 3.238, 3.311, 3.356, 3.384, 3.401, 3.41, 3.416, 3.419, 3.421,
]
/** Fewest bits for L = 6, 7, ..., 16: 1010 2^L L. SP 800-22 rev 1a, 2.9.7. */
const MINIMUM_BITS = Array.from({ length: 11 }, (_, i) => 1010 * 2 ** (i + 6) * (i + 6))
/** The product of distances is turned into a logarithm before it can overflow: distances are below 2^53. */
const PRODUCT_LIMIT = 2 ** 900

/** The length L of a block that the standard takes for n bits, 6 to 16; undefined if n is too small for any. */
export function universalBlockBits(n: number): number | undefined {
  const enough = MINIMUM_BITS.filter((bits) => n >= bits).length
  return enough === 0 ? undefined : 5 + enough
}

/**
 * f_n, the mean of log2 of the distances to the last occurrence of the same block of L bits, over the K blocks that
 * follow the first Q, of the first `bits` bits of `bytes`. Source: SP 800-22 rev 1a, 2.9.4 (1) to (4).
 */
export function universalMean(bytes: Uint8Array, bits: number, L: number, Q: number): { fn: number; K: number } {
  const blocks = Math.floor(bits / L)
  const lastSeen = new Float64Array(2 ** L)
  const mask = 2 ** L - 1
  let sum = 0
  // The logarithm of the product of some 70 distances costs one logarithm, and loses less than adding 70.
  let product = 1
  let held = 0
  let window = 0
  let next = 0
  for (let block = 1; block <= blocks; block++) {
    while (held < L) {
      window = ((window << 8) | bytes[next++]) & 0xffffff
      held += 8
    }
    held -= L
    const pattern = (window >>> held) & mask
    if (block > Q) {
      product *= block - lastSeen[pattern]
      if (product > PRODUCT_LIMIT) {
        sum += Math.log2(product)
        product = 1
      }
    }
    lastSeen[pattern] = block
  }
  const K = blocks - Q
  return { fn: (sum + Math.log2(product)) / K, K }
}

/** Standard deviation of f_n over K blocks: c sqrt(variance / K). Source: SP 800-22 rev 1a, 2.9.4 (5), 3.9. */
export function universalSigma(L: number, K: number): number {
  const c = 0.7 - 0.8 / L + ((4 + 32 / L) * K ** (-3 / L)) / 15
  return c * Math.sqrt(VARIANCE[L - 1] / K)
}

/** P-value erfc(|f_n - expected(L)| / (sqrt 2 sigma)). SP 800-22 rev 1a, 2.9.4 (5). */
export function universalPValue(fn: number, L: number, sigma: number): number {
  return erfc(Math.abs(fn - EXPECTED[L - 1]) / (Math.SQRT2 * sigma))
}

/** Maurer's universal statistical test, L and Q = 10 2^L chosen by n as the standard does. The statistic is f_n. */
export const universal: TestDefinition = {
  name: 'universal',
  title: "Maurer's universal statistical test",
  formula: 'f = mean of log2(distance to the last occurrence of the same L bits); p = erfc(|f - E_L| / (sqrt 2 sigma))',
  source: 'SP 800-22 rev 1a, 2.9',
  minimumBits: MINIMUM_BITS[0],
  defaults: {},
  suites: { 'sp800-22': {} },
  run(segments, params) {
    const { bytes, bits, metrics } = longestSegment(segments)
    const L = universalBlockBits(bits)
    if (L === undefined) return insufficientSegment(universal, params, MINIMUM_BITS[0], bits, metrics.bits_left_out)
    const Q = 10 * 2 ** L
    const { fn, K } = universalMean(bytes, bits, L, Q)
    const sigma = universalSigma(L, K)
    return okResult(universal, params, {
      p_values: [universalPValue(fn, L, sigma)],
      statistic: fn,
      metrics: { ...metrics, L, Q, K, expected: EXPECTED[L - 1], sigma },
    })
  },
}
