import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DeviceSeries } from '../../pipeline/trials.ts'
import {
  lagScan,
  MAX_LAG,
  mutualInformation,
  pairDevice,
  type PairDevice,
  spectralCoherence,
} from '../../pipeline/pair-tests.ts'
import type { SampleColumns } from '../../pipeline/samples.ts'
import { bytesBySecond, trialsOfSeconds, xorMatch } from '../../pipeline/xor-match.ts'
import { aesStream } from '../fixtures/streams.ts'

/** Fair trials of 200 bits from a keystream, one device after another. */
function fairDevices(name: string, devices: number, seconds: number): DeviceSeries[] {
  const bytes = aesStream(name, 25 * devices * seconds)
  return Array.from({ length: devices }, (_, i) => {
    const ones = Uint32Array.from({ length: seconds }, (_value, t) => {
      const trial = bytes.subarray(25 * (i * seconds + t), 25 * (i * seconds + t + 1))
      return trial.reduce((sum, byte) => sum + onesOf(byte), 0)
    })
    return { deviceId: `device ${i}`, bits: new Uint32Array(seconds).fill(200), ones }
  })
}

function onesOf(byte: number): number {
  return byte.toString(2).replaceAll('0', '').length
}

const withoutSeconds = (device: DeviceSeries, absent: (t: number) => boolean): DeviceSeries => ({
  ...device,
  bits: device.bits.map((bits, t) => (absent(t) ? 0 : bits)),
})

const [a, b] = fairDevices('pair tests', 2, 3600)

describe('lagScan', () => {
  it('is the largest of the shifted products, by the definition', () => {
    const gappy = withoutSeconds(b, (t) => t % 7 === 3 || t < 100)
    const [x, y] = [pairDevice(a), pairDevice(gappy)]
    const z = new Map<number, number>()
    for (let lag = -MAX_LAG; lag <= MAX_LAG; lag++) {
      let [sum, n] = [0, 0]
      for (let t = 0; t < 3600; t++) {
        if (!(y.present[t + lag] > 0)) continue
        sum += x.z[t] * y.z[t + lag]
        n++
      }
      z.set(lag, sum / Math.sqrt(n))
    }
    const scan = lagScan(x, y)
    if (!('stat' in scan)) throw new Error(scan.reason)
    const [bestLag, bestZ] = [...z].reduce((best, one) => (Math.abs(one[1]) > Math.abs(best[1]) ? one : best))
    expect(scan).toMatchObject({ best_lag: bestLag, n_lags: 41, max_lag: 20 })
    expect(scan.stat).toBeCloseTo(bestZ, 10)
    expect(scan.p_sidak).toBeGreaterThan(0.001)
  })

  it('finds a device that follows the other, and says by how many seconds', () => {
    for (const shift of [-20, -1, 0, 1, 7, 20]) {
      const ones = Uint32Array.from(a.ones, (_, t) => a.ones[t - shift] ?? b.ones[t])
      const scan = lagScan(pairDevice(a), pairDevice({ ...b, ones }))
      expect(scan).toMatchObject({ best_lag: shift })
      expect('p_sidak' in scan && scan.p_sidak).toBeLessThan(1e-100)
    }
  })

  it('turns round with the pair', () => {
    const [there, back] = [lagScan(pairDevice(a), pairDevice(b)), lagScan(pairDevice(b), pairDevice(a))]
    if (!('stat' in there) || !('stat' in back)) throw new Error('not tested')
    expect(back.best_lag).toBe(-there.best_lag)
    expect(back.stat).toBeCloseTo(there.stat, 12)
  })

  it('leaves out lags with fewer than 30 seconds, and says when none is left', () => {
    const early = withoutSeconds(a, (t) => t >= 35)
    expect(lagScan(pairDevice(early), pairDevice(withoutSeconds(b, (t) => t >= 35)))).toMatchObject({ n_lags: 11 })
    const late = withoutSeconds(b, (t) => t < 3000)
    expect(lagScan(pairDevice(early), pairDevice(late))).toMatchObject({ status: 'insufficient' })
  })
})

