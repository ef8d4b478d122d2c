import { countOnes, countTransitions } from '../bits.ts'
import { erfc } from '../special.ts'
import { insufficientResult, notApplicableResult, okResult, type TestDefinition, totalBytes } from './definition.ts'

const MINIMUM_BITS = 100

/** What the runs test needs to know of a device's bits. */
export interface RunsCounts {
  /**
   * Bits, ones and transitions (bit i unlike bit i + 1) over all segments, and the number of segments that hold bits.
   */
  readonly bits: number
  readonly ones: number
  readonly transitions: number
  readonly segments: number
}

/** True if the frequency prerequisite holds: |ones / n - 1/2| < 2 / sqrt(n), SP 800-22 rev 1a, 2.3.4 (2). */
export function runsApply(counts: RunsCounts): boolean {
  return Math.abs(counts.ones / counts.bits - 0.5) < 2 / Math.sqrt(counts.bits)
}

/**
 * Number of runs V and its P-value. One segment: SP 800-22 rev 1a, 2.3.4, p = erfc(|V - 2 n q| / (2 sqrt(2 n) q)) with
 * q = pi (1 - pi), pi = ones / n.
 */
export function runsStatistic({ bits: n, ones, transitions, segments }: RunsCounts): { runs: number; p: number } {
  // The standard's V is T + 1, T the transitions among n - 1 neighbouring pairs, and each pair differs with probability
  // 2q. k segments have only n - k pairs: E[T] = 2q (n - k). Each of the k - 1 breaks hides one pair, and adding its
  // expectation, V = T + 1 + 2q (k - 1), gives E[V] = 2q (n - 1) + 1, the standard's for every k. A hidden pair adds no
  // variance, so n gives way to n - k + 1 in the variance: that is the standard's own n at k = 1, and without it
  // segments of one byte would be rejected at level .01 with probability .006 only.
  const pi = ones / n
  const q = pi * (1 - pi)
  const runs = transitions + 1 + 2 * q * (segments - 1)
  return { runs, p: erfc(Math.abs(runs - 2 * n * q) / (2 * Math.sqrt(2 * (n - segments + 1)) * q)) }
}

/** Runs test: are there as many changes between neighbouring bits as the frequency of ones leads to expect? */
export const runs: TestDefinition = {
  name: 'runs',
  title: 'Runs',
  formula: 'V = transitions + 1 (+ 2q per break); q = pi (1 - pi); p = erfc(|V - 2nq| / (2 sqrt(2 (n - breaks)) q))',
  source: 'SP 800-22 rev 1a, 2.3; breaks between segments: own derivation',
  minimumBits: MINIMUM_BITS,
  defaults: {},
  suites: { chunk: {}, 'sp800-22': {} },
  run(segments, params) {
    const n = 8 * totalBytes(segments)
    if (n < MINIMUM_BITS) return insufficientResult(runs, params, MINIMUM_BITS, n)
    const counts = {
      bits: n,
      ones: segments.reduce((sum, segment) => sum + countOnes(segment), 0),
      transitions: segments.reduce((sum, segment) => sum + countTransitions(segment), 0),
      segments: segments.filter((segment) => segment.length > 0).length,
    }
    const { ones, transitions } = counts
    const metrics = { n_bits: n, ones, transitions, segments: counts.segments }
    if (!runsApply(counts)) {
      const reason =
        `needs a proportion of ones within 2/sqrt(n) = ${(2 / Math.sqrt(n)).toPrecision(4)} of 1/2, ` +
        `given ${(ones / n).toPrecision(6)} over ${n} bits`
      return notApplicableResult(runs, params, reason, metrics)
    }
    const found = runsStatistic(counts)
    return okResult(runs, params, { p_values: [found.p], statistic: found.runs, metrics })
  },
}
