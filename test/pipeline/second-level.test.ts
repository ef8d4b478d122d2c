import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { kolmogorovSmirnov, kolmogorovUpper } from '../../pipeline/kolmogorov-smirnov.ts'
import { benjaminiHochberg, holm } from '../../pipeline/multiple-testing.ts'
import { chiSquareUpper } from '../../pipeline/special.ts'
import {
  adjustPValues,
  formatSecondLevelTable,
  passProportion,
  secondLevelRows,
  uniformity,
} from '../../pipeline/second-level.ts'
import type { TestResult, TestStatus } from '../../pipeline/tests/definition.ts'
import { aesStream } from '../fixtures/streams.ts'

/** The NIST program's results and final analysis report of eight sequences; null where a test did not apply. */
interface Fixture {
  finalAnalysis: { results: Record<string, (number[] | null)[]>; rows: string[] }
}
const path = new URL('../fixtures/sp800-22-b.json', import.meta.url)
const { finalAnalysis }: Fixture = JSON.parse(readFileSync(path, 'utf8'))

function resultOf(test: string, p_values: number[] | null, status: TestStatus = 'not_applicable'): TestResult {
  if (p_values === null) return { test, status, reason: 'why', p_values: [], statistic: null, params: {} }
  return { test, status: 'ok', p_values, statistic: 0, params: {} }
}

/** `count` numbers of [0, 1), uniform. */
function uniformNumbers(label: string, count: number): number[] {
  return Array.from(new Uint32Array(aesStream(label, 4 * count).slice().buffer), (word) => word / 2 ** 32)
}

describe('the final analysis of the NIST program', () => {
  const results = Object.entries(finalAnalysis.results).flatMap(([test, sequences]) =>
    sequences.map((p) => resultOf(test, p)),
  )
  const rows = secondLevelRows(results)

  it('has the same counts, proportions and marks', () => {
    const lines = formatSecondLevelTable(rows).trimEnd().split('\n')
    expect(lines[0]).toBe(' C1  C2  C3  C4  C5  C6  C7  C8  C9 C10  P-VALUE  PROPORTION  STATISTICAL TEST')
    // Ours number the P-values of a test.
    expect(lines.slice(1).map((line) => line.replace(/ \d+$/, ''))).toEqual(finalAnalysis.rows)
  })

  it('counts sequences without a P-value, and does not take them for 0', () => {
    const row = rows.find(({ test }) => test === 'RandomExcursionsVariant')!
    expect(row.results).toEqual({ ok: 4, insufficient: 0, not_applicable: 4 })
    expect(row).toMatchObject({ index: 0, of: 18, proportion: { tested: 4, passed: 4 } })
    expect(row.uniformity.bins.reduce((sum, count) => sum + count)).toBe(4)
  })
})

describe('rows', () => {
  it('of a test that never applied have no proportion', () => {
    const [row] = secondLevelRows([resultOf('runs', null, 'insufficient'), resultOf('runs', null)])
    expect(row).toMatchObject({ test: 'runs', of: 0, proportion: null, ks: null, uniformity: { p: null } })
    expect(row.results).toEqual({ ok: 0, insufficient: 1, not_applicable: 1 })
    expect(formatSecondLevelTable([row])).toMatch(/^ +0( +0){9} +---- +-\/- +runs$/m)
    expect(secondLevelRows([])).toEqual([])
  })

  it('are apart for other parameters', () => {
    const other = { ...resultOf('serial', [0.5, 0.5]), params: { m: 3 } }
    const rows = secondLevelRows([resultOf('serial', [0.1, 0.2]), other, resultOf('serial', [0.3, 0.4])])
    expect(rows.map(({ params, index, results: { ok } }) => [params, index, ok])).toEqual([
      [{}, 0, 2],
      [{}, 1, 2],
      [{ m: 3 }, 0, 1],
      [{ m: 3 }, 1, 1],
    ])
  })

  it('refuse sequences that differ in their number of P-values', () => {
    expect(() => secondLevelRows([resultOf('cusum', [0.1, 0.2]), resultOf('cusum', [0.3])])).toThrow(/cusum has 2/)
  })
})

