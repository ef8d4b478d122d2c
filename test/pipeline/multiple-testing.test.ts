import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { benjaminiHochberg, sidak } from '../../pipeline/multiple-testing.ts'

describe('benjaminiHochberg', () => {
  it('gives the q-values of R p.adjust(method = "BH"), in the order of the input', () => {
    const q = benjaminiHochberg([0.01, 0.5, 0.02, 0.03, 0.9, 0.02])
    const expected = [0.04, 0.6, 0.04, 0.045, 0.9, 0.04]
    q.forEach((value, i) => expect(value).toBeCloseTo(expected[i], 12))
    expect(benjaminiHochberg([])).toEqual([])
    expect(benjaminiHochberg([0.3])).toEqual([0.3])
  })

  it('rejects at every level just what the step-up procedure rejects', () => {
    const level = fc.double({ min: 0.001, max: 0.999, noNaN: true })
    const values = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(values, level, (p, alpha) => {
        const sorted = p.toSorted((x, y) => x - y)
        const rank = sorted.findLastIndex((value, i) => (p.length / (i + 1)) * value <= alpha)
        const rejected = p.map((value) => rank >= 0 && value <= sorted[rank])
        expect(benjaminiHochberg(p).map((q) => q <= alpha)).toEqual(rejected)
      }),
      { seed: 8 },
    )
  })

  it('refuses what is not a P-value', () => {
    expect(() => benjaminiHochberg([0.1, Number.NaN])).toThrow(/not a P-value: NaN/)
    expect(() => benjaminiHochberg([1.01])).toThrow(RangeError)
  })

  it('takes tests that are not given for such of P = 1', () => {
    const p = [0.001, 0.2, 0.03]
    const padded = benjaminiHochberg([...p, ...Array.from({ length: 97 }, () => 1)])
    expect(benjaminiHochberg(p, 100)).toEqual(padded.slice(0, 3).map((q) => Math.min(1, q)))
  })
})

describe('sidak', () => {
  it('is the chance of one so small among several, of tiny ones too', () => {
    expect(sidak(0.01, 1)).toBeCloseTo(0.01, 15)
    expect(sidak(0.5, 3)).toBeCloseTo(0.875, 15)
    expect(sidak(1e-20, 41) / 41e-20).toBeCloseTo(1, 12)
    expect([sidak(0, 41), sidak(1, 41)]).toEqual([0, 1])
  })
})
