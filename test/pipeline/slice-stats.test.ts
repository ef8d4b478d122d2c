import { describe, expect, it } from 'vitest'
import { uuidBytes } from '../../pipeline/samples.ts'
import { segmentByDevice } from '../../pipeline/segments.ts'
import { SLICE_METHOD_VERSION, sliceStats } from '../../pipeline/slice-stats.ts'
import { decodePartial, encodePartial } from '../../pipeline/slice-codec.ts'
import { emptyPartial, mergePartials, slicePartials } from '../../pipeline/slice.ts'
import { runTests } from '../../pipeline/tests/registry.ts'
import { aesStream, mt19937Stream } from '../fixtures/streams.ts'
import { columnsOf } from './samples-arbitrary.ts'

const DEVICE = '00000000-0000-4000-8000-00000000000a'
const START = 1_763_668_800

/** `bytes` in samples of `size` bytes, one a second; a sequence number is missing before every `gapEvery`-th sample. */
function chunkOf(bytes: Uint8Array, size: number, gapEvery = Infinity) {
  const rows = Array.from({ length: Math.ceil(bytes.length / size) }, (_, t) => {
    const data = bytes.subarray(size * t, size * (t + 1))
    const ids = { id: new Uint8Array(16), deviceId: uuidBytes(DEVICE), profileId: new Uint8Array(16) }
    const sequence = BigInt(t + (gapEvery === Infinity ? 0 : Math.floor(t / gapEvery)))
    return { ...ids, timestamp: BigInt(START + t) * 1_000_000n, sequence, byteLength: data.length, data }
  })
  return columnsOf(rows)
}

function hourOf(bytes: Uint8Array, size: number, gapEvery?: number) {
  return mergePartials(slicePartials(chunkOf(bytes, size, gapEvery)), START, START + 3600)
}

