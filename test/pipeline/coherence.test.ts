import { describe, expect, it } from 'vitest'
import { coherencePairs, pairCoherence, pairName, SCREEN_Q } from '../../pipeline/coherence.ts'
import { benjaminiHochberg } from '../../pipeline/multiple-testing.ts'
import { networkStats, networkSums, networkTests, type Tested } from '../../pipeline/network.ts'
import { type DeviceSeries, sortedDeviceIds } from '../../pipeline/trials.ts'

/** Uniform 32-bit words, Marsaglia's xorshift128 (2003). */
function xorshift(seed: number): () => number {
  let [x, y, z, w] = [seed ^ 123456789, 362436069, 521288629, 88675123]
  const next = () => {
    const t = x ^ (x << 11)
    ;[x, y, z] = [y, z, w]
    w = w ^ (w >>> 19) ^ t ^ (t >>> 8)
    return w >>> 0
  }
  for (let i = 0; i < 20; i++) next()
  return next
}

function onesIn(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555)
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333)
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

/** Devices of fair trials, binomial(200, 1/2). */
function fairDevices(next: () => number, devices: number, seconds: number): DeviceSeries[] {
  return Array.from({ length: devices }, (_, i) => {
    const ones = new Uint32Array(seconds)
    for (let t = 0; t < seconds; t++) {
      for (let word = 0; word < 6; word++) ones[t] += onesIn(next())
      ones[t] += onesIn(next() & 0xff)
    }
    return { deviceId: `device-${String(i).padStart(2, '0')}`, bits: new Uint32Array(seconds).fill(200), ones }
  })
}

const silence = (device: DeviceSeries, from: number, to: number): DeviceSeries => ({
  ...device,
  bits: device.bits.slice().fill(0, from, to),
  ones: device.ones.slice().fill(0, from, to),
})

/** The numbers of a test that must have come off. */
function expectOk<Numbers>(tested: Tested<Numbers>): Numbers {
  if (tested.status !== 'ok') throw new Error(tested.reason)
  return tested
}

function pearsonP(a: DeviceSeries, b: DeviceSeries): number {
  const { pearson } = pairCoherence(a, b).tests
  if (!pearson || !('p' in pearson)) throw new Error('no correlation was tested')
  return pearson.p
}

/** The device with every trial's ones changed. */
const withOnes = (device: DeviceSeries, change: (ones: number) => number): DeviceSeries => ({
  ...device,
  ones: Uint32Array.from(device.ones, change),
})

/** A device that sends one bit a second. */
function bitDevice(deviceId: string, seed: number): DeviceSeries {
  const next = xorshift(seed)
  return { deviceId, bits: new Uint32Array(60).fill(1), ones: Uint32Array.from({ length: 60 }, () => next() & 1) }
}

const scoreAt = (device: DeviceSeries, t: number) => (2 * device.ones[t] - 200) / Math.sqrt(200)

