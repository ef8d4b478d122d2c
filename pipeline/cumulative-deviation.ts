/** How far the network has walked from what chance expects: the series that the Global Consciousness Project plots. */
import { chiSquareQuantile } from './chi-square-quantile.ts'
import { secondSums } from './second-sums.ts'
import { type DeviceSeries, sortByDevice } from './trials.ts'

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
  const { count, z, z2 } = secondSums(sortByDevice(series))
  let now = before
  return Array.from(count, (n, t) => {
    if (n === 0) return now
    now = {
      seconds: now.seconds + 1,
      pairs: now.pairs + (n * (n - 1)) / 2,
      netvar: now.netvar + (z[t] * z[t]) / n - 1,
      pair: now.pair + (z[t] * z[t] - z2[t]) / 2,
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
