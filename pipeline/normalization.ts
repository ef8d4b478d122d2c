/**
 * Scores as they are, or by what the device itself did before: less its mean, over its standard deviation. A source whose
 * variance is off by .07 % moves devvar by 22 standard deviations a year; by its own variance it does not.
 */
import { type DeviceSeries, isTrial, trialScores } from './trials.ts'

export type Normalization = 'theoretical' | 'empirical'

/** Sums over a device's trials. They add over buckets. */
export interface TrialSums {
  readonly trials: number
  /** Seconds whose bits were all equal; not among the trials. */
  readonly failed: number
  readonly sumZ: number
  readonly sumZ2: number
}

/** What scores are normalised by: the mean and variance of so many earlier trials. */
export interface Reference {
  readonly deviceId: string
  readonly trials: number
  readonly mean: number
  readonly variance: number
}

/** Below this many trials a device's variance is known to no better than 2.4 % (one standard error), and it is left out. */
export const MIN_REFERENCE_TRIALS = 3600

export function trialSums(series: DeviceSeries): TrialSums {
  const z = trialScores(series)
  let [trials, failed, sumZ, sumZ2] = [0, 0, 0, 0]
  for (let t = 0; t < z.length; t++) {
    if (series.bits[t] === 0) continue
    if (!isTrial(series.bits[t], series.ones[t])) failed++
    else {
      trials++
      sumZ += z[t]
      sumZ2 += z[t] * z[t]
    }
  }
  return { trials, failed, sumZ, sumZ2 }
}

/** Mean and unbiased variance; null of too few trials, or if the device did not vary. */
export function referenceOf(
  deviceId: string,
  { trials, sumZ, sumZ2 }: Omit<TrialSums, 'failed'>,
  least: number = MIN_REFERENCE_TRIALS,
): Reference | null {
  if (trials < least) return null
  const mean = sumZ / trials
  const variance = (sumZ2 - trials * mean * mean) / (trials - 1)
  return variance > 0 ? { deviceId, trials, mean, variance } : null
}

/**
 * Each device's reference from its own series. The scores it then normalises have mean 0 and variance 1 by construction:
 * devvar and netvar over the same seconds are too near their expectation.
 */
export function empiricalNormalization(series: readonly DeviceSeries[], least?: number): Reference[] {
  return series.flatMap((device) => referenceOf(device.deviceId, trialSums(device), least) ?? [])
}

/** The series whose scores are normalised by these references; devices without one are left out. */
export function normalize(series: readonly DeviceSeries[], references: readonly Reference[]): DeviceSeries[] {
  const byDevice = new Map(references.map((reference) => [reference.deviceId, reference]))
  return series.flatMap((device) => {
    const reference = byDevice.get(device.deviceId)
    if (!reference) return []
    return { ...device, reference: { mean: reference.mean, sd: Math.sqrt(reference.variance) } }
  })
}