describe('networkStats', () => {
  const hour = fairDevices(xorshift(3), 5, 3600)

  it('equals the sums over all pairs and seconds taken one by one', () => {
    const series = [silence(hour[0], 0, 700), silence(hour[1], 500, 900), hour[2]].map((device) => ({
      ...device,
      bits: device.bits.slice(0, 1000),
      ones: device.ones.slice(0, 1000),
    }))
    const sums = networkSums(series, 5000)
    const expected = { n: 0, pairs: 0, c: 0, s2: 0, z2: 0, w: 0, most: 0, at: 0 }
    for (let t = 0; t < 1000; t++) {
      const z = series.filter(({ bits }) => bits[t] > 0).map(({ ones }) => (2 * ones[t] - 200) / Math.sqrt(200))
      const w = z.map((value) => (value * value - 1) / Math.sqrt(2 - 2 / 200))
      const stouffer = z.reduce((sum, value) => sum + value, 0) / Math.sqrt(z.length)
      expected.n += z.length
      expected.s2 += stouffer ** 2
      expected.z2 += z.reduce((sum, value) => sum + value * value, 0)
      for (let i = 0; i < z.length; i++) {
        for (let j = 0; j < i; j++) {
          expected.pairs++
          expected.c += z[i] * z[j]
          expected.w += w[i] * w[j]
        }
      }
      if (Math.abs(stouffer) <= expected.most) continue
      expected.most = Math.abs(stouffer)
      expected.at = 5000 + t
    }
    expect(sums).toMatchObject({ devices: 3, seconds: 1000, pair_seconds: 800, min_devices: 1, max_devices: 3 })
    expect(sums).toMatchObject({ missing: 1100, sum_n: expected.n, sum_pairs: expected.pairs })
    expect(sums.sum_w_pairs).toBe(expected.pairs)
    expect(sums.sum_c).toBeCloseTo(expected.c, 8)
    expect(sums.sum_s2).toBeCloseTo(expected.s2, 8)
    expect(sums.sum_z2).toBeCloseTo(expected.z2, 8)
    expect(sums.sum_w).toBeCloseTo(expected.w, 8)
    expect(sums.sum_z2_variance).toBeCloseTo(expected.n * 1.99, 8)
    expect(sums.max_abs_stouffer).toBeCloseTo(expected.most, 12)
    expect(sums.max_abs_stouffer_at).toBe(expected.at)
  })

  it('has sums of minutes that are the sums of their hour', () => {
    const whole = networkSums(hour, 0)
    const totals: Record<string, number> = {}
    for (let start = 0; start < 3600; start += 60) {
      const minute = hour.map((device) => ({
        ...device,
        bits: device.bits.slice(start, start + 60),
        ones: device.ones.slice(start, start + 60),
      }))
      for (const [key, value] of Object.entries(networkSums(minute, start))) totals[key] = (totals[key] ?? 0) + value
    }
    const additive = ['seconds', 'pair_seconds', 'sum_n', 'sum_pairs', 'sum_s2', 'sum_c', 'sum_z2', 'sum_w'] as const
    for (const key of additive) expect(totals[key]).toBeCloseTo(whole[key], 7)
    const rolledUp = networkTests({ ...whole, ...Object.fromEntries(additive.map((key) => [key, totals[key]])) })
    expect(expectOk(rolledUp.pair).z).toBeCloseTo(expectOk(networkTests(whole).pair).z, 9)
  })

  it('counts a device that never reported nowhere, and has no P-value below 30 seconds or two devices', () => {
    const absent = silence(hour[0], 0, 3600)
    expect(networkSums([absent, hour[1]], 0)).toEqual(networkSums([hour[1]], 0))
    const alone = networkStats([hour[1]], 0)
    expect([alone.netvar.status, alone.pair.status, alone.covar.status]).toEqual(['ok', 'insufficient', 'insufficient'])
    const brief = [silence(hour[0], 29, 3600), silence(hour[1], 29, 3600)]
    const { netvar, pair, devvar, covar } = networkStats(brief, 0)
    for (const test of [netvar, pair, devvar, covar]) {
      expect(test).toEqual({ status: 'insufficient', reason: expect.stringMatching(/30 seconds/) })
    }
    const enough = [silence(hour[0], 30, 3600), silence(hour[1], 30, 3600)]
    expect(networkStats(enough, 0)).toMatchObject({ netvar: { status: 'ok', df: 30 }, pair: { status: 'ok' } })
    expect(networkStats([], 0)).toMatchObject({ devices: 0, seconds: 0, max_abs_stouffer: null })
  })

  it('keeps trials of one bit out of the covariance of squares', () => {
    const stats = networkStats([bitDevice('a', 7), bitDevice('b', 8)], 0)
    expect(stats.pair.status).toBe('ok')
    expect([stats.devvar.status, stats.covar.status]).toEqual(['insufficient', 'insufficient'])
  })

  it('is the same JSON for any order of the devices', () => {
    const json = JSON.stringify(networkStats(hour, 0))
    expect(JSON.stringify(networkStats(hour.toReversed(), 0))).toBe(json)
    expect(JSON.stringify(networkStats([hour[3], hour[0], hour[4], hour[2], hour[1]], 0))).toBe(json)
    expect(sortedDeviceIds(hour.toReversed())).toEqual(hour.map(({ deviceId }) => deviceId))
  })

  it('refuses a device that is there twice, and series of unequal lengths', () => {
    expect(() => networkStats([hour[0], hour[0]], 0)).toThrow(/two series/)
    const short = { ...hour[1], bits: new Uint32Array(10), ones: new Uint32Array(10) }
    expect(() => networkStats([hour[0], short], 0)).toThrow(/not as long/)
  })
})

