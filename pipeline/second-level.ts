/**
 * What the P-values of many sequences say together: how many pass, and whether they are uniform. SP 800-22 rev 1a, 4.2.
 * The sequences must not share bits. Results that are not 'ok' have no P-value; they are counted as what they are.
 */
import { benjaminiHochberg, holm } from './multiple-testing.ts'
import { type KolmogorovSmirnov, kolmogorovSmirnov, requirePValues } from './kolmogorov-smirnov.ts'
import { binomialUpper, chiSquareUpper, normalTwoSided } from './special.ts'
import type { TestResult, TestStatus } from './tests/definition.ts'

/** Level at which a sequence fails a test, SP 800-22 rev 1a, 4.2.1. */
const ALPHA = 0.01
/** Chance of being outside the exact interval for an ideal source: that of three standard deviations, as in 4.2.1. */
const OUTSIDE = normalTwoSided(3)
/** Bins of the unit interval, and fewest P-values for their chi-square, SP 800-22 rev 1a, 4.2.2. */
const BINS = 10
const MINIMUM_P_VALUES = 55
/** Below this P_T the P-values are not uniform, SP 800-22 rev 1a, 4.2.2. */
const UNIFORMITY_LEVEL = 0.0001
export interface PassProportion {
  readonly alpha: number
  readonly tested: number
  /** Those with p >= alpha. */
  readonly passed: number
  readonly proportion: number
  /** (1 - alpha) -+ 3 sqrt(alpha (1 - alpha) / tested), SP 800-22 rev 1a, 4.2.1; the ends may lie outside [0, 1]. */
  readonly interval: readonly [number, number]
  readonly within_interval: boolean
  /**
   * Fewest and most sequences that may pass: either side is left with probability .00135 at most, the normal
   * distribution's beyond three standard deviations.
   */
  readonly exact_interval: readonly [number, number]
  readonly within_exact_interval: boolean
}

export interface Uniformity {
  /** How many P-values lie in [0, .1), [.1, .2), ..., [.9, 1]. */
  readonly bins: readonly number[]
  /** Null, with a reason, if there are under 55 P-values. */
  readonly chi2: number | null
  readonly p: number | null
  readonly reason?: string
}

/** One P-value of one test over many sequences. */
export interface SecondLevelRow {
  readonly test: string
  readonly params: TestResult['params']
  /** Which of the test's P-values, from 0, and of how many. */
  readonly index: number
  readonly of: number
  /** Number of sequences by status. Only those 'ok' have P-values. */
  readonly results: Readonly<Record<TestStatus, number>>
  /** Null if no sequence has a P-value. */
  readonly proportion: PassProportion | null
  readonly uniformity: Uniformity
  readonly ks: KolmogorovSmirnov | null
}

/**
 * How many of the P-values are alpha or more, with the standard's interval and an exact one. Throws RangeError if there
 * is none, or one is outside [0, 1]. Source: SP 800-22 rev 1a, 4.2.1; binomial distribution.
 */
export function passProportion(pValues: readonly number[], alpha: number = ALPHA): PassProportion {
  requirePValues(pValues)
  if (!(alpha > 0 && alpha < 1)) throw new RangeError(`alpha must lie between 0 and 1, not ${alpha}`)
  const tested = pValues.length
  if (tested === 0) throw new RangeError('the proportion of no P-values')
  const passed = pValues.filter((p) => p >= alpha).length
  const proportion = passed / tested
  const margin = 3 * Math.sqrt((alpha * (1 - alpha)) / tested)
  const interval = [1 - alpha - margin, 1 - alpha + margin] as const
  // By the failures, whose probability is small: as 1 minus the passes it would lose digits.
  const most = lastTrue(tested, (failures) => binomialUpper(tested, failures, alpha) > OUTSIDE / 2)
  const fewest = tested - lastTrue(tested, (passes) => binomialUpper(tested, passes, 1 - alpha) > OUTSIDE / 2)
  return {
    alpha,
    tested,
    passed,
    proportion,
    interval,
    within_interval: proportion >= interval[0] && proportion <= interval[1],
    exact_interval: [tested - most, tested - fewest],
    within_exact_interval: tested - passed <= most && tested - passed >= fewest,
  }
}

/** Largest integer of [0, high] where `holds`, which is true at 0 and turns false once at most. */
function lastTrue(high: number, holds: (value: number) => boolean): number {
  let [from, to] = [0, high]
  while (from < to) {
    const middle = Math.ceil((from + to) / 2)
    if (holds(middle)) from = middle
    else to = middle - 1
  }
  return from
}

