import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { plainDotProducts, simdDotProducts } from '../../pipeline/dot-products.ts'
import { plainOverlapSummer, simdOverlapSummer } from '../../pipeline/overlap-kernel.ts'
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

type Kind = typeof device extends fc.Arbitrary<infer T> ? T : never

function makeSeries(kinds: readonly Kind[], seconds: number, seed: number): DeviceSeries[] {
  const next = uniforms(seed)
  return kinds.map(({ bits, absent, stuck, centred }, i) => {
    const sizes = Uint32Array.from({ length: seconds }, () =>
      next() < absent ? 0 : bits[Math.floor(next() * bits.length)],
    )
    const ones = sizes.map((size) => (stuck ? 0 : Math.floor(next() * (size + 1))))
    const reference = centred ? { reference: { mean: 0.01, sd: 1.1 } } : {}
    return { deviceId: `device ${i}`, bits: sizes, ones, ...reference }
  })
}

/** Up to 13 devices over up to 1,200 seconds: several blocks of either kernel of products, and the rest of one. */
const networks = fc
  .tuple(fc.array(device, { minLength: 1, maxLength: 13 }), fc.integer({ min: 1, max: 1200 }), fc.nat(1e9))
  .map(([kinds, seconds, seed]) => makeSeries(kinds, seconds, seed))

/** Few devices over more seconds than one block of overlaps has, or more devices than stay in a cache at once. */
const largeNetworks = fc
  .tuple(
    fc.oneof(
      fc.tuple(fc.array(device, { minLength: 2, maxLength: 5 }), fc.integer({ min: 4090, max: 8200 })),
      fc.tuple(fc.array(device, { minLength: 33, maxLength: 70 }), fc.integer({ min: 1, max: 40 })),
    ),
    fc.nat(1e9),
  )
  .map(([[kinds, seconds], seed]) => makeSeries(kinds, seconds, seed))

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

type Sums = Record<(typeof SUMS)[number], number>

/** By the definition, of one pair, and what rounding is relative to: the same sums of absolute terms, of all of x and of y. */
function slowly(a: DeviceSeries, b: DeviceSeries): { sums: Sums; scale: Sums } {
  const sums = { n: 0, sumXY: 0, sumX: 0, sumY: 0, sumX2: 0, sumY2: 0 }
  const scale = { ...sums }
  const score = ({ bits, ones, reference }: DeviceSeries, t: number) =>
    ((2 * ones[t] - bits[t]) / Math.sqrt(bits[t]) - (reference?.mean ?? 0)) / (reference?.sd ?? 1)
  for (let t = 0; t < a.bits.length; t++) {
    const [hasX, hasY] = [isTrial(a.bits[t], a.ones[t]), isTrial(b.bits[t], b.ones[t])]
    const [x, y] = [hasX ? score(a, t) : 0, hasY ? score(b, t) : 0]
    const terms = { n: 1, sumXY: x * y, sumX: x, sumY: y, sumX2: x * x, sumY2: y * y }
    for (const name of SUMS) {
      if (hasX && hasY) sums[name] += terms[name]
      scale[name] += Math.abs(terms[name])
    }
  }
  return { sums, scale }
}

function expectByDefinition(series: readonly DeviceSeries[]): void {
  const fast = pairSums(series)
  let k = 0
  for (const [i, a] of series.entries()) {
    for (const b of series.slice(i + 1)) {
      const { sums, scale } = slowly(a, b)
      expect(fast.n[k]).toBe(sums.n)
      for (const name of SUMS) {
        expect(Math.abs(fast[name][k] - sums[name]), name).toBeLessThanOrEqual(1e-12 * scale[name])
      }
      k++
    }
  }
  expect(fast.n).toHaveLength(k)
}

const at = (sums: PairSums, k: number) => SUMS.map((name) => sums[name][k])

describe('pairSums', () => {
  it('are the sums over the seconds in common, of every pair', () => {
    fc.assert(fc.property(networks, expectByDefinition), { numRuns: 60 })
    fc.assert(fc.property(largeNetworks, expectByDefinition), { numRuns: 12 })
  })

  it('are the same to the last digit with and without WebAssembly', () => {
    const [products, summer] = [simdDotProducts(), simdOverlapSummer()]
    if (!products || !summer) throw new Error('this host has no WebAssembly with SIMD')
    fc.assert(
      fc.property(fc.oneof(networks, largeNetworks), (series) => {
        expect(pairSums(series, products, summer)).toEqual(pairSums(series, plainDotProducts(), plainOverlapSummer()))
      }),
      { numRuns: 60 },
    )
  })

  it('of a pair are the same to the last digit whatever other devices there are', () => {
    fc.assert(
      fc.property(fc.oneof(networks, largeNetworks), (series) => {
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

  it('are of the trials as they are now, in arrays that were used before', () => {
    const steady = makeSeries([{ bits: [200], absent: 0, stuck: false, centred: false }], 60, 1)[0]
    const [uneven] = makeSeries([{ bits: [256, 512], absent: 0, stuck: false, centred: false }], 60, 2)
    const before = pairSums([steady, uneven])
    steady.ones.fill(120)
    const after = pairSums([steady, uneven])
    expect(after.sumXY[0]).not.toBe(before.sumXY[0])
    expect(after).toEqual(pairSums([{ ...steady }, uneven]))
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
