/** Coherence of two devices over one bucket: the JSON of a row of `coherence_stats`. */
import { type DeviceSeries, isTrial, MIN_SECONDS, sortByDevice, trialScores } from './network.ts'
import { normalTwoSided, studentTwoSided } from './special.ts'

/** Stored with every row; changes whenever a number would come out otherwise for the same trials. */
export const COHERENCE_METHOD_VERSION = 'coherence-1'

/** Sums over the seconds in which both devices reported, x = z of device a and y = z of device b. They add over buckets. */
export interface CorrelationMetrics {
  n_seconds: number
  /** n_seconds / seconds of the bucket. */
  overlap_fraction: number
  sum_xy: number
  sum_x: number
  sum_y: number
  sum_x2: number
  sum_y2: number
  /** Null without data enough or without variance. */
  pearson_r: number | null
  product_z: number | null
}

/** `q_value` and `n_tests` are there where the pair was one of a bucket's. */
export interface PairTest {
  stat: number
  p: number
  q_value?: number
  n_tests?: number
}

/** `stat` is Student's t; null stands for infinite, where |r| = 1. */
export interface PearsonTest extends Omit<PairTest, 'stat'> {
  stat: number | null
  df: number
}

export interface PairTests {
  status: 'ok' | 'insufficient'
  reason?: string
  product?: PairTest
  pearson?: PearsonTest | { status: 'not_applicable'; reason: string }
  method_version: string
  normalization: 'theoretical'
}

/** Named as the columns of `coherence_stats`; a before b in the order of the ids' text. */
export interface PairCoherence {
  device_a_id: string
  device_b_id: string
  correlation_metrics: CorrelationMetrics
  tests: PairTests
}

interface Scored {
  deviceId: string
  z: Float64Array
  z2: Float64Array
  /** 1 where the device has a trial, else 0. */
  present: Float64Array
}

/**
 * How far two devices move together over the seconds both reported (at least 30, else 'insufficient').
 * - product: sum xy / sqrt(n) ~ N(0, 1), two-sided. Uses the theoretical mean and variance, so biased devices show in it.
 * - pearson: t = r sqrt(df / (1 - r^2)), df = n - 2, two-sided; blind to bias. 'not_applicable' if a device did not vary.
 * The same result whichever comes first. Throws RangeError on equal ids or unequal lengths.
 */
export function pairCoherence(first: DeviceSeries, second: DeviceSeries): PairCoherence {
  const [a, b] = sortByDevice([first, second]).map(scoreDevice)
  return comparePair(a, b)
}

/**
 * All pairs of a bucket, by device a, then b, with the Benjamini-Hochberg q-value of each test among those of its kind in the
 * bucket (`n_tests`). O(pairs x seconds). Identical, digit for digit, for any order of `series`. Throws RangeError as above.
 */
export function coherencePairs(series: readonly DeviceSeries[]): PairCoherence[] {
  const scored = sortByDevice(series).map(scoreDevice)
  const pairs: PairCoherence[] = []
  for (let i = 0; i < scored.length; i++) {
    for (let j = i + 1; j < scored.length; j++) pairs.push(comparePair(scored[i], scored[j]))
  }
  addQValues(pairs.flatMap(({ tests }) => (tests.product ? [tests.product] : [])))
  addQValues(pairs.flatMap(({ tests }) => (tests.pearson && 'p' in tests.pearson ? [tests.pearson] : [])))
  return pairs
}

/**
 * Benjamini-Hochberg q-values, in the order of `p`: q of the i-th smallest of m is min over j >= i of m p_(j) / j, at most 1
 * (Benjamini & Hochberg 1995; as R's p.adjust). Throws RangeError on a p outside [0, 1].
 */
export function benjaminiHochberg(p: readonly number[]): number[] {
  const bad = p.find((value) => !(value >= 0 && value <= 1))
  if (bad !== undefined) throw new RangeError(`not a P-value: ${bad}`)
  const descending = Array.from(p.keys()).toSorted((a, b) => p[b] - p[a])
  const q = Array.from(p, () => 1)
  let least = 1
  descending.forEach((index, above) => {
    least = Math.min(least, (p.length / (p.length - above)) * p[index])
    q[index] = least
  })
  return q
}

