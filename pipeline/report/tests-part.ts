import { kolmogorovSmirnov } from '../kolmogorov-smirnov.ts'
import { passProportion, uniformity } from '../second-level.ts'
import { binomialUpper, incompleteBeta } from '../special.ts'
import type { TestStatus } from '../tests/definition.ts'
import type { PassRow, TestsPart } from './report-data.ts'

/** All P-values of one place of one test of one device. Of a test without P-values: `of` 0, only its results. */
export interface DevicePValues {
  readonly deviceId: string
  readonly test: string
  readonly index: number
  readonly of: number
  readonly results: Readonly<Record<TestStatus, number>>
  readonly pValues: readonly number[]
}

/** Level at which a chunk fails a test, SP 800-22 rev 1a, 4.2.1. */
const ALPHA = 0.01
/** Tests whose P-values take so few values that they cannot be uniform, though each is right. */
const DISCRETE: ReadonlySet<string> = new Set(['most_common_value'])
const HISTOGRAM_BINS = 20
/** Ranks of the QQ plot: all small ones, where something would be seen, then ever fewer. */
const MOST_RANKS = 240
/** Rows by device: more would make the page heavy, and nobody reads them. */
const MOST_BY_DEVICE = 2000

/** What the P-values of the window's chunks say together; P-values that cannot be uniform are counted, not plotted. Estimators, which have none, are left out. */
export function testsPart(found: readonly DevicePValues[], chunks: number): TestsPart {
  const withPValues = found.filter(({ of, results }) => of > 0 || results.ok === 0)
  const all = withPValues.filter(({ test }) => !DISCRETE.has(test)).flatMap(({ pValues }) => pValues)
  const histogram = Array.from({ length: HISTOGRAM_BINS }, () => 0)
  for (const p of all) histogram[Math.min(HISTOGRAM_BINS - 1, Math.floor(HISTOGRAM_BINS * p))]++
  const rows = [...Map.groupBy(withPValues, ({ test, index }) => `${test} ${index}`).values()].map((group) =>
    passRow(group),
  )
  const byDevice = withPValues.map((own) => ({ device_id: own.deviceId, ...passRow([own]) }))
  const listed =
    byDevice.length <= MOST_BY_DEVICE
      ? byDevice
      : byDevice.toSorted((a, b) => (a.p_failures ?? 1) - (b.p_failures ?? 1)).slice(0, MOST_BY_DEVICE)
  return {
    chunks,
    p_values: all.length,
    histogram,
    qq: quantiles(all),
    rows,
    by_device: listed,
    by_device_of: byDevice.length,
  }
}

/** How many of each device's P-values pass at .01. */
export function chunkPasses(found: readonly DevicePValues[]): Map<string, { passed: number; tested: number }> {
  const passes = new Map<string, { passed: number; tested: number }>()
  for (const { deviceId, pValues } of found) {
    const { passed, tested } = passes.get(deviceId) ?? { passed: 0, tested: 0 }
    const more = pValues.filter((p) => p >= ALPHA).length
    passes.set(deviceId, { passed: passed + more, tested: tested + pValues.length })
  }
  return passes
}

/** The rows of SP 800-22 rev 1a, 4.2, over the sequences of a group. */
function passRow(group: readonly DevicePValues[]): PassRow {
  const [{ test, index, of }] = group
  const p = group.flatMap(({ pValues }) => pValues)
  const count = (status: TestStatus) => group.reduce((sum, { results }) => sum + results[status], 0)
  const proportion = p.length === 0 ? null : passProportion(p, ALPHA)
  const { bins, p: pT } = uniformity(p)
  return {
    test,
    index: index + 1,
    of,
    results: { ok: count('ok'), insufficient: count('insufficient'), not_applicable: count('not_applicable') },
    proportion,
    p_failures: proportion && binomialUpper(proportion.tested, proportion.tested - proportion.passed, proportion.alpha),
    p_t: DISCRETE.has(test) ? null : pT,
    bins,
    ks: p.length === 0 || DISCRETE.has(test) ? null : kolmogorovSmirnov(p),
  }
}

/** The i-th smallest of m uniform P-values is Beta(i, m - i + 1): its expectation i / (m + 1), and its 2.5 % and 97.5 % points. */
function quantiles(pValues: readonly number[]): TestsPart['qq'] {
  const sorted = Float64Array.from(pValues).toSorted()
  const m = sorted.length
  return thinnedRanks(m).map((i) => ({
    expected: i / (m + 1),
    observed: sorted[i - 1],
    low: betaQuantile(0.025, i, m - i + 1),
    high: betaQuantile(0.975, i, m - i + 1),
  }))
}

/** To a relative 1e-10, by bisection of the logarithm. */
function betaQuantile(p: number, a: number, b: number): number {
  let [low, high] = [Math.log(1e-30), 0]
  while (high - low > 1e-10) {
    const middle = (low + high) / 2
    if (incompleteBeta(a, b, Math.exp(middle)) < p) low = middle
    else high = middle
  }
  return Math.exp((low + high) / 2)
}

/** 1 to m, thinned out evenly in their logarithm. */
function thinnedRanks(m: number): number[] {
  if (m === 0) return []
  return [...new Set(Array.from({ length: MOST_RANKS }, (_, k) => Math.round(m ** (k / (MOST_RANKS - 1)))))]
}