describe('pairCoherence', () => {
  const [a, b] = fairDevices(xorshift(4), 2, 600)

  it('takes its sums over the seconds both reported', () => {
    const [x, y] = [silence(a, 0, 100), silence(b, 400, 600)]
    const { correlation_metrics: metrics, tests } = pairCoherence(x, y)
    const seconds = Array.from({ length: 300 }, (_, i) => 100 + i)
    const total = (term: (t: number) => number) => seconds.reduce((sum, t) => sum + term(t), 0)
    expect(metrics).toMatchObject({ n_seconds: 300, overlap_fraction: 0.5 })
    expect(metrics.sum_x).toBeCloseTo(
      total((t) => scoreAt(a, t)),
      9,
    )
    expect(metrics.sum_y2).toBeCloseTo(
      total((t) => scoreAt(b, t) ** 2),
      9,
    )
    expect(metrics.product_z).toBeCloseTo(total((t) => scoreAt(a, t) * scoreAt(b, t)) / Math.sqrt(300), 9)
    const [mx, my] = [metrics.sum_x / 300, metrics.sum_y / 300]
    const centred = total((t) => (scoreAt(a, t) - mx) * (scoreAt(b, t) - my))
    const r = centred / Math.sqrt(total((t) => (scoreAt(a, t) - mx) ** 2) * total((t) => (scoreAt(b, t) - my) ** 2))
    expect(metrics.pearson_r).toBeCloseTo(r, 10)
    expect(tests.pearson).toMatchObject({ df: 298 })
    expect(tests).toMatchObject({ status: 'ok', normalization: 'theoretical', method_version: expect.any(String) })
  })

  it('needs 30 seconds in common', () => {
    const metricsAndTests = pairCoherence(a, silence(b, 29, 600))
    expect(metricsAndTests.tests).toMatchObject({ status: 'insufficient', reason: expect.stringMatching(/29 found/) })
    expect(metricsAndTests.tests).not.toHaveProperty('product')
    expect(metricsAndTests.correlation_metrics).toMatchObject({ n_seconds: 29, pearson_r: null, product_z: null })
    expect(pairCoherence(a, silence(b, 30, 600)).tests.status).toBe('ok')
  })

  it('does not test the correlation of a device that did not vary, however large its constant z', () => {
    for (const constant of [1, 37, 100, 199]) {
      const stuck = { ...b, ones: new Uint32Array(600).fill(constant) }
      const { tests, correlation_metrics: metrics } = pairCoherence(a, stuck)
      expect(tests.pearson).toEqual({ status: 'not_applicable', reason: expect.any(String) })
      expect(metrics.pearson_r).toBeNull()
      expect(tests.product).toBeDefined()
    }
    // One second out of 600 a single bit off is variance enough.
    const almost = { ...b, ones: new Uint32Array(600).fill(199).fill(198, 5, 6) }
    expect(pairCoherence(a, almost).tests.pearson).toMatchObject({ df: 598 })
  })

  it('leaves out trials whose bits are all equal: a failed sensor, not chance', () => {
    for (const constant of [0, 200]) {
      const failed = { ...b, ones: b.ones.slice().fill(constant, 10, 600) }
      expect(pairCoherence(a, failed).tests).toMatchObject({ status: 'insufficient' })
      expect(pairCoherence(a, failed).correlation_metrics.n_seconds).toBe(10)
    }
  })

  it('has r = 1 and -1 and the limit p = 0 for equal and opposite devices', () => {
    const twin = pairCoherence(a, { ...a, deviceId: 'twin' })
    expect(twin.correlation_metrics.pearson_r).toBe(1)
    expect(twin.tests.pearson).toEqual({ stat: null, df: 598, p: 0 })
    const opposite = pairCoherence(a, { ...withOnes(a, (k) => 200 - k), deviceId: 'opposite' })
    expect(opposite.correlation_metrics.pearson_r).toBe(-1)
    expect(opposite.tests.pearson).toEqual({ stat: null, df: 598, p: 0 })
  })

  it('sees a shared bias in the product and not in the correlation', () => {
    const [x, y] = [a, b].map((device) => withOnes(device, (k) => k + 8))
    expect(pairCoherence(a, b).tests.product?.p).toBeGreaterThan(0.001)
    expect(pairCoherence(x, y).tests.product?.p).toBeLessThan(1e-12)
    expect(pearsonP(x, y)).toBeCloseTo(pearsonP(a, b), 8)
  })

  it('is the same whichever device comes first', () => {
    expect(JSON.stringify(pairCoherence(b, a))).toBe(JSON.stringify(pairCoherence(a, b)))
    expect(pairCoherence(b, a)).toMatchObject({ device_a_id: 'device-00', device_b_id: 'device-01' })
  })
})

