import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  binomialTwoSidedHalf,
  binomialUpper,
  chiSquareUpper,
  erfc,
  igamc,
  incompleteBeta,
  logGamma,
  normalTwoSided,
  normalUpper,
  studentTwoSided,
} from '../../pipeline/special.ts'

interface Fixture {
  erfc: { x: number; value: string }[]
  igamc: { a: number; upper: { x: number; q: string }[] }[]
}
const path = new URL('../fixtures/special-functions.json', import.meta.url)
const fixture: Fixture = JSON.parse(readFileSync(path, 'utf8'))

/** Relative error; reference values below the smallest double count as 0 and must be met exactly. */
function relativeError(value: number, reference: number): number {
  return value === reference ? 0 : Math.abs(value - reference) / Math.abs(reference)
}

/** P(X >= k) of Bin(n, num/den), exact in integers. */
function exactBinomialUpper(n: number, k: number, num: bigint, den: bigint): number {
  let choose = 1n
  let sum = 0n
  for (let i = 0; i <= n; i++) {
    if (i >= k) sum += choose * num ** BigInt(i) * (den - num) ** BigInt(n - i)
    choose = (choose * BigInt(n - i)) / BigInt(i + 1)
  }
  const shift = 2n ** 1200n
  const scaled = (sum * shift) / den ** BigInt(n)
  const drop = Math.max(0, scaled.toString(2).length - 64)
  return Number(scaled >> BigInt(drop)) * 2 ** (drop - 600) * 2 ** -600
}

describe('erfc', () => {
  it.each(fixture.erfc)('erfc($x) is $value', ({ x, value }) => {
    expect(relativeError(erfc(x), Number(value))).toBeLessThan(1e-14)
    expect(relativeError(erfc(-x), 2 - Number(value))).toBeLessThan(1e-13)
  })

  it('reaches its limits, refuses NaN', () => {
    expect([erfc(Infinity), erfc(-Infinity), erfc(40)]).toEqual([0, 2, 0])
    expect(() => erfc(NaN)).toThrow(RangeError)
  })
})

describe('igamc', () => {
  it.each(fixture.igamc)('a = $a: every tail to 1e-12', ({ a, upper }) => {
    for (const { x, q } of upper) expect(relativeError(igamc(a, x), Number(q)), `x = ${x}`).toBeLessThan(1e-12)
  })

  it('equals exp(-x) at a = 1, and its recurrence Q(a+1) = Q(a) + x^a e^-x / Gamma(a+1)', () => {
    for (const x of [0, 1e-9, 0.3, 0.999, 1, 7, 300, 700])
      expect(relativeError(igamc(1, x), Math.exp(-x))).toBeLessThan(1e-12)
    for (const [a, x] of [
      [0.5, 0.2],
      [3.5, 3],
      [14.5, 20],
      [60, 59],
    ]) {
      const step = Math.exp(a * Math.log(x) - x - logGamma(a + 1))
      expect(relativeError(igamc(a + 1, x), igamc(a, x) + step)).toBeLessThan(1e-12)
    }
  })

  it('refuses what it cannot answer', () => {
    expect(igamc(2, Infinity)).toBe(0)
    for (const [a, x] of [
      [0, 1],
      [-1, 1],
      [1, -1],
      [NaN, 1],
      [1, NaN],
    ])
      expect(() => igamc(a, x)).toThrow(RangeError)
  })
})

describe('logGamma', () => {
  it('gives factorials and half integers', () => {
    let factorial = 1
    for (let n = 1; n <= 100; n++) {
      expect(Math.abs(logGamma(n) - Math.log(factorial))).toBeLessThan(1e-14 * Math.max(1, Math.log(factorial)) * 3)
      factorial *= n
    }
    expect(logGamma(0.5)).toBeCloseTo(Math.log(Math.PI) / 2, 14)
    expect(logGamma(1e6)).toBeCloseTo(12815504.569147611, 7)
    expect(() => logGamma(0)).toThrow(RangeError)
  })
})

