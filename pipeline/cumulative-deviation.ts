/** How far the network has walked from what chance expects: the series that the Global Consciousness Project plots. */
import { chiSquareQuantile } from './chi-square-quantile.ts'
import { type DeviceSeries, isTrial, sortByDevice, trialScores } from './trials.ts'

/** Where the walks stand after a second. */
export interface Deviation {
  /** Seconds so far in which a device reported, and pairs of devices that reported in one. */
  readonly seconds: number
  readonly pairs: number
  /** Sum of S_t^2 - 1, and of C_t, the products over all pairs; S_t and C_t as in `NetworkSums`. */
  readonly netvar: number
  readonly pair: number
}

/** The standard normal's 97.5 % point. */
const TWO_SIDED_95 = 1.959963984540054

/**
 * The walks after each second of `series`, from where they stood `before`. Identical, digit for digit, for any order of the
 * devices. Throws RangeError on repeated devices or unequal lengths.
 */
export function cumulativeDeviation(
  series: readonly DeviceSeries[],
  before: Deviation = { seconds: 0, pairs: 0, netvar: 0, pair: 0 },
): Deviation[] {
  const sorted = sortByDevice(series)
  const length = sorted[0]?.bits.length ?? 0
  const [count, z1, z2] = Array.from({ length: 3 }, () => new Float64Array(length))
  for (const device of sorted) {
    const z = trialScores(device)
    for (let t = 0; t < length; t++) {
      if (!isTrial(device.bits[t], device.ones[t])) continue
      count[t]++
      z1[t] += z[t]
      z2[t] += z[t] * z[t]
    }
  }
  let now = before
  return Array.from(count, (n, t) => {
    if (n === 0) return now
    now = {
      seconds: now.seconds + 1,
      pairs: now.pairs + (n * (n - 1)) / 2,
      netvar: now.netvar + (z1[t] * z1[t]) / n - 1,
      pair: now.pair + (z1[t] * z1[t] - z2[t]) / 2,
    }
    return now
  })
}

/**
 * What the netvar walk stays below with probability .95 at one second chosen beforehand: chi-square's quantile less `seconds`.
 * Pointwise: of walks of 600 seconds under the null 38 % are above it at some second.
 */
export function netvarEnvelope({ seconds }: Deviation): number {
  return seconds === 0 ? 0 : chiSquareQuantile(0.95, seconds) - seconds
}

/** What the pair walk stays within, on both sides, with probability .95 at one second chosen beforehand; pointwise too. */
export function pairEnvelope({ pairs }: Deviation): number {
  return TWO_SIDED_95 * Math.sqrt(pairs)
}
