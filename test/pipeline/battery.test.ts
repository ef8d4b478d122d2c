import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { addCircularPatterns, countOnes } from '../../pipeline/bits.ts'
import { frequencyPValue } from '../../pipeline/tests/frequency.ts'
import { findTest, runSuite, runTests, suiteTests, testNames, TESTS } from '../../pipeline/tests/registry.ts'
import { runsApply, runsStatistic } from '../../pipeline/tests/runs.ts'
import { serialStatistic } from '../../pipeline/tests/serial.ts'
import { expectedPlugInEntropy } from '../../pipeline/tests/shannon-entropy.ts'
import { binomialTwoSidedHalf, binomialUpper, erfc } from '../../pipeline/special.ts'
import { aesStream, namedStream } from '../fixtures/streams.ts'

interface Fixture {
  streams: Record<string, { bytes: number; sha256: string }>
  bitTests: { stream: string; fromByte: number; bytes: number; frequency: number; runs: number; serial16: number[] }[]
  byteTests: {
    stream: string
    bytes: number
    entropy: number
    chiSquare: number
    chiSquareP: number
    minEntropy: number
  }[]
  standard: {
    pi100: string
    frequency: { bits: string; p: number }[]
    runs: { bits: string; runs: number; p: number }[]
    serial: { bits: string; m: number; delta1: number; delta2: number; p: number[] }
    serialOfE: { m: number; delta1: number; delta2: number; p: number[] }
  }
}
const path = new URL('../fixtures/battery.json', import.meta.url)
const fixture: Fixture = JSON.parse(readFileSync(path, 'utf8'))
const streams = new Map(Object.entries(fixture.streams).map(([name, { bytes }]) => [name, namedStream(name, bytes)]))
const { standard } = fixture

const one = (name: string, segments: Uint8Array[], params = {}) =>
  runTests([name], segments, { params: { [name]: params } })[0]
const bitsOf = (text: string) => Array.from(text === 'pi100' ? standard.pi100 : text, Number)
const onesOf = (bits: number[]) => bits.reduce((sum, bit) => sum + bit, 0)
const transitionsOf = (bits: number[]) => bits.slice(1).filter((bit, i) => bit !== bits[i]).length

describe('the worked examples of SP 800-22', () => {
  it.each(standard.frequency)('2.1 frequency of $bits', ({ bits, p }) => {
    expect(frequencyPValue(onesOf(bitsOf(bits)), bitsOf(bits).length)).toBeCloseTo(p, 13)
  })

  it.each(standard.runs)('2.3 runs of $bits', ({ bits, runs, p }) => {
    const list = bitsOf(bits)
    const found = runsStatistic({
      bits: list.length,
      ones: onesOf(list),
      transitions: transitionsOf(list),
      segments: 1,
    })
    expect(found.runs).toBe(runs)
    expect(found.p).toBeCloseTo(p, 13)
  })

  it('2.11 serial of ten bits, m = 3', () => {
    const { bits, m, delta1, delta2, p } = standard.serial
    const counts = new Uint32Array(2 ** m)
    for (let at = 0; at < bits.length; at++) counts[Number.parseInt((bits + bits).slice(at, at + m), 2)]++
    const found = serialStatistic(counts)
    expect([found.delta1, found.delta2, ...found.p].map((value, i) => value - [delta1, delta2, ...p][i])).toEqual(
      Array.from({ length: 4 }, () => expect.closeTo(0, 12)),
    )
  })

  it('2.11 serial of a million bits of e, m = 2', () => {
    const found = one('serial', [streams.get('e')!])
    expect(found.statistic).toBeCloseTo(standard.serialOfE.delta1, 6)
    expect(found.metrics?.delta2).toBeCloseTo(standard.serialOfE.delta2, 6)
    found.p_values.forEach((p, i) => expect(p).toBeCloseTo(standard.serialOfE.p[i], 9))
  })
})