describe('incompleteBeta', () => {
  it('has its closed forms and its symmetry', () => {
    for (const x of [0, 1e-12, 0.1, 0.5, 0.9, 1]) {
      expect(relativeError(incompleteBeta(7.5, 1, x), x ** 7.5)).toBeLessThan(1e-12)
      expect(relativeError(incompleteBeta(2, 2, x), x * x * (3 - 2 * x))).toBeLessThan(1e-12)
      expect(incompleteBeta(0.5, 0.5, x)).toBeCloseTo((2 / Math.PI) * Math.asin(Math.sqrt(x)), 12)
      expect(incompleteBeta(3.2, 40, x) + incompleteBeta(40, 3.2, 1 - x)).toBeCloseTo(1, 12)
    }
    expect(() => incompleteBeta(1, 1, 1.1)).toThrow(RangeError)
  })
})

describe('tail probabilities', () => {
  it('chi-square with 2 degrees of freedom is exponential; with 1, a squared normal', () => {
    expect(relativeError(chiSquareUpper(100, 2), Math.exp(-50))).toBeLessThan(1e-12)
    expect(relativeError(chiSquareUpper(9, 1), normalTwoSided(-3))).toBeLessThan(1e-12)
    expect(() => chiSquareUpper(1, 0)).toThrow(RangeError)
  })

  it('normal', () => {
    expect(normalTwoSided(1.959963984540054)).toBeCloseTo(0.05, 14)
    expect(normalUpper(-1.6448536269514722)).toBeCloseTo(0.95, 14)
    expect(relativeError(normalUpper(10), 7.619853024160525e-24)).toBeLessThan(1e-12)
  })

  it('Student t has its closed forms at 1, 2 and 4 degrees of freedom', () => {
    for (const t of [0, 0.01, 1, -2.5, 30]) {
      const size = Math.abs(t)
      expect(studentTwoSided(t, 1)).toBeCloseTo(1 - (2 / Math.PI) * Math.atan(size), 13)
      expect(studentTwoSided(t, 2)).toBeCloseTo(1 - size / Math.sqrt(2 + t * t), 13)
      const s = size / Math.sqrt(4 + t * t)
      expect(studentTwoSided(t, 4)).toBeCloseTo(1 - (3 * s - s ** 3) / 2, 13)
    }
    // With 2 degrees of freedom the tail is t^-2 to first order.
    expect(relativeError(studentTwoSided(1e8, 2), 1e-16)).toBeLessThan(1e-12)
    expect(studentTwoSided(Infinity, 3)).toBe(0)
    expect(() => studentTwoSided(1, 0)).toThrow(RangeError)
  })

  it('binomial tails equal sums of integers', () => {
    for (const [n, k] of [
      [1, 1],
      [10, 8],
      [256, 128],
      [256, 200],
      [1000, 560],
      [300, 300],
    ]) {
      expect(relativeError(binomialUpper(n, k, 0.5), exactBinomialUpper(n, k, 1n, 2n)), `${n} ${k}`).toBeLessThan(1e-12)
      expect(relativeError(binomialUpper(n, k, 1 / 256), exactBinomialUpper(n, k, 1n, 256n))).toBeLessThan(1e-12)
    }
    expect([binomialUpper(5, 0, 0.1), binomialUpper(5, -1, 0.1), binomialUpper(5, 6, 0.1)]).toEqual([1, 1, 0])
    expect(() => binomialUpper(5, 1.5, 0.5)).toThrow(RangeError)
  })

  it('two-sided exact p of a fair coin counts both tails once', () => {
    expect(binomialTwoSidedHalf(10, 5)).toBe(1)
    expect(binomialTwoSidedHalf(10, 9)).toBeCloseTo((2 * 11) / 1024, 14)
    expect(binomialTwoSidedHalf(10, 1)).toBe(binomialTwoSidedHalf(10, 9))
    expect(binomialTwoSidedHalf(5, 2)).toBeCloseTo(1, 14)
    expect(() => binomialTwoSidedHalf(5, 6)).toThrow(RangeError)
  })
})
