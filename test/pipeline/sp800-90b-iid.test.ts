import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { testBinaryIndependence } from '../../pipeline/sp800-90b/iid-chi-square.ts'
import { PERMUTATION_STATISTICS, statisticsOf, testPermutations } from '../../pipeline/sp800-90b/iid-permutation.ts'
import { kolmogorovSmirnov } from '../../pipeline/kolmogorov-smirnov.ts'
import { runTests } from '../../pipeline/tests/registry.ts'
import { repeatProbability } from '../../pipeline/tests/sp800-90b-iid.ts'
import { madeStream } from '../fixtures/made-streams.ts'
import { aesStream, namedStream } from '../fixtures/streams.ts'

const one = (name: string, bytes: Uint8Array, params = {}) =>
  runTests([name], [bytes], { params: { [name]: params } })[0]

/** What NIST's tool 1.1.7 (ea_iid) prints for these. */
const TOOL = [
  {
    stream: 'e',
    bytes: 125_000,
    independence: 11196.257291,
    df: 11_141,
    fit: 2208.449613,
    p: [0.35419, 0.900439],
    lrs: 4,
    pLrs: 0.840627,
  },
  {
    stream: 'mt19937',
    bytes: 125_000,
    independence: 11405.385415,
    df: 11_113,
    fit: 2288.513784,
    p: [0.025664, 0.534261],
    lrs: 3,
    pLrs: 1,
  },
]

describe('the IID track', () => {
  it.each(TOOL)('of $stream is what NIST’s tool prints', ({ stream, bytes, ...printed }) => {
    const data = namedStream(stream, bytes)
    const chi = one('sp800_90b_chi_square', data)
    expect(chi.metrics).toMatchObject({
      independence: expect.closeTo(printed.independence, 6),
      independence_df: printed.df,
      goodness_of_fit: expect.closeTo(printed.fit, 6),
      goodness_of_fit_df: 2295,
      verdict: 'passed',
    })
    expect(chi.p_values.map((p) => Number(p.toFixed(6)))).toEqual(printed.p)
    const lrs = one('sp800_90b_lrs', data)
    expect(lrs).toMatchObject({ statistic: printed.lrs, p_values: [expect.closeTo(printed.pLrs, 6)] })
    expect(one('sp800_90b_permutation', data).metrics).toMatchObject({ verdict: 'passed' })
  })

  it('fails what repeats, what is sticky and what drifts', () => {
    const good = aesStream('iid', 8000)
    expect(one('sp800_90b_lrs', Uint8Array.from([...good, ...good])).metrics?.verdict).toBe('failed')
    const nibbles = { bits_per_symbol: 4 }
    const sticky = good.map((byte) => (byte % 3 === 0 ? (byte & 0xf0) | (byte >> 4) : byte))
    expect(one('sp800_90b_chi_square', sticky, nibbles).p_values[0]).toBeLessThan(1e-6)
    const drift = good.map((byte, i) => (i > 4000 ? byte : byte & 0x7f))
    expect(one('sp800_90b_chi_square', drift, nibbles).p_values[1]).toBeLessThan(1e-6)
    const failed = one('sp800_90b_permutation', madeStream('lcg', 1500), { shuffles: 2000 })
    // A generator that visits all values in turn: never one again within 256.
    expect(failed.metrics).toMatchObject({ verdict: 'failed', shuffles: 2000, failed_average_collision: [0, 0, 2000] })
  })

  it('has nothing to say of one symbol, or of few', () => {
    for (const name of ['sp800_90b_chi_square', 'sp800_90b_lrs', 'sp800_90b_permutation']) {
      expect(one(name, new Uint8Array(5000))).toMatchObject({ status: 'not_applicable', p_values: [], statistic: null })
      expect(one(name, new Uint8Array(999))).toMatchObject({ status: 'insufficient' })
    }
    expect(one('sp800_90b_chi_square', aesStream('iid', 100_000))).toMatchObject({
      status: 'insufficient',
      reason: 'needs at least 943720 bits, given 800000',
    })
  })

  it('has uniform P-values on good data of symbols enough', () => {
    // 4-bit symbols: 30 for each pair.
    const params = { bits_per_symbol: 4 }
    const pairs = Array.from({ length: 400 }, (_, i) =>
      one('sp800_90b_chi_square', aesStream(`iid null ${i}`, 4000), params),
    ).map((found) => found.p_values)
    for (const at of [0, 1]) {
      const values = pairs.map((pair) => pair[at])
      expect(kolmogorovSmirnov(values).p).toBeGreaterThan(0.001)
      expect(values.filter((value) => value < 0.01).length).toBeLessThan(15)
    }
  })

  it('takes bits as bits', () => {
    const data = aesStream('iid bits', 20_000)
    const found = one('sp800_90b_chi_square', data, { bits_per_symbol: 1 })
    expect(found.metrics).toMatchObject({
      alphabet: 2,
      n_symbols: 160_000,
      independence_df: 2046,
      goodness_of_fit_df: 9,
    })
    const rare = new Uint8Array(200)
    rare[7] = 1
    expect(testBinaryIndependence(rare)).toEqual({ statistic: 0, df: 0, p: null })
  })
})