describe('mutualInformation', () => {
  it('is the G of the table of classes, by the definition', () => {
    const [x, y] = [pairDevice(a), pairDevice(b)]
    const classOf = (z: number) => (z < -0.67 ? 0 : z < 0 ? 1 : z < 0.67 ? 2 : 3)
    const table = Array.from({ length: 4 }, () => [0, 0, 0, 0])
    x.z.forEach((z, t) => table[classOf(z)][classOf(y.z[t])]++)
    const rows = table.map((row) => row.reduce((sum, count) => sum + count))
    const columns = [0, 1, 2, 3].map((j) => table.reduce((sum, row) => sum + row[j], 0))
    const bits = table
      .flatMap((row, i) => row.map((n, j) => (n / 3600) * Math.log2((n * 3600) / (rows[i] * columns[j]))))
      .reduce((sum, value) => sum + value)
    const found = mutualInformation(x, y)
    if (!('p' in found)) throw new Error(found.reason)
    expect(found).toMatchObject({ bins: 4, df: 9 })
    expect(found.bits).toBeCloseTo(bits, 12)
    expect(found.G).toBeCloseTo(2 * 3600 * Math.LN2 * bits, 9)
  })

  it('sees what no correlation sees: equal distances from the mean', () => {
    const mirrored = Uint32Array.from(a.ones, (ones, t) => (b.ones[t] % 2 === 0 ? ones : 200 - ones))
    const found = mutualInformation(pairDevice(a), pairDevice({ ...b, ones: mirrored }))
    expect('p' in found && found.p).toBeLessThan(1e-100)
  })

  it('needs 600 seconds, two classes, and five expected in each', () => {
    const brief = pairDevice(withoutSeconds(b, (t) => t >= 599))
    expect(mutualInformation(pairDevice(a), brief)).toMatchObject({ status: 'insufficient' })
    const constant = pairDevice({ ...b, ones: new Uint32Array(3600).fill(101) })
    expect(mutualInformation(pairDevice(a), constant)).toMatchObject({ status: 'not_applicable' })
    const rare = Uint32Array.from(b.ones, (_, t) => (t < 4 ? 80 : 101))
    expect(mutualInformation(pairDevice(a), pairDevice({ ...b, ones: rare }))).toMatchObject({
      status: 'not_applicable',
    })
    const two = Uint32Array.from(b.ones, (ones) => (ones < 100 ? 80 : 101))
    expect(mutualInformation(pairDevice(a), pairDevice({ ...b, ones: two }))).toMatchObject({ df: 3 })
  })
})

describe('spectralCoherence', () => {
  it('is the largest coherence over the minutes, by the definition', () => {
    const [x, y] = [pairDevice(a), pairDevice(withoutSeconds(b, (t) => t >= 600 && t < 1260))]
    let best = { stat: 0, f: 0 }
    for (let f = 1; f < 30; f++) {
      let [re, im, px, py] = [0, 0, 0, 0]
      for (let minute = 0; minute < 60; minute++) {
        if (minute >= 10 && minute < 21) continue
        const [u, v] = [x, y].map((device) => transform(device, minute, f))
        re += u[0] * v[0] + u[1] * v[1]
        im += u[1] * v[0] - u[0] * v[1]
        px += u[0] ** 2 + u[1] ** 2
        py += v[0] ** 2 + v[1] ** 2
      }
      const stat = (re * re + im * im) / (px * py)
      if (stat > best.stat) best = { stat, f }
    }
    const found = spectralCoherence(x, y)
    if (!('stat' in found)) throw new Error(found.reason)
    expect(found).toMatchObject({ segments: 49, n_freqs: 29, freq_hz: best.f / 60 })
    expect(found.stat).toBeCloseTo(best.stat, 10)
    expect(found.p_sidak).toBeCloseTo(1 - (1 - (1 - best.stat) ** 48) ** 29, 9)
  })

  it('finds a rhythm that two devices share, whatever their phases', () => {
    const beat = (device: DeviceSeries, phase: number): DeviceSeries => ({
      ...device,
      ones: device.ones.map((ones, t) => ones + Math.round(4 * Math.sin((2 * Math.PI * 7 * t) / 60 + phase))),
    })
    const found = spectralCoherence(pairDevice(beat(a, 0)), pairDevice(beat(b, 1.5)))
    expect(found).toMatchObject({ freq_hz: 7 / 60 })
    expect('p_sidak' in found && found.p_sidak).toBeLessThan(1e-6)
  })

  it('needs eight minutes without a gap in common, and devices that vary', () => {
    const gappy = (minutes: number) => pairDevice(withoutSeconds(b, (t) => t % 60 === 59 && t >= 60 * minutes))
    expect(spectralCoherence(pairDevice(a), gappy(7))).toMatchObject({ status: 'insufficient' })
    expect(spectralCoherence(pairDevice(a), gappy(8))).toMatchObject({ segments: 8 })
    const constant = pairDevice({ ...b, ones: new Uint32Array(3600).fill(101) })
    expect(spectralCoherence(pairDevice(a), constant)).toMatchObject({ status: 'not_applicable' })
  })
})

function transform({ z }: PairDevice, minute: number, f: number): [number, number] {
  let [re, im] = [0, 0]
  for (let t = 0; t < 60; t++) {
    re += z[60 * minute + t] * Math.cos((2 * Math.PI * f * t) / 60)
    im -= z[60 * minute + t] * Math.sin((2 * Math.PI * f * t) / 60)
  }
  return [re, im]
}

