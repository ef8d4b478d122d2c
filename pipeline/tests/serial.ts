import { addCircularPatterns, countCircularPairs, foldPatterns } from '../bits.ts'
import { igamc } from '../special.ts'
import { insufficientResult, integerParam, okResult, type TestDefinition, totalBytes } from './definition.ts'

const DEFAULT_M = 2

/** Fewest bits for patterns of m bits: m < floor(log2 n) - 2, SP 800-22 rev 1a, 2.11.7. */
function minimumBitsFor(m: number): number {
  return 2 ** (m + 3)
}

/**
 * The two serial statistics and P-values from the counts of the circular overlapping m-bit patterns (2^m of them, m >=
 * 2). Source: SP 800-22 rev 1a, 2.11.4.
 */
export function serialStatistic(counts: ArrayLike<number>): { delta1: number; delta2: number; p: [number, number] } {
  const m = Math.log2(counts.length)
  if (!Number.isInteger(m) || m < 2) throw new RangeError(`serial needs 2^m counts with m >= 2, not ${counts.length}`)
  const shorter = foldPatterns(counts)
  const psi = [psiSquared(counts), psiSquared(shorter), psiSquared(foldPatterns(shorter))]
  // Both are sums of squares; only rounding can take them below 0.
  const delta1 = Math.max(0, psi[0] - psi[1])
  const delta2 = Math.max(0, psi[0] - 2 * psi[1] + psi[2])
  return { delta1, delta2, p: [igamc(2 ** (m - 2), delta1 / 2), igamc(2 ** (m - 3), delta2 / 2)] }
}

/** psi^2 = (2^m / n) sum (count - n / 2^m)^2: the standard's (2^m / n) sum count^2 - n without its cancellation. */
function psiSquared(counts: ArrayLike<number>): number {
  let n = 0
  for (let i = 0; i < counts.length; i++) n += counts[i]
  const expected = n / counts.length
  let sum = 0
  for (let i = 0; i < counts.length; i++) sum += (counts[i] - expected) ** 2
  return sum / expected
}

/**
 * Counts of the m-bit patterns (2^m of them) over all segments, each closed to a circle of its own. The pooled counts
 * then have the means and covariances of one circle of all the bits, provided no segment is so short that two patterns
 * overlap at both ends: those under 2m - 1 bits are left out, and `used` lists the others.
 */
export function circularPatterns(
  segments: readonly Uint8Array[],
  m: number,
): { counts: Uint32Array; used: Uint8Array[] } {
  const used = segments.filter((segment) => 8 * segment.length >= 2 * m - 1)
  const counts = new Uint32Array(1 << m)
  for (const segment of used) {
    if (m === 2) countCircularPairs(segment).forEach((count, pattern) => (counts[pattern] += count))
    else addCircularPatterns(segment, m, counts)
  }
  return { counts, used }
}

/**
 * Serial test: is every m-bit pattern as frequent as any other? `p_values` is [p of delta psi^2, p of delta^2 psi^2].
 */
export const serial: TestDefinition = {
  name: 'serial',
  title: 'Serial (overlapping m-bit patterns)',
  formula:
    'psi2_m = (2^m / n) sum count^2 - n; p1 = igamc(2^(m-2), (psi2_m - psi2_m-1) / 2), ' +
    'p2 = igamc(2^(m-3), (psi2_m - 2 psi2_m-1 + psi2_m-2) / 2)',
  source: 'SP 800-22 rev 1a, 2.11',
  minimumBits: minimumBitsFor(DEFAULT_M),
  defaults: { m: DEFAULT_M },
  suites: { chunk: {}, 'sp800-22': { m: 16 } },
  run(segments, params) {
    const m = integerParam(params, 'm', 2, 16)
    const { counts, used } = circularPatterns(segments, m)
    const n = 8 * totalBytes(used)
    if (n < minimumBitsFor(m)) return insufficientResult(serial, params, minimumBitsFor(m), n)
    const found = serialStatistic(counts)
    return okResult(serial, params, {
      p_values: found.p,
      statistic: found.delta1,
      metrics: { n_bits: n, delta1: found.delta1, delta2: found.delta2, segments: used.length },
    })
  },
}
