/** Trials: what a device sent in a UTC second, n bits with k ones, z = (2 k - n) / sqrt(n). */

/** Below half a minute the normal approximations are not worth a P-value. */
export const MIN_SECONDS = 30

/** One device's trials over the seconds of a bucket; 0 bits: nothing came in that second. Equal lengths in a bucket. */
export interface DeviceSeries {
  readonly deviceId: string
  readonly bits: Uint32Array | Int32Array
  readonly ones: Uint32Array | Int32Array
  /** Scores are taken less this mean, over this standard deviation; without it as they are. */
  readonly reference?: { readonly mean: number; readonly sd: number }
}

/** From so many bits on, all of them equal is a sensor's failure, not chance (P = 2^-63): the trial is counted and left out. */
export const FAILURE_BITS = 64

/** Whether a second has a trial: something came, and not a failure. */
export function isTrial(bits: number, ones: number): boolean {
  return bits > 0 && (bits < FAILURE_BITS || (ones > 0 && ones < bits))
}

export function hasTrials({ bits, ones }: DeviceSeries): boolean {
  return bits.some((count, t) => isTrial(count, ones[t]))
}

/** The device ids in ascending order of their text. Throws RangeError if one is there twice. */
export function sortedDeviceIds(series: readonly DeviceSeries[]): string[] {
  return sortByDevice(series).map(({ deviceId }) => deviceId)
}

/** The series by device id. Throws RangeError on a repeated device, or on arrays of unequal lengths. */
export function sortByDevice(series: readonly DeviceSeries[]): DeviceSeries[] {
  const sorted = series.toSorted((a, b) => (a.deviceId < b.deviceId ? -1 : a.deviceId > b.deviceId ? 1 : 0))
  sorted.forEach(({ deviceId, bits, ones }, i) => {
    if (i > 0 && sorted[i - 1].deviceId === deviceId) throw new RangeError(`device ${deviceId} has two series`)
    if (bits.length !== sorted[0].bits.length || ones.length !== bits.length) {
      throw new RangeError(`the series of device ${deviceId} is not as long as the bucket`)
    }
  })
  return sorted
}

/** z of every second, (2 ones - bits) / sqrt(bits), normalised by the series' reference; 0 where there is no trial. */
export function trialScores({ bits, ones, reference }: DeviceSeries): Float64Array {
  const { mean, sd } = reference ?? { mean: 0, sd: 1 }
  const z = new Float64Array(bits.length)
  for (let t = 0; t < z.length; t++) {
    if (isTrial(bits[t], ones[t])) z[t] = ((2 * ones[t] - bits[t]) / Math.sqrt(bits[t]) - mean) / sd
  }
  return z
}