/** One device's samples: payload and second of each, of profile 0 if not said. */
function samplesOf(
  rows: readonly { second: number; bytes: Uint8Array; profile?: number; repeats?: boolean }[],
): SampleColumns {
  let at = 0
  let sequence = 0n
  return {
    rows: rows.length,
    id: new Uint8Array(16 * rows.length),
    deviceId: new Uint8Array(16 * rows.length),
    profileId: Uint8Array.from({ length: 16 * rows.length }, (_, i) => rows[Math.floor(i / 16)].profile ?? 0),
    timestamp: BigInt64Array.from(rows, ({ second }) => BigInt(second) * 1_000_000n + 400_000n),
    sequence: BigInt64Array.from(rows, ({ repeats }) => (repeats ? sequence : ++sequence)),
    byteLength: Int32Array.from(rows, ({ bytes }) => bytes.length),
    dataOffsets: Int32Array.from([0, ...rows.map(({ bytes }) => (at += bytes.length))]),
    data: new Uint8Array(Buffer.concat(rows.map(({ bytes }) => bytes))),
  }
}

describe('bytesBySecond', () => {
  const bytes = (length: number, fill: number) => new Uint8Array(length).fill(fill)

  it('puts the payloads of a second together, without duplicates and what is outside', () => {
    const samples = samplesOf([
      { second: 9, bytes: bytes(3, 9) },
      { second: 10, bytes: bytes(2, 1) },
      { second: 10, bytes: bytes(2, 2) },
      { second: 10, bytes: bytes(2, 2), repeats: true },
      { second: 12, bytes: bytes(30, 0x55) },
      { second: 14, bytes: bytes(1, 5) },
    ])
    const seconds = bytesBySecond('device', samples, 10, 4)
    expect([...seconds.offsets]).toEqual([0, 4, 4, 34, 34])
    expect([...seconds.data.subarray(0, 5)]).toEqual([1, 1, 2, 2, 0x55])
    expect(trialsOfSeconds(seconds, 'all_bits')).toEqual({
      deviceId: 'device',
      bits: Uint32Array.of(32, 0, 240, 0),
      ones: Uint32Array.of(4, 0, 120, 0),
    })
    expect(trialsOfSeconds(seconds, 'gcp200').bits).toEqual(Uint32Array.of(0, 0, 200, 0))
    expect(trialsOfSeconds(seconds, 'gcp200').ones).toEqual(Uint32Array.of(0, 0, 100, 0))
  })

  it('has no 200-bit trial where samples are of several profiles', () => {
    const mixed = samplesOf([
      { second: 0, bytes: bytes(25, 3) },
      { second: 0, bytes: bytes(25, 3), profile: 1 },
      { second: 1, bytes: bytes(25, 3), profile: 1 },
    ])
    const seconds = bytesBySecond('device', mixed, 0, 2)
    expect(trialsOfSeconds(seconds, 'gcp200').bits).toEqual(Uint32Array.of(0, 200))
    expect(trialsOfSeconds(seconds, 'all_bits').bits).toEqual(Uint32Array.of(400, 200))
  })

  it('knows a failed sensor', () => {
    const rows = [0, 0xff, 0xaa].map((fill, second) => ({ second, bytes: bytes(8, fill) }))
    expect([...bytesBySecond('device', samplesOf(rows), 0, 3).failed]).toEqual([1, 1, 0])
  })
})

describe('xorMatch', () => {
  const payload = fc.uint8Array({ minLength: 0, maxLength: 12 })

  it('counts bit by bit what two devices sent in the same places of the same seconds', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(payload, payload), { minLength: 30, maxLength: 40 }), (seconds) => {
        const [x, y] = [0, 1].map((side) =>
          bytesBySecond(
            `device ${side}`,
            samplesOf(
              seconds.flatMap((pair, second) => (pair[side].length > 0 ? [{ second, bytes: pair[side] }] : [])),
            ),
            0,
            seconds.length,
          ),
        )
        let [n, matches, counted] = [0, 0, 0]
        for (const [left, right] of seconds) {
          const length = Math.min(left.length, right.length)
          const failed = [left, right].some(
            (data) => data.length >= 8 && new Set(data).size === 1 && [0, 255].includes(data[0]),
          )
          if (length === 0 || failed) continue
          counted++
          for (let i = 0; i < 8 * length; i++) {
            const bit = (data: Uint8Array) => (data[i >> 3] >> (7 - (i & 7))) & 1
            n++
            if (bit(left) === bit(right)) matches++
          }
        }
        const stat = (2 * matches - n) / Math.sqrt(n)
        expect(xorMatch(x, y)).toMatchObject(counted < 30 ? { status: 'insufficient' } : { n_bits: n, matches, stat })
      }),
    )
  })

  it('does not take shared bias for agreement when centred', () => {
    const biased = (name: string) => {
      const stream = aesStream(name, 2 * 25 * 600)
      const rows = Array.from({ length: 600 }, (_, second) => {
        const at = 50 * second
        // Each bit is 1 with probability 3/4.
        return { second, bytes: Uint8Array.from({ length: 25 }, (_value, i) => stream[at + i] | stream[at + 25 + i]) }
      })
      return bytesBySecond(name, samplesOf(rows), 0, 600)
    }
    const found = xorMatch(biased('one biased device'), biased('another biased device'))
    if (!('p' in found)) throw new Error(found.reason)
    expect(found.p).toBeLessThan(1e-100)
    expect(found.expected_match).toBeCloseTo(0.625, 2)
    expect(found.centred_p).toBeGreaterThan(0.001)
  })
})
