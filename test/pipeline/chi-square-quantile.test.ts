import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { chiSquareQuantile } from '../../pipeline/chi-square-quantile.ts'
import { chiSquareUpper } from '../../pipeline/special.ts'

interface Fixture {
  igamc: { a: number; upper: { x: number; q: string }[] }[]
}
const path = new URL('../fixtures/special-functions.json', import.meta.url)
const { igamc }: Fixture = JSON.parse(readFileSync(path, 'utf8'))

describe('chiSquareQuantile', () => {
  // By mpmath with 40 digits, rounded: the root of the regularised incomplete gamma function.
  it.each([
    [0.95, 1, 3.841458820694126],
    [0.95, 2, 5.991464547107982],
    [0.95, 10, 18.30703805327515],
    [0.975, 60, 83.2976748771732],
    [0.05, 3, 0.3518463177492714],
    [0.95, 600, 658.0935731377248],
    [0.95, 3600, 3740.6982039289605],
    [0.001, 86_400, 85_121.1121192234],
    [0.95, 86_400, 87_084.88795216083],
    [0.999999, 5, 35.88818687967287],
    [0.5, 1_000_000, 999_999.3333334123],
    [0.00001, 1, 1.5707963268771433e-10],
    [0.95, 604_800, 606_610.1762157687],
  ])('at p = %d with %i degrees of freedom is %d', (p, df, known) => {
    expect(Math.abs(chiSquareQuantile(p, df) / known - 1)).toBeLessThan(1e-11)
  })

  it('is -2 ln(1 - p) with 2 degrees of freedom', () => {
    for (let p = 0.001; p < 1; p += 0.013) {
      expect(Math.abs(chiSquareQuantile(p, 2) / (-2 * Math.log(1 - p)) - 1)).toBeLessThan(1e-12)
    }
  })

  it('undoes the tabulated tails', () => {
    const known = igamc.flatMap(({ a, upper }) => upper.map(({ x, q }) => ({ a, x, p: 1 - Number(q) })))
    const usable = known.filter(({ a, p }) => a >= 0.5 && p > 1e-5 && p < 1 - 1e-6)
    expect(usable.length).toBeGreaterThan(50)
    // 1 - q has lost digits where q is near 0 or 1, by so much at most.
    for (const { a, x, p } of usable) {
      expect(Math.abs(chiSquareQuantile(p, 2 * a) / (2 * x) - 1), `a=${a}, x=${x}`).toBeLessThan(1e-9)
    }
  })

  it('has the tail that was asked for, from half a degree of freedom to millions', () => {
    for (const df of [0.5, 1, 3, 17, 400, 1e4, 1e6]) {
      for (const p of [1e-5, 0.01, 0.3, 0.5, 0.9, 0.999, 1 - 1e-10]) {
        expect(chiSquareUpper(chiSquareQuantile(p, df), df) / (1 - p), `${p} ${df}`).toBeCloseTo(1, 9)
      }
    }
  })

  it.each([
    [0, 1],
    [1, 1],
    [Number.NaN, 1],
    [0.5, 0],
    [0.5, Infinity],
  ])('refuses p = %d, df = %d', (p, df) => {
    expect(() => chiSquareQuantile(p, df)).toThrow(RangeError)
  })
})
