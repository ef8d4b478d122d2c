/** Sums over the devices of each second: what the statistics of a network are made of. */
import { BLOCK_SECONDS, stepSummer, type StepSums } from './step-sums.ts'
import { type DeviceSeries, isTrial } from './trials.ts'

/** By second: devices with a trial, and sums over them; w and its sums only of trials of more than one bit. */
export interface SecondSums {
  readonly count: Float64Array
  readonly z: Float64Array
  readonly z2: Float64Array
  /** Of 2 - 2/n, the variance of z^2 under the null. */
  readonly variance: Float64Array
  /** w = (z^2 - 1) / sqrt(2 - 2/n). */
  readonly wCount: Float64Array
  readonly w: Float64Array
  readonly w2: Float64Array
  /** By device, in the order of the series: seconds with a trial, and with a failure. */
  readonly trials: Uint32Array
  readonly failed: Uint32Array
}

/**
 * One pass over devices x seconds. Trials of the size that comes first, often all, are summed as integers, 2 k - n and its
 * powers; the others as scores, in the order of the series. Series are of equal lengths.
 */
export function secondSums(series: readonly DeviceSeries[], summerOf = stepSummer): SecondSums {
  const length = series[0]?.bits.length ?? 0
  const [count, z, z2, variance, wCount, w, w2] = Array.from({ length: 7 }, () => new Float64Array(length))
  const [trials, failed] = [new Uint32Array(series.length), new Uint32Array(series.length)]
  const sums = { count, z, z2, variance, wCount, w, w2, trials, failed }
  const size = firstSize(series)
  const steps = summerOf(size, series.length)
  for (let from = 0; from < length; from += BLOCK_SECONDS) {
    const to = Math.min(length, from + BLOCK_SECONDS)
    for (const [i, device] of series.entries()) {
      const { bits, ones, reference } = device
      const regular = reference === undefined ? steps.add(bits, ones, from, to) : 0
      trials[i] += regular
      if (regular === to - from) continue
      for (let t = from; t < to; t++) {
        const n = bits[t]
        const isTaken = n === size && ones[t] !== 0 && ones[t] !== n && reference === undefined
        if (n > 0 && !isTaken) addScore(sums, i, device, t)
      }
    }
    addSteps(sums, from, to, size, steps.finish())
  }
  return sums
}

function firstSize(series: readonly DeviceSeries[]): number {
  for (const { bits, ones } of series) {
    const t = bits.findIndex((n, at) => isTrial(n, ones[at]))
    if (t >= 0) return bits[t]
  }
  return 0
}

function addScore(sums: SecondSums, device: number, { bits, ones, reference }: DeviceSeries, t: number): void {
  const n = bits[t]
  if (!isTrial(n, ones[t])) {
    sums.failed[device]++
    return
  }
  const { mean, sd } = reference ?? { mean: 0, sd: 1 }
  const z = ((2 * ones[t] - n) / Math.sqrt(n) - mean) / sd
  const variance = 2 - 2 / n
  sums.trials[device]++
  sums.count[t]++
  sums.z[t] += z
  sums.z2[t] += z * z
  sums.variance[t] += variance
  // A single bit has z^2 = 1 always: no variance to share.
  if (variance === 0) return
  const w = (z * z - 1) / Math.sqrt(variance)
  sums.wCount[t]++
  sums.w[t] += w
  sums.w2[t] += w * w
}

/** Scores of trials of n bits from sums of d = 2 k - n: z = d / sqrt(n), w = (d^2 / n - 1) / sqrt(2 - 2/n). */
function addSteps(sums: SecondSums, from: number, to: number, n: number, steps: StepSums): void {
  const root = Math.sqrt(n)
  const variance = 2 - 2 / n
  const spread = Math.sqrt(variance)
  for (let t = from; t < to; t++) {
    const at = t - from
    const count = steps.count[at]
    if (count === 0) continue
    const squares = steps.d2[at] / n
    sums.count[t] += count
    sums.z[t] += steps.d1[at] / root
    sums.z2[t] += squares
    sums.variance[t] += count * variance
    if (variance === 0) continue
    sums.wCount[t] += count
    sums.w[t] += (squares - count) / spread
    sums.w2[t] += (steps.d4[at] / (n * n) - 2 * squares + count) / variance
  }
}