describe('the longest repeated substring', () => {
  it('has the probability of the standard, also where it is tiny', () => {
    const even = Uint8Array.from({ length: 1024 }, (_, i) => i & 3)
    // C(1024 - 9, 2) pairs of places, each equal with probability 4^-10.
    const pairs = (1015 * 1014) / 2
    expect(repeatProbability(even, 10)).toBeCloseTo(1 - (1 - 4 ** -10) ** pairs, 12)
    expect(repeatProbability(even, 100) / (4 ** -100 * ((925 * 924) / 2))).toBeCloseTo(1, 12)
    expect(repeatProbability(even, 0)).toBe(1)
  })
})

describe('the statistics of the permutation test', () => {
  const all = () => true
  const context = { isBinary: false, median: 2, mean: 2 }

  it('are those of the definitions', () => {
    //                       up up level down up down down up
    const data = Uint8Array.of(1, 2, 4, 4, 0, 3, 2, 0, 4)
    expect(statisticsOf(data, context, all)).toEqual({
      excursion: 3,
      directional_runs: 5,
      longest_directional_run: 3,
      increases_decreases: 5,
      median_runs: 6,
      longest_median_run: 3,
      // 1 2 4 4, then 0 3 2 0; a 4 is left.
      average_collision: 4,
      maximum_collision: 4,
      periodicity_1: 1,
      periodicity_2: 0,
      periodicity_8: 0,
      periodicity_16: 0,
      periodicity_32: 0,
      covariance_1: 2 + 8 + 16 + 0 + 0 + 6 + 0 + 0,
      covariance_2: 4 + 8 + 0 + 12 + 0 + 0 + 8,
      covariance_8: 4,
      covariance_16: 0,
      covariance_32: 0,
      // Phrases 1, 2, 4, 4 0, 3, 2 0; the last 4 is known: symbol and 1, 2, 2, 3, 3, 3 bits.
      compression: 6 * 8 + 14,
    })
  })

  it('of bits are taken of the sums and of the values of eight', () => {
    const bits = Uint8Array.from('1000000001100000100000000110000001000000', Number)
    const found = statisticsOf(bits, { ...context, isBinary: true, median: 0.5, mean: 0 }, all)
    // Sums 1 2 1 2 1; values 80 60 80 60 40: a collision after three.
    expect(found).toMatchObject({ directional_runs: 4, increases_decreases: 2, periodicity_2: 3, covariance_1: 8 })
    expect(found).toMatchObject({ average_collision: 3, maximum_collision: 3, median_runs: 10 })
  })

  it('are left out where they are not wanted, and the others stay as they are', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 2, maxLength: 60 }),
        fc.boolean(),
        fc.subarray([...PERMUTATION_STATISTICS]),
        (bytes, isBinary, names) => {
          const data = isBinary ? bytes.map((byte) => byte & 1) : bytes
          const whole = statisticsOf(data, { ...context, isBinary }, all)
          const some = statisticsOf(data, { ...context, isBinary }, (name) => names.includes(name))
          for (const name of names) expect(some[name]).toBe(whole[name])
        },
      ),
    )
  })

  it('do not depend on anything but the data and the seed', () => {
    const data = aesStream('iid seed', 1000)
    const run = (seed: string) => testPermutations(data, 256, { seed, shuffles: 10_000 })
    expect(run('a')).toEqual(run('a'))
    expect(run('a').counts).not.toEqual(run('b').counts)
  })
})