describe('reference implementations', () => {
  it.each(Object.keys(fixture.streams))('stream %s is the one the numbers were made from', (name) => {
    expect(createHash('sha256').update(streams.get(name)!).digest('hex')).toBe(fixture.streams[name].sha256)
  })

  it.each(fixture.bitTests)('NIST STS: $bytes bytes of $stream from $fromByte', (row) => {
    const bytes = streams.get(row.stream)!.subarray(row.fromByte, row.fromByte + row.bytes)
    expect(Math.abs(one('frequency', [bytes]).p_values[0] - row.frequency)).toBeLessThan(1e-9)
    expect(Math.abs(one('runs', [bytes]).p_values[0] - row.runs)).toBeLessThan(1e-9)
    // STS does not enforce the minimum length of serial; the formula is compared all the same.
    const counts = new Uint32Array(2 ** 16)
    addCircularPatterns(bytes, 16, counts)
    const longEnough = 8 * bytes.length >= 2 ** 19
    const p = longEnough ? one('serial', [bytes], { m: 16 }).p_values : serialStatistic(counts).p
    p.forEach((value, i) => expect(Math.abs(value - row.serial16[i])).toBeLessThan(1e-9))
  })

  it.each(fixture.byteTests)('ent and the SP 800-90B tool: $bytes bytes of $stream', (row) => {
    const bytes = streams.get(row.stream)!.subarray(0, row.bytes)
    expect(one('shannon_entropy', [bytes]).statistic).toBeCloseTo(row.entropy, 11)
    expect(one('byte_chi_square', [bytes]).statistic).toBeCloseTo(row.chiSquare, 8)
    expect(one('byte_chi_square', [bytes]).p_values[0]).toBeCloseTo(row.chiSquareP, 9)
    expect(one('most_common_value', [bytes]).statistic).toBeCloseTo(row.minEntropy, 5)
  })
})

describe('segments', () => {
  const bytes = aesStream('battery-segments', 4096)

  it('sum counts, and are not read across a break', () => {
    const [left, right] = [Uint8Array.from({ length: 16 }, () => 0x0f), Uint8Array.from({ length: 16 }, () => 0x0f)]
    const joined = new Uint8Array(32).fill(0x0f)
    expect(one('frequency', [left, right])).toEqual(one('frequency', [joined]))
    // 31 transitions in each half, and one more in the whole: V counts half of the unseen pair.
    expect(one('runs', [left, right]).statistic).toBe(62 + 1 + 0.5)
    expect(one('runs', [joined]).statistic).toBe(63 + 1)
    expect(one('autocorrelation', [left, right], { lags: [1, 32] }).metrics).toMatchObject({
      pairs: [254, 192],
      agreements: [192, 192],
      z: [expect.closeTo(130 / Math.sqrt(254), 12), expect.closeTo(Math.sqrt(192), 12)],
    })
  })

  it('runs of k segments have the variance of n - k + 1 bits', () => {
    const { p } = runsStatistic({ bits: 8000, ones: 4000, transitions: 3400, segments: 1000 })
    // V = 3400 + 1 + 999 / 2, expected n / 2, variance (n - k + 1) / 4.
    expect(p).toBeCloseTo(erfc((4000 - 3900.5) / (Math.sqrt(2 * 7001) / 2)), 13)
  })

  it('that are empty change nothing', () => {
    const none = new Uint8Array(0)
    expect(runSuite('chunk', [none, bytes, none])).toEqual(runSuite('chunk', [bytes]))
  })

  it('byte tests do not see where a break is', () => {
    for (const name of ['byte_chi_square', 'shannon_entropy', 'most_common_value', 'frequency']) {
      expect(one(name, [bytes.subarray(0, 1001), bytes.subarray(1001)])).toEqual(one(name, [bytes]))
    }
  })

  it('serial leaves out segments shorter than 2m - 1 bits', () => {
    const tiny = Uint8Array.of(0xff)
    expect(one('serial', [bytes, tiny], { m: 5 }).p_values).toEqual(one('serial', [bytes], { m: 5 }).p_values)
    expect(one('serial', [bytes, tiny], { m: 4 }).p_values).not.toEqual(one('serial', [bytes], { m: 4 }).p_values)
  })
})

/**
 * Null behaviour: R sequences of an ideal source, cut in segments; rejections at .01 inside the 99.9 % binomial
 * interval. The streams are fixed, so the outcome is too.
 */
