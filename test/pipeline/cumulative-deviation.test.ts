import { describe, expect, it } from 'vitest'
import { controlSeries } from '../../pipeline/control.ts'
import { cumulativeDeviation, netvarEnvelope, pairEnvelope } from '../../pipeline/cumulative-deviation.ts'
import { networkSums } from '../../pipeline/network.ts'
import type { DeviceSeries } from '../../pipeline/trials.ts'

/** Fair trials, some missing and some failed. */
function network(devices: number, seconds: number, seed = '1'): DeviceSeries[] {
  const full = Array.from({ length: devices }, (_, i) => ({
    deviceId: `device-${i}`,
    bits: new Uint32Array(seconds).fill(200),
    ones: new Uint32Array(seconds).fill(100),
  }))
  const series = controlSeries(full, { seed, seconds: 0 })
  series.forEach(({ bits, ones }, i) => {
    for (let t = i; t < seconds; t += 7) bits[t] = ones[t] = 0
    for (let t = 3 * i; t < seconds; t += 11) ones[t] = 0
    bits[5] = ones[5] = 0
  })
  return series
}

const slice = (series: readonly DeviceSeries[], from: number, to: number) =>
  series.map((one) => ({ ...one, bits: one.bits.slice(from, to), ones: one.ones.slice(from, to) }))

describe('cumulativeDeviation', () => {
  const series = network(5, 200)

  it('stands at every second where the sums of the network up to it do', () => {
    const walk = cumulativeDeviation(series)
    expect(walk).toHaveLength(200)
    for (const t of [0, 4, 5, 6, 60, 199]) {
      const sums = networkSums(slice(series, 0, t + 1), 0)
      expect(walk[t]).toMatchObject({ seconds: sums.seconds, pairs: sums.sum_pairs })
      expect(walk[t].netvar).toBeCloseTo(sums.sum_s2 - sums.seconds, 9)
      expect(walk[t].pair).toBeCloseTo(sums.sum_c, 9)
    }
    expect(walk[5]).toEqual(walk[4])
  })

  it('goes on from where it stood, in any order of the devices', () => {
    const first = cumulativeDeviation(slice(series, 0, 77))
    const second = cumulativeDeviation(slice(series, 77, 200).toReversed(), first.at(-1))
    expect([...first, ...second]).toEqual(cumulativeDeviation(series))
  })

  it('has envelopes that are quantiles at one second', () => {
    expect(netvarEnvelope({ seconds: 0, pairs: 0, netvar: 0, pair: 0 })).toBe(0)
    expect(netvarEnvelope({ seconds: 600, pairs: 0, netvar: 0, pair: 0 })).toBeCloseTo(58.09357313772475, 9)
    expect(pairEnvelope({ seconds: 9, pairs: 100, netvar: 0, pair: 0 })).toBeCloseTo(19.59963984540054, 12)
  })

  it('crosses the pointwise envelope at some second in 38 % of null walks of 600 seconds', () => {
    const bounds = Array.from({ length: 600 }, (_, i) =>
      netvarEnvelope({ seconds: i + 1, pairs: 0, netvar: 0, pair: 0 }),
    )
    const seconds = 600 * 1000
    const full = ['a', 'b'].map((deviceId) => {
      return { deviceId, bits: new Uint32Array(seconds).fill(200), ones: new Uint32Array(seconds).fill(100) }
    })
    const trials = controlSeries(full, { seed: 'walks', seconds: 0 })
    let crossed = 0
    let atEnd = 0
    for (let run = 0; run < 1000; run++) {
      const walk = cumulativeDeviation(slice(trials, 600 * run, 600 * run + 600))
      if (walk.some(({ netvar }, t) => netvar > bounds[t])) crossed++
      if (walk[599].netvar > bounds[599]) atEnd++
    }
    // Four standard errors of 1,000 walks: .061 and .028.
    expect(crossed / 1000).toBeGreaterThan(0.32)
    expect(crossed / 1000).toBeLessThan(0.44)
    expect(atEnd / 1000).toBeGreaterThan(0.022)
    expect(atEnd / 1000).toBeLessThan(0.078)
  })
})