describe('sliceStats', () => {
  it('gives for one contiguous stream what NIST STS, ent and the SP 800-90B tool give', () => {
    const stats = sliceStats(hourOf(mt19937Stream(5489, 125_000), 250))
    expect(stats).toMatchObject({ sample_count: 500, byte_count: 125_000 })
    expect(stats.extra.frequency.p_value).toBeCloseTo(0.3810300337775978, 12)
    expect(stats.runs_test.p_value).toBeCloseTo(0.9165603339312959, 12)
    expect(stats.entropy_estimate).toBeCloseTo(7.998493307634336, 12)
    expect(stats.uniformity_chi_square).toMatchObject({ status: 'ok', df: 255, n: 125_000 })
    expect(stats.uniformity_chi_square.statistic).toBeCloseTo(260.45184, 9)
    expect(stats.uniformity_chi_square.p_value).toBeCloseTo(0.39389324555474575, 11)
    expect(stats.extra.entropy.min_entropy_mcv).toBeCloseTo(7.680746, 6)
    expect(stats.extra).toMatchObject({ method_version: SLICE_METHOD_VERSION, bit_order: 'msb', seconds_covered: 500 })
  })

  it.each([Infinity, 7, 1])('agrees with the tests on the raw bytes, a gap before every %d samples', (gapEvery) => {
    const chunk = chunkOf(aesStream('slice stats', 9000), 10, gapEvery)
    const raw = runTests(
      ['runs', 'autocorrelation', 'frequency', 'byte_chi_square'],
      segmentByDevice(chunk)[0].segments.map(({ bytes }) => bytes),
    )
    const [runs, autocorrelation, frequency, chiSquare] = raw
    const stats = sliceStats(mergePartials(slicePartials(chunk), START, START + 3600))
    expect(raw.map(({ status }) => status)).toEqual(['ok', 'ok', 'ok', 'ok'])
    expect(stats.runs_test).toMatchObject({ statistic: runs.statistic, p_value: runs.p_values[0], n: 72_000 })
    expect(stats.autocorrelation).toMatchObject({ p_values: autocorrelation.p_values, z: autocorrelation.metrics?.z })
    expect(stats.extra.frequency.p_value).toBeCloseTo(frequency.p_values[0], 13)
    expect(stats.uniformity_chi_square.p_value).toBeCloseTo(chiSquare.p_values[0], 13)
    expect(stats.extra.gaps).toBe(gapEvery === Infinity ? 0 : Math.ceil(900 / gapEvery) - 1)
  })

  it('has null-calibrated runs P-values in minutes that only continue a segment, and with gaps everywhere', () => {
    for (const gapEvery of [Infinity, 1]) {
      let rejected = 0
      for (let hour = 0; hour < 50; hour++) {
        const chunk = chunkOf(aesStream(`runs null ${hour}`, 7200), 2, gapEvery)
        for (const minute of slicePartials(chunk)) if ((sliceStats(minute).runs_test.p_value ?? 0) < 0.01) rejected++
      }
      // 3,000 minutes: the 99.9 % binomial interval around 30 (a few fail the frequency prerequisite and count as rejected
      // here; they are as rare as 6e-5).
      expect(rejected).toBeGreaterThanOrEqual(14)
      expect(rejected).toBeLessThanOrEqual(50)
    }
  })

  it('has no P-value where there are too few data', () => {
    const stats = sliceStats(hourOf(aesStream('few', 12), 4))
    for (const test of [stats.uniformity_chi_square, stats.runs_test, stats.autocorrelation, stats.extra.frequency]) {
      expect(test.status).toBe('insufficient')
      expect(test.reason).toMatch(/needed/)
      expect(test).not.toHaveProperty('p_value')
      expect(test).not.toHaveProperty('p_values')
    }
    expect(sliceStats(hourOf(aesStream('few', 13), 4)).runs_test.status).toBe('ok')
    expect(sliceStats(hourOf(aesStream('few', 1279), 32)).uniformity_chi_square.status).toBe('insufficient')
    expect(sliceStats(hourOf(aesStream('few', 1280), 32)).uniformity_chi_square.status).toBe('ok')
  })

  it('tests the lags that have pairs enough and leaves the others null', () => {
    const { autocorrelation } = sliceStats(hourOf(aesStream('single bytes', 200), 1, 1))
    expect(autocorrelation.pairs).toEqual([1400, 1200, 1000, 800, 0, 0, 0])
    expect(autocorrelation.z?.map((z) => z === null)).toEqual([false, false, false, false, true, true, true])
    expect(autocorrelation.p_values?.slice(4)).toEqual([null, null, null])
  })

  it('declines the runs test of biased bits and shows the bias elsewhere', () => {
    const stats = sliceStats(
      hourOf(
        aesStream('biased', 4000).map((byte, i) => byte | (i % 3 === 0 ? 0x0f : 0)),
        100,
      ),
    )
    expect(stats.runs_test).toMatchObject({ status: 'not_applicable', n: 32_000 })
    expect(stats.runs_test).not.toHaveProperty('p_value')
    expect(stats.extra.frequency.p_value).toBeLessThan(1e-9)
    expect(stats.uniformity_chi_square.p_value).toBeLessThan(1e-9)
  })

  it('finds a stuck device without an entropy of any kind, and nothing in an empty one', () => {
    const stuck = sliceStats(hourOf(new Uint8Array(2000), 100))
    expect(stuck.entropy_estimate).toBe(0)
    expect(stuck.extra.entropy).toEqual({
      estimator: 'plug-in',
      n_bytes: 2000,
      min_entropy_mcv: 0,
      max_count: 2000,
    })
    const empty = sliceStats(emptyPartial(DEVICE, START))
    expect(empty).toMatchObject({ entropy_estimate: null, byte_count: 0 })
    expect(empty.extra.entropy.min_entropy_mcv).toBeNull()
    expect(JSON.stringify(empty)).not.toMatch(/p_value/)
  })

  it('is the same JSON when recomputed from stored partials in another order', () => {
    const partials = slicePartials(chunkOf(aesStream('again', 32 * 3600), 32))
    const stored = partials.map((slice) => ({ ...slice, encoded: encodePartial(slice) }))
    const again = stored
      .toReversed()
      .map(({ encoded, deviceId, sliceStart }) => decodePartial(encoded, deviceId, sliceStart))
    const json = JSON.stringify(sliceStats(mergePartials(partials, START, START + 3600)))
    expect(JSON.stringify(sliceStats(mergePartials(again, START, START + 3600)))).toBe(json)
    expect(JSON.stringify(sliceStats(partials[0])).length).toBeLessThan(1100)
  })
})