describe('proportion', () => {
  it('of 1,000 sequences should lie between .9805607 and .9994393', () => {
    const found = passProportion(Array.from({ length: 1000 }, (_, i) => (i < 20 ? 0.001 : 0.5)))
    expect(found).toMatchObject({ alpha: 0.01, tested: 1000, passed: 980, proportion: 0.98, within_interval: false })
    expect(found.interval[0]).toBeCloseTo(0.9805607, 7)
    expect(found.interval[1]).toBeCloseTo(0.9994393, 7)
    expect(passProportion([0.01]).passed).toBe(1)
  })

  // Quantiles of the binomial distribution at .00135 and .99865, by scipy.stats.binom.
  it.each([
    [4, 3, 4],
    [8, 6, 8],
    [55, 51, 55],
    [100, 95, 100],
    [1000, 979, 998],
    [20_000, 19_757, 19_841],
  ])('of %d sequences: %d to %d may pass', (tested, lowest, highest) => {
    const passing = (passed: number) => passProportion(Array.from({ length: tested }, (_, i) => (i < passed ? 1 : 0)))
    expect(passing(tested).exact_interval).toEqual([lowest, highest])
    const within = [lowest - 1, lowest, highest].map((passed) => passing(passed).within_exact_interval)
    expect(within).toEqual([false, true, true])
    expect(passing(tested).within_exact_interval).toBe(highest === tested)
  })

  it('needs P-values and a level', () => {
    expect(() => passProportion([])).toThrow(RangeError)
    expect(() => passProportion([0.5], 0)).toThrow(/alpha/)
    expect(() => passProportion([0.5, Number.NaN])).toThrow(/not a P-value: NaN/)
  })
})

describe('uniformity', () => {
  it('is the chi-square of ten bins, 1 in the last', () => {
    const p = Array.from({ length: 60 }, (_, i) => (i < 50 ? (i % 10) / 10 + 0.05 : 1))
    expect(uniformity(p)).toEqual({
      bins: [5, 5, 5, 5, 5, 5, 5, 5, 5, 15],
      chi2: 15,
      p: chiSquareUpper(15, 9),
    })
  })

  it('needs 55 P-values', () => {
    const p = uniformNumbers('second-level-55', 55)
    expect(uniformity(p).p).toBeGreaterThan(0)
    expect(uniformity(p.slice(1))).toMatchObject({
      chi2: null,
      p: null,
      reason: 'needs at least 55 P-values, given 54',
    })
    expect(uniformity([]).bins).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  })

  it('is seen to fail, and marked', () => {
    const results = Array.from({ length: 200 }, (_, i) => resultOf('frequency', [0.5 + i / 400]))
    const [row] = secondLevelRows(results)
    expect(row.uniformity.p).toBeLessThan(1e-30)
    expect(row.ks!.p).toBeLessThan(1e-30)
    expect(formatSecondLevelTable([row])).toMatch(
      /^ +0 +0 +0 +0 +0 +40 +40 +40 +40 +40 {2}0\.000000 \* +200\/200 +frequency$/m,
    )
  })
})