describe.each([
  { layout: 'one segment of 2048 bytes', segmentBytes: 2048, bytes: 2048 },
  { layout: '64 segments of 32 bytes', segmentBytes: 32, bytes: 2048 },
  { layout: '1280 segments of one byte', segmentBytes: 1, bytes: 1280 },
])('ideal data in $layout', ({ segmentBytes, bytes }) => {
  const repetitions = segmentBytes === 1 ? 1000 : 2000
  const rejected = new Map<string, number>()
  const applied = new Map<string, number>()
  const data = aesStream(`battery-null-${segmentBytes}`, repetitions * bytes)
  for (let r = 0; r < repetitions; r++) {
    const segments = Array.from({ length: bytes / segmentBytes }, (_, i) =>
      data.subarray(r * bytes + i * segmentBytes, r * bytes + (i + 1) * segmentBytes),
    )
    for (const { test, p_values, params } of runTests(testNames, segments)) {
      p_values.forEach((p, i) => {
        const key = Array.isArray(params.lags) ? `${test} lag ${params.lags[i]}` : `${test} ${i}`
        applied.set(key, (applied.get(key) ?? 0) + 1)
        rejected.set(key, (rejected.get(key) ?? 0) + (p < 0.01 ? 1 : 0))
      })
    }
  }

  it.each([...applied])('%s', (key, trials) => {
    const count = rejected.get(key)!
    expect(binomialUpper(trials, count, 0.01), `${count} of ${trials}`).toBeGreaterThan(0.0005)
    // These give a bound, or few different values: they may reject less often, not more.
    const isBound = /^(most_common_value|sp800_90b_lrs)/.test(key)
    const atMost = isBound ? 1 : 1 - binomialUpper(trials, count + 1, 0.01)
    expect(atMost, `${count} of ${trials}`).toBeGreaterThan(0.0005)
    expect(trials).toBeGreaterThan(0.9 * repetitions)
  })
})

const worst = (bytes: Uint8Array) =>
  Object.fromEntries(runSuite('chunk', [bytes]).map((found) => [found.test, Math.min(1, ...found.p_values)]))

describe('what is wrong with data is found', () => {
  it('a repeated byte, alternating bits, a bias', () => {
    expect(worst(new Uint8Array(2000).fill(0x55))).toMatchObject({ frequency: 1, byte_chi_square: 0, serial: 0 })
    const biased = aesStream('battery-bias', 8000).map((byte, i) => (i % 8 === 0 ? byte | 0x11 : byte))
    expect(worst(biased).frequency).toBeLessThan(1e-6)
    const often = aesStream('battery-often', 8000).map((byte, i) => (i % 100 === 0 ? 42 : byte))
    expect(worst(often).most_common_value).toBeLessThan(1e-9)
  })

  it('one bit copied 8 bits later', () => {
    const copied = aesStream('battery-lag', 4000)
    for (let i = 1; i < copied.length; i += 2) copied[i] = (copied[i] & 0x7f) | (copied[i - 1] & 0x80)
    const { p_values, params, statistic } = one('autocorrelation', [copied])
    expect(p_values.indexOf(Math.min(...p_values))).toBe([params.lags].flat().indexOf(8))
    expect(statistic).toBeGreaterThan(6)
  })
})

describe('results without a p-value', () => {
  it.each(TESTS.map((test) => [test.name, test.minimumBits] as const))('%s needs %d bits', (name, minimumBits) => {
    const enough = Math.ceil(minimumBits / 8)
    const data = aesStream('battery-minimum', enough)
    // The walk of these bits returns to 0 too seldom for the excursions.
    expect(one(name, [data]).status).toBe(name.startsWith('random_excursions') ? 'not_applicable' : 'ok')
    const { status, p_values, statistic, reason } = one(name, [data.subarray(0, enough - 1)])
    expect({ status, p_values, statistic }).toEqual({ status: 'insufficient', p_values: [], statistic: null })
    expect(reason).toBe(`needs at least ${minimumBits} bits, given ${8 * (enough - 1)}`)
    expect(one(name, []).status).toBe('insufficient')
  })

  it('runs decline where the frequency of ones does', () => {
    const zeros = one('runs', [new Uint8Array(125)])
    expect(zeros).toMatchObject({ status: 'not_applicable', p_values: [], statistic: null })
    expect(zeros.reason).toContain('given 0.00000 over 1000 bits')
    const counts = { bits: 10_000, transitions: 5000, segments: 1 }
    expect([runsApply({ ...counts, ones: 5199 }), runsApply({ ...counts, ones: 5200 })]).toEqual([true, false])
  })

  it('autocorrelation drops the lags that have under 100 pairs, and says so', () => {
    const segments = Array.from({ length: 20 }, (_, i) => aesStream(`battery-short-${i}`, 2))
    const found = one('autocorrelation', segments)
    expect(found.params.lags).toEqual([1, 2, 3, 4, 8])
    expect(found.p_values).toHaveLength(5)
    expect(found.metrics?.lags_skipped).toEqual([16, 32])
    expect(one('autocorrelation', segments, { lags: [16, 40] })).toMatchObject({ status: 'insufficient', p_values: [] })
  })

  it('serial asks for more bits as m grows', () => {
    expect(one('serial', [new Uint8Array(511)], { m: 9 }).reason).toBe('needs at least 4096 bits, given 4088')
  })
})

