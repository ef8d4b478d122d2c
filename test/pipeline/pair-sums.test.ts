import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { plainDotProducts, simdDotProducts } from '../../pipeline/dot-products.ts'
import { type DeviceSeries, isTrial } from '../../pipeline/trials.ts'
import { type PairSums, pairSums } from '../../pipeline/pair-sums.ts'

const SUMS = ['n', 'sumXY', 'sumX', 'sumY', 'sumX2', 'sumY2'] as const

/** What a device may be like: of one size of trial or of several, with gaps or nearly silent, stuck, or too large to be exact. */
const device = fc.record({
  bits: fc.oneof(
    fc.constant([200]),
    fc.constant([256]),
    fc.constant([1]),
    fc.constant([256, 512]),
    fc.constant([60_000]),
  ),
  absent: fc.constantFrom(0, 0, 0.01, 0.5, 0.98, 1),
  stuck: fc.constantFrom(false, false, false, true),
  centred: fc.constantFrom(false, false, false, true),
})

/** Up to 13 devices over up to 1,200 seconds: several blocks of either kernel, and the rest of one. */
const networks = fc
  .tuple(fc.array(device, { minLength: 1, maxLength: 13 }), fc.integer({ min: 1, max: 1200 }), fc.nat(1e9))
  .map(([kinds, seconds, seed]) => {
    const next = uniforms(seed)
    return kinds.map(({ bits, absent, stuck, centred }, i): DeviceSeries => {
      const sizes = Uint32Array.from({ length: seconds }, () =>
        next() < absent ? 0 : bits[Math.floor(next() * bits.length)],
      )
      const ones = sizes.map((size) => (stuck ? 0 : Math.floor(next() * (size + 1))))
      const reference = centred ? { reference: { mean: 0.01, sd: 1.1 } } : {}
      return { deviceId: `device ${i}`, bits: sizes, ones, ...reference }
    })
  })

/** Marsaglia's xorshift, good enough to make cases of. */
function uniforms(seed: number): () => number {
  let x = seed | 1
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) / 2 ** 32
  }
}

/** By the definition, pair by pair and second by second. */
function slowly(series: readonly DeviceSeries[]): Record<(typeof SUMS)[number], number[]> {
  const sums: Record<(typeof SUMS)[number], number[]> = { n: [], sumXY: [], sumX: [], sumY: [], sumX2: [], sumY2: [] }
  const score = ({ bits, ones, reference }: DeviceSeries, t: number) =>
    ((2 * ones[t] - bits[t]) / Math.sqrt(bits[t]) - (reference?.mean ?? 0)) / (reference?.sd ?? 1)
  for (const [i, a] of series.entries()) {
    for (const b of series.slice(i + 1)) {
      const of = { n: 0, sumXY: 0, sumX: 0, sumY: 0, sumX2: 0, sumY2: 0 }
      for (let t = 0; t < a.bits.length; t++) {
        if (!isTrial(a.bits[t], a.ones[t]) || !isTrial(b.bits[t], b.ones[t])) continue
        const [x, y] = [score(a, t), score(b, t)]
        of.n++
        of.sumXY += x * y
        of.sumX += x
        of.sumY += y
        of.sumX2 += x * x
        of.sumY2 += y * y
      }
      for (const name of SUMS) sums[name].push(of[name])
    }
  }
  return sums
}

const at = (sums: PairSums, k: number) => SUMS.map((name) => sums[name][k])

describe('pairSums', () => {
  it('are the sums over the seconds in common, of every pair', () => {
    fc.assert(
      fc.property(networks, (series) => {
        const [fast, slow] = [pairSums(series), slowly(series)]
        expect([...fast.n]).toEqual(slow.n)
        // Rounding is relative to the sums over all seconds, of which what is not in common was taken away.
        const scale = series.map(({ bits }) => Array.from(bits).reduce((sum, size) => sum + size, 1))
        const most = 1e-12 * Math.max(...scale)
        for (const name of SUMS) {
          fast[name].forEach((value, k) => expect(Math.abs(value - slow[name][k]), name).toBeLessThanOrEqual(most))
        }
      }),
      { numRuns: 60 },
    )
  })

  it('are the same to the last digit with and without WebAssembly', () => {
    const simd = simdDotProducts()
    if (!simd) throw new Error('this host has no WebAssembly with SIMD')
    fc.assert(
      fc.property(networks, (series) => {
        expect(pairSums(series, simd)).toEqual(pairSums(series, plainDotProducts()))
      }),
      { numRuns: 60 },
    )
  })

  it('of a pair are the same to the last digit whatever other devices there are', () => {
    fc.assert(
      fc.property(networks, (series) => {
        const all = pairSums(series)
        let k = 0
        for (let i = 0; i < series.length; i++) {
          for (let j = i + 1; j < series.length; j++, k++) {
            expect(at(all, k)).toEqual(at(pairSums([series[i], series[j]]), 0))
          }
        }
      }),
      { numRuns: 30 },
    )
  })

  it('are exact where trials have one size, however long the series', () => {
    const seconds = 86_400
    const [a, b] = [1, 2].map((seed): DeviceSeries => {
      const next = uniforms(seed)
      // As far from the middle as the exact kernel takes.
      const ones = Uint32Array.from({ length: seconds }, () => (next() < 0.9 ? 2047 : 1024))
      return { deviceId: `device ${seed}`, bits: new Uint32Array(seconds).fill(2048), ones }
    })
    let [xy, x2] = [0n, 0n]
    for (let t = 0; t < seconds; t++) {
      const [x, y] = [BigInt(2 * a.ones[t] - 2048), BigInt(2 * b.ones[t] - 2048)]
      xy += x * y
      x2 += x * x
    }
    const sums = pairSums([a, b])
    expect(sums.sumXY[0] * 2048).toBeCloseTo(Number(xy), 3)
    expect(sums.sumX2[0] * 2048).toBeCloseTo(Number(x2), 3)
  })

  it('of nobody, of one device, and of no seconds are none', () => {
    const empty = { deviceId: 'a', bits: new Uint32Array(0), ones: new Uint32Array(0) }
    expect(pairSums([]).n).toHaveLength(0)
    expect(pairSums([empty]).n).toHaveLength(0)
    expect(at(pairSums([empty, { ...empty, deviceId: 'b' }]), 0)).toEqual([0, 0, 0, 0, 0, 0])
  })
})