describe('Kolmogorov-Smirnov', () => {
  // scipy.stats.kstwo
  it.each([
    [1, 0.75, 0.5, 1e-12],
    [2, 0.6, 0.32, 1e-12],
    [5, 0.3, 0.664, 1e-12],
    [10, 0.2, 0.74871904, 1e-12],
    [10, 0.5, 0.00777741, 1e-10],
    [10, 0.9, 2e-10, 1e-10],
    [55, 0.1, 0.6056154867138057, 1e-10],
    [100, 0.05, 0.9532159710635725, 1e-10],
    [100, 0.3, 1.7719869892662917e-8, 1e-9],
    [199, 0.08, 0.1482825708201484, 1e-5],
    [500, 0.04, 0.3902508696049749, 1e-3],
    [1000, 0.03, 0.3226902143914636, 1e-3],
    [10_000, 0.009, 0.39043921203312226, 1e-4],
    [10_000, 0.03, 2.9761211950626197e-8, 1e-5],
  ])('of %d values, D = %d', (n, d, p, relative) => {
    expect(Math.abs(kolmogorovUpper(n, d) / p - 1)).toBeLessThan(relative)
  })

  it('measures the distance on both sides of every step', () => {
    expect(kolmogorovSmirnov([0.3, 0.6]).d).toBeCloseTo(0.4, 15)
    expect(kolmogorovSmirnov([0.9]).d).toBeCloseTo(0.9, 15)
    expect(kolmogorovSmirnov([0.5])).toEqual({ d: 0.5, p: 1 })
    expect(() => kolmogorovSmirnov([])).toThrow(RangeError)
  })

  it('falls as the distance grows, through every way of computing it', () => {
    for (const n of [3, 60, 199, 200, 5000]) {
      const p = Array.from({ length: 400 }, (_, i) => kolmogorovUpper(n, Math.min(1, (i + 1) / 100 / Math.sqrt(n))))
      expect(p.every((value, i) => value >= 0 && value <= (p[i - 1] ?? 1) + 1e-9)).toBe(true)
    }
  })
})

describe('adjustment for many tests', () => {
  it('is that of p.adjust in R', () => {
    const { holm: byHolm, benjaminiHochberg: byRate } = adjustPValues([0.01, 0.04, null, 0.03, 0.005, 0.5])
    const rounded = (values: (number | null)[]) => values.map((value) => value && Number(value.toFixed(12)))
    expect(rounded(byHolm)).toEqual([0.04, 0.09, null, 0.09, 0.025, 0.5])
    expect(rounded(byRate)).toEqual([0.025, 0.05, null, 0.05, 0.025, 0.5])
    expect(holm([])).toEqual([])
    expect(() => holm([1.5])).toThrow(/not a P-value: 1.5/)
  })

  it("rejects by Holm's steps: the i-th smallest against alpha / (m - i)", () => {
    const values = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 })
    fc.assert(
      fc.property(values, fc.constantFrom(0.01, 0.2), (p, alpha) => {
        const order = Array.from(p.keys()).toSorted((a, b) => p[a] - p[b])
        const stop = order.findIndex((index, below) => (p.length - below) * p[index] > alpha)
        const rejected = new Set(stop < 0 ? order : order.slice(0, stop))
        expect(holm(p).map((adjusted) => adjusted <= alpha)).toEqual(p.map((_, index) => rejected.has(index)))
        expect(holm(p).every((adjusted, i) => adjusted >= benjaminiHochberg(p)[i] - 1e-15)).toBe(true)
      }),
    )
  })
})

it('ideal P-values pass as often as they should: 1,000 second levels of 200 values', () => {
  const all = uniformNumbers('second-level-null', 200_000)
  const rows = Array.from({ length: 1000 }, (_, k) => {
    const p = all.slice(200 * k, 200 * (k + 1))
    return { proportion: passProportion(p), chi2: uniformity(p).p!, ks: kolmogorovSmirnov(p).p }
  })
  // Rejections at .01: 99.9 % binomial interval [2, 22].
  for (const p of [rows.map(({ chi2 }) => chi2), rows.map(({ ks }) => ks)]) {
    expect(p.filter((value) => value < 0.01).length).toBeGreaterThanOrEqual(2)
    expect(p.filter((value) => value < 0.01).length).toBeLessThanOrEqual(22)
  }
  expect(kolmogorovSmirnov(rows.map(({ ks }) => ks)).p).toBeGreaterThan(0.001)
  // P(8 failures or more of 200) is .0010; 6 or fewer of 1,000 in all but 1 of 12,000 trials.
  expect(rows.filter(({ proportion }) => !proportion.within_exact_interval).length).toBeLessThanOrEqual(6)
})