describe('entropy', () => {
  it('of an ideal source has its exact expectation', () => {
    expect(expectedPlugInEntropy(1)).toBe(0)
    expect(expectedPlugInEntropy(2)).toBeCloseTo(255 / 256, 12)
    const pair = Math.log2(3) - 2 / 3
    const exact = ((255 * 254) / 65536) * Math.log2(3) + ((3 * 255) / 65536) * pair
    expect(expectedPlugInEntropy(3)).toBeCloseTo(exact, 12)
    for (const [bytes, entropy] of [
      [32, 4.88],
      [256, 7.18],
      [1024, 7.81],
    ]) {
      expect(expectedPlugInEntropy(bytes)).toBeCloseTo(entropy, 1.7)
    }
    expect(8 - expectedPlugInEntropy(5e7)).toBeCloseTo(255 / (2 * 5e7 * Math.LN2), 9)
  })

  it('metrics name the estimator and N', () => {
    const [shannon, common] = runTests(['shannon_entropy', 'most_common_value'], [Uint8Array.of(9, 9, 4, 4)])
    expect(shannon).toMatchObject({ statistic: 1, p_values: [], metrics: { n_bytes: 4, estimator: 'plug-in' } })
    expect(common).toMatchObject({ statistic: 0, metrics: { n_bytes: 4, max_count: 2, mode: 4, p_upper_bound: 1 } })
    expect(common.p_values[0]).toBeCloseTo((256 * (6 * 255 ** 2 + 4 * 255 + 1)) / 256 ** 4, 12)
  })

  it('frequency gives the exact p below 1,000 bits, beside the standard one', () => {
    const bytes = aesStream('battery-exact', 32)
    const short = one('frequency', [bytes])
    expect(short.metrics?.p_exact).toBe(binomialTwoSidedHalf(256, countOnes(bytes)))
    expect(short.p_values).toEqual([frequencyPValue(countOnes(bytes), 256)])
    expect(one('frequency', [aesStream('battery-exact', 125)]).metrics).not.toHaveProperty('p_exact')
  })
})

describe('registry', () => {
  it('names every test once, in one style, with what documentation needs', () => {
    expect(new Set(testNames).size).toBe(TESTS.length)
    expect(suiteTests('sp800-22').map(({ test }) => test.name)).toEqual([
      'frequency',
      'block_frequency',
      'cumulative_sums',
      'runs',
      'longest_run',
      'rank',
      'dft',
      'non_overlapping_template',
      'overlapping_template',
      'universal',
      'approximate_entropy',
      'random_excursions',
      'random_excursions_variant',
      'serial',
      'linear_complexity',
    ])
    for (const test of TESTS) {
      expect(test.name).toMatch(/^[a-z0-9]+(_[a-z0-9]+)*$/)
      for (const line of [test.title, test.formula, test.source]) expect(line).toMatch(/^\S[^\n]*\S$/)
      expect(findTest(test.name)).toBe(test)
    }
  })

  it('results are plain JSON and name their parameters', () => {
    const results = runSuite('chunk', [aesStream('battery-json', 2048)])
    expect(JSON.parse(JSON.stringify(results))).toEqual(results)
    expect(results.map((found) => found.test)).toEqual([
      'frequency',
      'runs',
      'serial',
      'autocorrelation',
      'byte_chi_square',
      'shannon_entropy',
      'most_common_value',
      'repetition_count',
    ])
    expect(results.find((found) => found.test === 'serial')?.params).toEqual({ m: 2 })
  })

  it('refuses unknown tests, unknown parameters and values out of range', () => {
    const bytes = new Uint8Array(100)
    expect(() => runTests(['frequenzy'], [bytes])).toThrow(/"frequenzy"; the tests are frequency, block_frequency/)
    expect(() => runTests([], [bytes], { params: { nothing: {} } })).toThrow(/"nothing"/)
    expect(() => one('serial', [bytes], { n: 2 })).toThrow(/no parameter "n"; its parameters: m/)
    for (const m of [1, 17, 2.5, '2'])
      expect(() => one('serial', [bytes], { m })).toThrow(/m must be an integer from 2 to 16/)
    for (const lags of [[], [0], [1, 1], 3]) expect(() => one('autocorrelation', [bytes], { lags })).toThrow(RangeError)
  })
})
