/** A control network: what the same devices would have sent in the same seconds, were they pseudo-random. */
import { onesInWord } from './sp800-90b/bit-words.ts'
import { type DeviceSeries, isTrial } from './trials.ts'
import { mixText, philox } from './philox.ts'

/** Stored with a control; changes whenever the same seed would give other trials. */
export const CONTROL_GENERATOR = 'philox4x32-10/1'

export interface ControlOptions {
  readonly seed: string
  /** Since epoch, whole: of the first trial, where one follows every second; or of each trial. */
  readonly seconds: number | ArrayLike<number>
}

/**
 * For every trial of n bits one of n pseudo-random bits, k exactly binomial(n, 1/2); where there is no trial (missing, failed),
 * none. A trial is a function of seed, device id, second and n alone: of neither the other devices nor the window.
 */
export function controlSeries(series: readonly DeviceSeries[], { seed, seconds }: ControlOptions): DeviceSeries[] {
  const secondAt = (t: number) => (typeof seconds === 'number' ? seconds + t : seconds[t])
  const block = new Uint32Array(4)
  return series.map((real) => {
    const [key0, key1, stream] = mixText(JSON.stringify([seed, real.deviceId]))
    const bits = new Uint32Array(real.bits.length)
    const ones = new Uint32Array(real.bits.length)
    for (let t = 0; t < bits.length; t++) {
      if (!isTrial(real.bits[t], real.ones[t])) continue
      bits[t] = real.bits[t]
      const second = secondAt(t)
      for (let from = 0; from < bits[t]; from += 128) {
        block[0] = second
        block[1] = Math.floor(second / 2 ** 32)
        block[2] = stream
        block[3] = from / 128
        philox(block, key0, key1)
        ones[t] += onesAmong(block, bits[t] - from)
      }
    }
    return { deviceId: real.deviceId, bits, ones }
  })
}

/** Ones among the first `count` bits of four words. */
function onesAmong(words: Uint32Array, count: number): number {
  let ones = 0
  for (let i = 0; i < 4; i++) {
    const left = count - 32 * i
    if (left <= 0) break
    ones += onesInWord(left >= 32 ? words[i] : words[i] & (2 ** left - 1))
  }
  return ones
}