function addQValues(tests: { p: number; q_value?: number; n_tests?: number }[]): void {
  const q = benjaminiHochberg(tests.map(({ p }) => p))
  tests.forEach((test, i) => {
    test.q_value = q[i]
    test.n_tests = tests.length
  })
}

function scoreDevice(series: DeviceSeries): Scored {
  const z = trialScores(series)
  return {
    deviceId: series.deviceId,
    z,
    z2: z.map((value) => value * value),
    present: Float64Array.from(series.bits, (bits, t) => (isTrial(bits, series.ones[t]) ? 1 : 0)),
  }
}

function comparePair(a: Scored, b: Scored): PairCoherence {
  const sums = overlapSums(a, b)
  const n = sums.n_seconds
  const pair = { device_a_id: a.deviceId, device_b_id: b.deviceId }
  const provenance = { method_version: COHERENCE_METHOD_VERSION, normalization: 'theoretical' } as const
  if (n < MIN_SECONDS) {
    const reason = `${MIN_SECONDS} seconds in common needed, ${n} found`
    return {
      ...pair,
      correlation_metrics: { ...sums, pearson_r: null, product_z: null },
      tests: { status: 'insufficient', reason, ...provenance },
    }
  }
  const productZ = sums.sum_xy / Math.sqrt(n)
  const r = pearsonR(sums)
  const product = { stat: productZ, p: normalTwoSided(productZ) }
  const pearson =
    r === null ? ({ status: 'not_applicable', reason: 'a device did not vary' } as const) : testPearson(r, n)
  return {
    ...pair,
    correlation_metrics: { ...sums, pearson_r: r, product_z: productZ },
    tests: { status: 'ok', product, pearson, ...provenance },
  }
}

/** Absent seconds hold z = 0 and present = 0, so the loop has no branch: 60 devices x 1 h is 6.4 million turns of it. */
function overlapSums(a: Scored, b: Scored): Omit<CorrelationMetrics, 'pearson_r' | 'product_z'> {
  const [x, y, x2, y2, inA, inB] = [a.z, b.z, a.z2, b.z2, a.present, b.present]
  let [n, sumXY, sumX, sumY, sumX2, sumY2] = [0, 0, 0, 0, 0, 0]
  for (let t = 0; t < x.length; t++) {
    n += inA[t] * inB[t]
    sumXY += x[t] * y[t]
    sumX += x[t] * inB[t]
    sumY += y[t] * inA[t]
    sumX2 += x2[t] * inB[t]
    sumY2 += y2[t] * inA[t]
  }
  const sums = { sum_xy: sumXY, sum_x: sumX, sum_y: sumY, sum_x2: sumX2, sum_y2: sumY2 }
  return { n_seconds: n, overlap_fraction: x.length === 0 ? 0 : n / x.length, ...sums }
}

/** Null if a device did not vary, which after summing squares means: by no more than the sums' rounding. */
function pearsonR(sums: Omit<CorrelationMetrics, 'pearson_r' | 'product_z'>): number | null {
  const { n_seconds: n, sum_x: sx, sum_y: sy } = sums
  const xx = sums.sum_x2 - (sx * sx) / n
  const yy = sums.sum_y2 - (sy * sy) / n
  const rounding = 4 * n * Number.EPSILON
  if (xx <= rounding * sums.sum_x2 || yy <= rounding * sums.sum_y2) return null
  const r = (sums.sum_xy - (sx * sy) / n) / Math.sqrt(xx * yy)
  return Math.max(-1, Math.min(1, r))
}

function testPearson(r: number, n: number): PearsonTest {
  const df = n - 2
  if (Math.abs(r) === 1) return { stat: null, df, p: 0 }
  const stat = r * Math.sqrt(df / (1 - r * r))
  return { stat, df, p: studentTwoSided(stat, df) }
}