describe('coherencePairs', () => {
  it('has every pair once, in order, with q-values among the pairs that were tested', () => {
    const devices = fairDevices(xorshift(5), 6, 120)
    devices[2] = silence(devices[2], 20, 120)
    devices[4] = { ...devices[4], ones: new Uint32Array(120).fill(100) }
    const { pairs, tested } = coherencePairs(devices)
    expect(tested).toBe(10)
    const names = pairs.map(({ device_a_id, device_b_id }) => `${device_a_id} ${device_b_id}`)
    expect(names).toHaveLength(15)
    expect(names).toEqual(names.toSorted())
    const products = pairs.flatMap(({ tests }) => tests.product ?? [])
    const correlations = pairs.flatMap(({ tests }) => (tests.pearson && 'p' in tests.pearson ? tests.pearson : []))
    expect(products).toHaveLength(10)
    expect(correlations).toHaveLength(6)
    expect(products.map(({ q_value }) => q_value)).toEqual(benjaminiHochberg(products.map(({ p }) => p)))
    expect(correlations.map(({ q_value }) => q_value)).toEqual(benjaminiHochberg(correlations.map(({ p }) => p)))
    expect(products.every(({ n_tests }) => n_tests === 10)).toBe(true)
    expect(correlations.every(({ n_tests }) => n_tests === 6)).toBe(true)
    expect(pairs.find(({ device_b_id }) => device_b_id === 'device-02')?.tests.status).toBe('insufficient')
  })

  it('is the same JSON for any order of the devices', () => {
    const devices = fairDevices(xorshift(6), 8, 200)
    expect(JSON.stringify(coherencePairs(devices.toReversed()))).toBe(JSON.stringify(coherencePairs(devices)))
  })

  it('behind the screen has the pairs that pass, and those that are watched, with q-values among all', () => {
    const devices = fairDevices(xorshift(9), 20, 700)
    // Two that share most of their bits.
    devices[13] = { ...devices[13], ones: devices[4].ones.map((ones, t) => (t % 3 === 0 ? devices[13].ones[t] : ones)) }
    const all = coherencePairs(devices)
    const watched = new Set([pairName('device-17', 'device-02')])
    const screened = coherencePairs(devices, { mostDevices: 19, watched })
    const names = screened.pairs.map((pair) => pairName(pair.device_a_id, pair.device_b_id))
    expect(names).toEqual(['device-02 device-17', 'device-04 device-13'])
    expect([all.tested, screened.tested]).toEqual([190, 190])
    expect(coherencePairs(devices, { mostDevices: 20 })).toEqual(all)
    for (const row of screened.pairs) {
      const same = all.pairs.find(
        (pair) => pair.device_a_id === row.device_a_id && pair.device_b_id === row.device_b_id,
      )
      expect(row.correlation_metrics).toEqual(same?.correlation_metrics)
      expect([row.tests.product, row.tests.pearson]).toEqual([same?.tests.product, same?.tests.pearson])
      for (const kind of ['lag_scan', 'mutual_info', 'msc'] as const) {
        const [some, full] = [row.tests[kind], same?.tests[kind]]
        if (!some || !full || !('n_tests' in some) || !('n_tests' in full)) continue
        // Those that were not computed count as P = 1, so that selection cannot make a q-value better.
        expect(some.n_tests).toBe(190)
        expect(some.q_value).toBeGreaterThanOrEqual(full.q_value!)
      }
    }
    const passing = all.pairs.filter(({ tests }) => tests.product!.q_value! <= SCREEN_Q)
    expect(passing).toHaveLength(1)
  })
})
