import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { networkSums } from '../../pipeline/network.ts'
import { plainStepSummer, simdStepSummer, type StepSummer } from '../../pipeline/step-sums.ts'
import { type DeviceSeries, hasTrials } from '../../pipeline/trials.ts'
import { mt19937Stream } from '../fixtures/streams.ts'
import { addNetworkSums, networkBuckets, trialSeries } from '../../pipeline/network-buckets.ts'
import { secondSums } from '../../pipeline/second-sums.ts'
import { emptyPartial } from '../../pipeline/slice.ts'

const SECONDS = 180

/** Up to six devices over three minutes, with seconds missing and devices that come late. */
const networks = fc
  .array(
    fc.array(
      fc.oneof(
        fc.constant([0, 0]),
        fc.integer({ min: 1, max: 300 }).chain((bits) => fc.nat(bits).map((ones) => [bits, ones])),
        fc.integer({ min: 60, max: 300 }).chain((bits) => fc.constantFrom([bits, 0], [bits, bits])),
      ),
      { minLength: SECONDS, maxLength: SECONDS },
    ),
    { minLength: 1, maxLength: 6 },
  )
  .map((devices) =>
    devices.map((trials, n): DeviceSeries => {
      const bits = Uint32Array.from(trials, ([count], t) => (t < 60 * (n % 3) ? 0 : count))
      return {
        deviceId: `device ${n}`,
        bits,
        ones: Uint32Array.from(trials, ([, ones], t) => (bits[t] > 0 ? ones : 0)),
      }
    }),
  )

describe('networkBuckets', () => {
  it('adds minutes to their hour digit for digit, whatever order the devices come in', () => {
    fc.assert(
      fc.property(networks, (series) => {
        const { minutes, whole } = networkBuckets(series, 600)
        expect(networkBuckets(series.toReversed(), 600)).toEqual({ minutes, whole })
        expect(whole === null).toBe(series.every(({ bits }) => bits.every((count) => count === 0)))
        if (!whole) return
        const { devices, missing, ...sums } = whole.sums
        const { devices: _most, missing: _less, ...added } = addNetworkSums(minutes.map((minute) => minute.sums))
        expect(sums).toEqual(added)
        const reporting = series.filter(hasTrials)
        expect(devices).toBe(reporting.length)
        expect(whole.deviceIds).toEqual(reporting.map(({ deviceId }) => deviceId))
        expect(missing).toBe(reporting.flatMap(({ bits }) => [...bits].filter((count) => count === 0)).length)
        const isFailure = (bits: number, ones: number) => bits >= 64 && (ones === 0 || ones === bits)
        const all = series.flatMap(({ bits, ones }) => [...bits].filter((count, t) => isFailure(count, ones[t])))
        expect(sums.failed).toBe(all.length)
        const trials = series.flatMap(({ bits, ones }) =>
          [...bits].filter((count, t) => count > 0 && !isFailure(count, ones[t])),
        )
        expect(sums.sum_n).toBe(trials.length)
      }),
      { numRuns: 60 },
    )
  })

  it('gives what one pass over the seconds gives, to rounding, and the identity S^2 - 1 = 2 C / N + mean z^2 - 1', () => {
    fc.assert(
      fc.property(networks, (series) => {
        const { whole } = networkBuckets(series, 0)
        const once = networkSums(series, 0)
        for (const [name, value] of Object.entries(whole?.sums ?? once)) {
          const other = once[name as keyof typeof once]
          expect(Math.abs((value ?? 0) - (other ?? 0)), name).toBeLessThan(1e-9 * (1 + Math.abs(value ?? 0)))
        }
        // Of a second that all devices reported in, the sums are those of the identity.
        for (let t = 0; t < SECONDS; t++) {
          const second = series.map(({ deviceId, bits, ones }) => {
            return { deviceId, bits: bits.subarray(t, t + 1), ones: ones.subarray(t, t + 1) }
          })
          const { sum_n: n, sum_s2, sum_c, sum_z2 } = networkSums(second, t)
          const right = n === 0 ? 0 : (2 * sum_c) / n + sum_z2 / n
          expect(Math.abs(sum_s2 - right)).toBeLessThan(1e-9 * (1 + sum_s2))
        }
      }),
      { numRuns: 20 },
    )
  })

  it('of nobody is nothing', () => {
    expect(networkBuckets([], 0)).toEqual({ minutes: [], whole: null })
    expect(() => addNetworkSums([])).toThrow(RangeError)
  })
})

describe('secondSums', () => {
  it('are the same to the last digit with and without WebAssembly, whatever the sizes and gaps', () => {
    const simd = (size: number) => {
      const summer = simdStepSummer(size)
      if (!summer) throw new Error('this host has no WebAssembly with SIMD')
      return summer
    }
    const sizes = fc.constantFrom(1, 63, 64, 200, 1024)
    const device = fc.tuple(sizes, fc.constantFrom(0, 0, 0.02, 0.9), fc.nat(1e9))
    fc.assert(
      fc.property(
        fc.array(device, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 2100 }),
        (devices, length) => {
          const series = devices.map(([size, absent, seed], i): DeviceSeries => {
            const stream = mt19937Stream(seed, 8 * length)
            const words = new Uint32Array(stream.buffer)
            const bits = Uint32Array.from({ length }, (_, t) => (words[2 * t] / 2 ** 32 < absent ? 0 : size))
            return {
              deviceId: `device ${i}`,
              bits,
              ones: bits.map((n, t) => Math.floor((words[2 * t + 1] / 2 ** 32) * (n + 1))),
            }
          })
          expect(secondSums(series, simd)).toEqual(secondSums(series, plainStepSummer))
        },
      ),
      { numRuns: 60 },
    )
  })

  it('hold where d^4 of many devices leaves 32 bits', () => {
    const series = Array.from({ length: 100 }, (_, i): DeviceSeries => {
      return { deviceId: `device ${i}`, bits: new Uint32Array(7).fill(1024), ones: new Uint32Array(7).fill(1023) }
    })
    const { z2, w2 } = secondSums(series, simdStepSummer as () => StepSummer)
    const square = 1022 ** 2 / 1024
    expect(z2[6]).toBeCloseTo(100 * square, 6)
    expect(w2[6]).toBeCloseTo((100 * (square - 1) ** 2) / (2 - 2 / 1024), 2)
  })
})

describe('trialSeries', () => {
  it('takes all bits, or the 200 of a trial where there is one, and leaves out who has none', () => {
    const partial = { ...emptyPartial('a', 0, 3) }
    partial.secondBits.set([256, 128, 512])
    partial.secondOnes.set([130, 60, 250])
    partial.gcpTrials.set([101, 0, 1])
    const silent = emptyPartial('b', 0, 3)
    expect(trialSeries([partial, silent], 'all_bits')).toEqual([
      { deviceId: 'a', bits: partial.secondBits, ones: partial.secondOnes },
    ])
    expect(trialSeries([partial, silent], 'gcp200')).toEqual([
      { deviceId: 'a', bits: Uint32Array.of(200, 0, 200), ones: Uint32Array.of(100, 0, 0) },
    ])
  })
})