/**
 * P_T: chi-square of the P-values in ten bins of equal width. Throws RangeError if one is outside [0, 1].
 * Source: SP 800-22 rev 1a, 4.2.2.
 */
export function uniformity(pValues: readonly number[]): Uniformity {
  requirePValues(pValues)
  const bins = Array.from({ length: BINS }, () => 0)
  for (const p of pValues) bins[Math.min(BINS - 1, Math.floor(BINS * p))]++
  if (pValues.length < MINIMUM_P_VALUES) {
    const reason = `needs at least ${MINIMUM_P_VALUES} P-values, given ${pValues.length}`
    return { bins, chi2: null, p: null, reason }
  }
  const expected = pValues.length / BINS
  const chi2 = bins.reduce((sum, count) => sum + (count - expected) ** 2, 0) / expected
  return { bins, chi2, p: chiSquareUpper(chi2, BINS - 1) }
}

/**
 * Holm's and Benjamini and Hochberg's adjusted P-values, in the order of `p`. Null, for a result that has none, stays
 * null and is no test among those adjusted for. Throws RangeError on a p outside [0, 1].
 */
export function adjustPValues(p: readonly (number | null)[]): {
  holm: (number | null)[]
  benjaminiHochberg: (number | null)[]
} {
  const present = p.filter((value) => value !== null)
  const spread = (adjusted: readonly number[]) => {
    const next = adjusted.values()
    return p.map((value) => (value === null ? null : next.next().value!))
  }
  return { holm: spread(holm(present)), benjaminiHochberg: spread(benjaminiHochberg(present)) }
}

/**
 * The rows of the final analysis: one for each P-value of each test, over the results of many sequences in any order.
 * Results of one test with other parameters have rows of their own. A test that has no P-value for any sequence has one
 * row without proportion. Throws RangeError if results of a test differ in how many P-values they have.
 */
export function secondLevelRows(results: readonly TestResult[], alpha: number = ALPHA): SecondLevelRow[] {
  const byTest = Map.groupBy(results, ({ test, params }) => `${test} ${JSON.stringify(params)}`)
  return [...byTest.values()].flatMap((group) => {
    const ok = group.filter(({ status }) => status === 'ok')
    const { test, params } = group[0]
    const of = ok.length > 0 ? ok[0].p_values.length : 0
    const other = ok.find(({ p_values }) => p_values.length !== of)
    if (other) throw new RangeError(`${test} has ${of} P-values for one sequence, ${other.p_values.length} for another`)
    const count = (status: TestStatus) => group.filter((result) => result.status === status).length
    const counts = { ok: ok.length, insufficient: count('insufficient'), not_applicable: count('not_applicable') }
    return Array.from({ length: Math.max(1, of) }, (_, index): SecondLevelRow => {
      const p = of === 0 ? [] : ok.map(({ p_values }) => p_values[index])
      return {
        test,
        params,
        index,
        of,
        results: counts,
        proportion: p.length === 0 ? null : passProportion(p, alpha),
        uniformity: uniformity(p),
        ks: p.length === 0 ? null : kolmogorovSmirnov(p),
      }
    })
  })
}

/**
 * The rows as text, in the columns and with the marks of the NIST program's final analysis report: a star stands at P_T
 * below .0001 and at a proportion outside the standard's interval, its ends taken down to whole sequences. Unlike there,
 * `----` stands for P_T below 55 P-values, not 10.
 */
export function formatSecondLevelTable(rows: readonly SecondLevelRow[]): string {
  const header = `${Array.from({ length: BINS }, (_, i) => `C${i + 1}`.padStart(3)).join(' ')}  P-VALUE  PROPORTION  STATISTICAL TEST`
  return `${[header, ...rows.map(formatRow)].join('\n')}\n`
}

function formatRow({ test, index, of, proportion, uniformity: { bins, p } }: SecondLevelRow): string {
  const counts = bins.map((count) => `${String(count).padStart(3)} `).join('')
  const uniform = p === null ? '    ----    ' : ` ${p.toFixed(6)} ${p < UNIFORMITY_LEVEL ? '*' : ' '}  `
  const [passed, tested] = proportion === null ? ['-', '-'] : [proportion.passed, proportion.tested]
  const star = proportion !== null && outsideWholeInterval(proportion) ? '*' : ' '
  return `${counts}${uniform}${String(passed).padStart(4)}/${String(tested).padEnd(4)} ${star}  ${test}${of > 1 ? ` ${index + 1}` : ''}`
}

function outsideWholeInterval({ passed, tested, interval: [low, high] }: PassProportion): boolean {
  return passed < Math.floor(low * tested) || passed > Math.floor(high * tested)
}
