import { expectedPlugInEntropy } from '../tests/shannon-entropy.ts'

/** At least 5 expected of each of the 256 byte values, as the chi-square needs them. */
const MIN_BYTES = 1280
const BAND_SDS = 3

/** Plug-in entropy in bits a byte, and what ideal bytes would have: their expectation and three standard deviations about it. */
export interface EntropyBand {
  readonly entropy: number
  readonly expected: number
  readonly low: number
  readonly high: number
  /** Standard deviations off the expectation. */
  readonly z: number
}

/**
 * The mean entropy of hours, weighted by their bytes, beside that of ideal bytes. Of N bytes the expectation is exact and the
 * standard deviation sqrt(510) / (2 N ln 2): 2 N ln 2 (8 - H) is the likelihood-ratio G of a table of 256, near chi-square of
 * 255 degrees of freedom (Wilks 1938). Hours of under 1,280 bytes are left out; null if there is no other.
 */
export function entropyBand(hours: readonly { bytes: number; entropy: number | null }[]): EntropyBand | null {
  let [bytes, sum, expected, count] = [0, 0, 0, 0]
  for (const hour of hours) {
    if (hour.entropy === null || hour.bytes < MIN_BYTES) continue
    bytes += hour.bytes
    sum += hour.bytes * hour.entropy
    expected += hour.bytes * expectedPlugInEntropy(hour.bytes)
    count++
  }
  if (count === 0) return null
  const sd = Math.sqrt(510 * count) / (2 * bytes * Math.LN2)
  const [mean, ideal] = [sum / bytes, expected / bytes]
  const margin = BAND_SDS * sd
  return {
    entropy: mean,
    expected: ideal,
    low: ideal - margin,
    high: Math.min(8, ideal + margin),
    z: (mean - ideal) / sd,
  }
}
