import { describe, expect, it } from 'vitest'
import { countOnes } from '../../pipeline/bits.ts'
import { pairsOfWindow } from '../../pipeline/report/pairs-part.ts'
import type { DeviceSeries } from '../../pipeline/trials.ts'
import { fairBytes } from '../fixtures/network-hours.ts'

const SECONDS = 1800
const BITS = 512

/** The ones of 512 fair bits a second, `more` above that, from `later` seconds before. */
function series(label: string, { more = 0, later = 0 } = {}): DeviceSeries {
  const bytes = fairBytes(label, 64 * (SECONDS + 60))
  const ones = Uint32Array.from({ length: SECONDS }, (_, t) => {
    const at = 64 * (t + 60 - later)
    return more + countOnes(bytes.subarray(at, at + 64))
  })
  return { deviceId: `${label} ${later}`, bits: new Uint32Array(SECONDS).fill(BITS), ones }
}

const lagsOf = (...devices: DeviceSeries[]) => pairsOfWindow(devices).lags[0]

describe('the lags of a pair', () => {
  it('say nothing of two devices that are biased and independent', () => {
    const [a, b] = [series('left', { more: 8 }), series('right', { more: 8 })]
    const { pairs, lags } = { pairs: pairsOfWindow([a, b]).rows, lags: lagsOf(a, b) }
    // The product is uncentred: it has their bias.
    expect(pairs[0].product_z).toBeGreaterThan(15)
    expect(lags.z).toHaveLength(41)
    expect(lags.p_sidak).toBeGreaterThan(0.01)
    expect(Math.max(...lags.z.map((z) => Math.abs(z!)))).toBeLessThan(4)
  })

  it('are of P-values that count all the lags that were looked at', () => {
    const best = Array.from({ length: 100 }, (_, k) => lagsOf(series(`a ${k}`), series(`b ${k}`)).p_sidak)
    // Binomial(100, 1/20): more than 13 in one run of 3,000; without the correction about 87.
    expect(best.filter((p) => p < 0.05).length).toBeLessThan(14)
    expect(best.filter((p) => p > 0.5).length).toBeGreaterThan(25)
  })

  it('show by how much one follows the other, biased or not', () => {
    for (const more of [0, 8]) {
      const lags = lagsOf(series('same', { more }), series('same', { more, later: 3 }))
      expect(lags).toMatchObject({ a: 'same 0', b: 'same 3', best_lag: 3, p_sidak: 0 })
      expect(lags.z[20 + 3]).toBeCloseTo(Math.sqrt(SECONDS - 3), 6)
      expect(Math.abs(lags.z[20]!)).toBeLessThan(4)
    }
  })

  it('at 0 seconds are the r of the pair, and its P', () => {
    const { rows, lags } = pairsOfWindow([series('x'), series('y')])
    expect(lags[0].z[20]).toBeCloseTo(rows[0].r! * Math.sqrt(SECONDS), 9)
  })
})
