/** Coherence of all pairs of devices over one bucket: the rows of `coherence_stats`. */
import { benjaminiHochberg } from './multiple-testing.ts'
import { type DeviceSeries, MIN_SECONDS, sortByDevice } from './trials.ts'
import {
  type Judged,
  type OverlapSums,
  type PairCoherence,
  type PairMember,
  pairRow,
  pearsonR,
  productZ,
  testPearson,
} from './pair-coherence.ts'
import { pairDevice } from './pair-tests.ts'
import { type PairSums, pairSums } from './pair-sums.ts'
import { normalTwoSided } from './special.ts'
import type { SecondBytes } from './xor-match.ts'

/** Which pairs of a bucket get a row. All are tested for product and correlation whatever this says. */
export interface PairSelection {
  /** With more devices only the pairs that pass the screen do: a product or correlation with q <= SCREEN_Q among all pairs. */
  readonly mostDevices?: number
  /** Pairs that do in any case, as `pairName` names them. */
  readonly watched?: ReadonlySet<string>
  /** Where the bytes are at hand, by device: for xor_match. */
  readonly bytes?: ReadonlyMap<string, SecondBytes>
}

export interface BucketCoherence {
  /** By device a, then b. */
  pairs: PairCoherence[]
  /** Pairs with seconds enough in common, with a row or without. */
  tested: number
}

export const SCREEN_Q = 0.05

export function pairName(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`
}

/** How far two devices move together, as `pairRow` says. The same whichever comes first. Throws RangeError as below. */
export function pairCoherence(first: DeviceSeries, second: DeviceSeries): PairCoherence {
  const [a, b] = sortByDevice([first, second])
  const sums = sumsAt(pairSums([a, b]), 0)
  return pairRow(sums, { device: pairDevice(a) }, { device: pairDevice(b) })
}

/**
 * The pairs of a bucket with the Benjamini-Hochberg q-value of each test among those of its kind in the bucket (`n_tests`).
 * Behind a screen the tests that only the selected pairs have count as many as pairs were screened, the others with P = 1:
 * their q-values err upward. Identical, digit for digit, for any order of `series`. Throws RangeError on equal ids or
 * unequal lengths.
 */
export function coherencePairs(series: readonly DeviceSeries[], selection: PairSelection = {}): BucketCoherence {
  const { mostDevices = Infinity, watched = new Set(), bytes } = selection
  const sorted = sortByDevice(series)
  const sums = pairSums(sorted)
  const screen = screenPairs(sums)
  const isScreened = sorted.length > mostDevices
  const members = new Map<number, PairMember>()
  const memberAt = (i: number) => {
    let member = members.get(i)
    if (!member) {
      member = { device: pairDevice(sorted[i]), bytes: bytes?.get(sorted[i].deviceId) }
      members.set(i, member)
    }
    return member
  }
  const pairs: PairCoherence[] = []
  for (let i = 0, k = 0; i < sorted.length; i++) {
    for (let j = i + 1; j < sorted.length; j++, k++) {
      const passes = !isScreened || Math.min(screen.product.q[k], screen.pearson.q[k]) <= SCREEN_Q
      if (!passes && !watched.has(pairName(sorted[i].deviceId, sorted[j].deviceId))) continue
      const row = pairRow(sumsAt(sums, k), memberAt(i), memberAt(j))
      for (const kind of ['product', 'pearson'] as const) {
        const test = row.tests[kind]
        if (test && 'p' in test) judge(test, screen[kind].q[k], screen[kind].tests)
      }
      pairs.push(row)
    }
  }
  const tested = screen.product.tests
  for (const kind of ['xor_match', 'lag_scan', 'mutual_info', 'msc'] as const) {
    judgeKind(pairs, kind, isScreened ? tested : undefined)
  }
  return { pairs, tested }
}

/** The q-value of every pair's test; 1 where there is none. */
interface Screened {
  readonly q: Float64Array
  readonly tests: number
}

function screenPairs(sums: PairSums): { product: Screened; pearson: Screened } {
  const product = new Float64Array(sums.n.length).fill(Number.NaN)
  const pearson = product.slice()
  for (let k = 0; k < product.length; k++) {
    if (sums.n[k] < MIN_SECONDS) continue
    const ofPair = sumsAt(sums, k)
    product[k] = normalTwoSided(productZ(ofPair))
    const r = pearsonR(ofPair)
    if (r !== null) pearson[k] = testPearson(r, sums.n[k]).p
  }
  return { product: qValues(product), pearson: qValues(pearson) }
}

function qValues(p: Float64Array): Screened {
  const present = Array.from(p.keys()).filter((k) => !Number.isNaN(p[k]))
  const q = new Float64Array(p.length).fill(1)
  benjaminiHochberg(present.map((k) => p[k])).forEach((value, i) => (q[present[i]] = value))
  return { q, tests: present.length }
}

function judgeKind(
  pairs: readonly PairCoherence[],
  kind: 'xor_match' | 'lag_scan' | 'mutual_info' | 'msc',
  tests: number | undefined,
): void {
  const found: { test: Judged; p: number }[] = []
  for (const pair of pairs) {
    const test = pair.tests[kind]
    if (test && 'p_sidak' in test) found.push({ test, p: test.p_sidak })
    else if (test && 'p' in test) found.push({ test, p: test.p })
  }
  const count = tests ?? found.length
  const q = benjaminiHochberg(
    found.map(({ p }) => p),
    count,
  )
  found.forEach(({ test }, i) => judge(test, q[i], count))
}

function judge(test: Judged, qValue: number, tests: number): void {
  test.q_value = qValue
  test.n_tests = tests
}

function sumsAt(sums: PairSums, k: number): OverlapSums {
  return {
    n_seconds: sums.n[k],
    sum_xy: sums.sumXY[k],
    sum_x: sums.sumX[k],
    sum_y: sums.sumY[k],
    sum_x2: sums.sumX2[k],
    sum_y2: sums.sumY2[k],
  }
}
