import { describe, expect, it } from 'vitest'
import { controlSeries } from '../../pipeline/control.ts'
import { kolmogorovSmirnov } from '../../pipeline/kolmogorov-smirnov.ts'
import { networkStats, type Tested } from '../../pipeline/network.ts'
import type { DeviceSeries } from '../../pipeline/trials.ts'
import { philox } from '../../pipeline/philox.ts'

/** Devices that report n bits every second; what they are is of no concern to a control. */
function network(devices: number, seconds: number, n = 200): DeviceSeries[] {
  return Array.from({ length: devices }, (_, i) => ({
    deviceId: `device-${i}`,
    bits: new Uint32Array(seconds).fill(n),
    ones: new Uint32Array(seconds).fill(n >> 1),
  }))
}

function window({ deviceId, bits, ones }: DeviceSeries, from: number, to: number): DeviceSeries {
  return { deviceId, bits: bits.slice(from, to), ones: ones.slice(from, to) }
}

function pOf<Numbers>(tested: Tested<Numbers>, name: keyof Numbers): number {
  if (tested.status !== 'ok') throw new Error(tested.reason)
  return Number(tested[name])
}

const START = 1_790_000_000

describe('philox', () => {
  // The known answers that its authors ship with their implementation (Random123, kat_vectors).
  it.each([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[-1, -1, -1, -1], [-1, -1], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ])('of counter %j and key %j is the known answer', (counter, [key0, key1], known) => {
    const block = Uint32Array.from(counter)
    philox(block, key0, key1)
    expect(Array.from(block, (word) => word.toString(16).padStart(8, '0')).join(' ')).toBe(known)
  })
})

describe('controlSeries', () => {
  it('is a null: P-values of 500 networks of 12 devices and 600 seconds are uniform', () => {
    const found: Record<string, number[]> = { netvar: [], netvarTwo: [], pair: [], devvar: [], covar: [] }
    const devices = network(12, 600)
    for (let run = 0; run < 500; run++) {
      const { netvar, pair, devvar, covar } = networkStats(
        controlSeries(devices, { seed: `${run}`, seconds: START }),
        START,
      )
      found.netvar.push(pOf(netvar, 'p_upper'))
      found.netvarTwo.push(pOf(netvar, 'p_two'))
      found.pair.push(pOf(pair, 'p'))
      found.devvar.push(pOf(devvar, 'p'))
      found.covar.push(pOf(covar, 'p'))
    }
    for (const [name, p] of Object.entries(found)) {
      const rejected = p.filter((value) => value < 0.01).length
      // The 99.9 % interval of binomial(500, .01).
      expect(rejected, name).toBeGreaterThanOrEqual(0)
      expect(rejected, name).toBeLessThanOrEqual(14)
      expect(kolmogorovSmirnov(p).p, name).toBeGreaterThan(0.001)
    }
  })

  it.each([1, 7, 31, 32, 33, 64, 127, 128, 129, 200, 256])('of trials of %i bits is binomial', (n) => {
    const trials = 20_000
    const [series] = controlSeries(network(1, trials, n), { seed: 'binomial', seconds: 0 })
    const ones = Array.from(series.ones)
    const mean = ones.reduce((sum, k) => sum + k, 0) / trials
    const variance = ones.reduce((sum, k) => sum + (k - n / 2) ** 2, 0) / trials
    // Five standard errors: of the mean sqrt(n / 4 / trials), of the variance about n / 4 sqrt(2 / trials).
    expect(Math.abs(mean - n / 2)).toBeLessThan(5 * Math.sqrt(n / 4 / trials))
    expect(Math.abs(variance - n / 4)).toBeLessThan(((5 * n) / 4) * Math.sqrt(2 / trials))
    expect(Math.max(...ones)).toBeLessThanOrEqual(n)
  })

  it('is the same for a device and second whatever the other devices and the window are', () => {
    const real = network(3, 100)
    const whole = controlSeries(real, { seed: 's', seconds: START })
    const backwards = controlSeries(real.toReversed(), { seed: 's', seconds: START })
    expect(backwards.toReversed()).toEqual(whole)
    const [part] = controlSeries([window(real[1], 40, 60)], { seed: 's', seconds: START + 40 })
    expect(part).toEqual(window(whole[1], 40, 60))
    const scattered = { ...real[2], bits: real[2].bits.slice(0, 3), ones: real[2].ones.slice(0, 3) }
    const [picked] = controlSeries([scattered], { seed: 's', seconds: [START + 70, START + 2, START + 99] })
    expect([...picked.ones]).toEqual([70, 2, 99].map((t) => whole[2].ones[t]))
  })

  it('differs by seed, device and second, before 1970 and after 2106 too', () => {
    const trialsOf = (seed: string, deviceId: string, seconds: number) => {
      const [{ ones }] = controlSeries([{ ...network(1, 20)[0], deviceId }], { seed, seconds })
      return ones.join(' ')
    }
    const all = [
      trialsOf('1', '2', 0),
      trialsOf('12', '', 0),
      trialsOf('', '12', 0),
      trialsOf('2', '1', 0),
      trialsOf('1', '2', 20),
      trialsOf('1', '2', -20),
      trialsOf('1', '2', 2 ** 32),
      trialsOf('1', '2', 2 ** 33),
      trialsOf('1', '2\u0000', 0),
    ]
    expect(new Set(all).size).toBe(all.length)
    expect(trialsOf('1', '2', 0)).toBe(all[0])
  })

  it('leaves missing what is missing, and what failed', () => {
    const real = network(1, 6)[0]
    real.bits[1] = 0
    real.ones[1] = 0
    real.ones[3] = 200
    real.ones[4] = 0
    real.bits[5] = 32
    real.ones[5] = 32
    const [control] = controlSeries([real], { seed: 's', seconds: 0 })
    expect([...control.bits]).toEqual([200, 0, 200, 0, 0, 32])
    expect([control.ones[1], control.ones[3], control.ones[4]]).toEqual([0, 0, 0])
    expect(control.ones[5]).toBeLessThan(32)
  })
})
