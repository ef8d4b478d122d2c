/**
 * What all devices do together: the statistics of one row of `network_stats`. A trial is the ones k among the n bits that a
 * device sent in a UTC second, z = (2k - n) / sqrt(n); profile `all_bits`: n is whatever came in that second.
 */
import { secondSums } from './second-sums.ts'
import { chiSquareUpper, normalTwoSided, normalUpper } from './special.ts'
import { MIN_SECONDS, sortByDevice, type DeviceSeries } from './trials.ts'

/** Stored with every row; changes whenever a number would come out otherwise for the same trials. */
export const NETWORK_METHOD_VERSION = 'network-2'
/** Sums over the seconds of a bucket. All but min, max and `devices` add up from shorter buckets to longer ones. */
export interface NetworkSums {
  /** Devices with at least one trial. */
  devices: number
  /** Seconds in which at least one device reported. */
  seconds: number
  /** Seconds in which at least two did. */
  pair_seconds: number
  /** Sum of N_t, the devices reporting in second t, and of N_t (N_t - 1) / 2. */
  sum_n: number
  sum_pairs: number
  /** Sum of S_t^2, S_t = sum_i z_it / sqrt(N_t) (Stouffer). */
  sum_s2: number
  /** Sum of C_t = ((sum_i z_it)^2 - sum_i z_it^2) / 2, the products over all pairs. */
  sum_c: number
  /** Sum of z^2 over devices and seconds, and of its variance 2 - 2/n under the null. */
  sum_z2: number
  sum_z2_variance: number
  /** The same as sum_c and sum_pairs for w = (z^2 - 1) / sqrt(2 - 2/n), of trials with n > 1. */
  sum_w: number
  sum_w_pairs: number
  /** Fewest and most devices in one of the `seconds`; 0 if there are none. */
  min_devices: number
  max_devices: number
  /** Device-seconds in which nothing came, of the devices with at least one trial. */
  missing: number
  /** Device-seconds whose bits were all equal, of any device: left out (GCP: "0 and 200 of 200"). */
  failed: number
  /** Largest |S_t|, and its second since epoch (the first of equals); null if no device reported. */
  max_abs_stouffer: number | null
  max_abs_stouffer_at: number | null
}

/** A test without data enough has a reason and no numbers. */
export type Tested<Numbers> = ({ status: 'ok' } & Numbers) | { status: 'insufficient'; reason: string }

export interface NetworkTests {
  netvar: Tested<{ chi2: number; df: number; p_upper: number; p_two: number; z: number }>
  pair: Tested<{ z: number; p: number; p_upper: number }>
  devvar: Tested<{ z: number; p: number }>
  covar: Tested<{ z: number; p: number }>
}

export interface NetworkStats extends NetworkSums, NetworkTests {
  method_version: string
  normalization: 'theoretical'
  profile: 'all_bits'
}

/**
 * The network's sums and tests over a bucket that begins at `bucketStart` (seconds since epoch). Identical, digit for digit,
 * for any order of `series`. Throws RangeError on repeated devices or unequal lengths.
 */
export function networkStats(series: readonly DeviceSeries[], bucketStart: number): NetworkStats {
  const sums = networkSums(series, bucketStart)
  const provenance = {
    method_version: NETWORK_METHOD_VERSION,
    normalization: 'theoretical',
    profile: 'all_bits',
  } as const
  return { ...provenance, ...sums, ...networkTests(sums) }
}

/** The sums of `networkStats`, one pass over devices x seconds. */
export function networkSums(series: readonly DeviceSeries[], bucketStart: number): NetworkSums {
  const sorted = sortByDevice(series)
  const length = sorted[0]?.bits.length ?? 0
  const { count, z, z2, variance, wCount, w, w2, trials, failed } = secondSums(sorted)
  const sums = noSums()
  for (const [i, { bits }] of sorted.entries()) {
    sums.failed += failed[i]
    if (trials[i] === 0) continue
    sums.devices++
    sums.missing += bits.length - trials[i] - failed[i]
  }
  for (let t = 0; t < length; t++) {
    const n = count[t]
    if (n === 0) continue
    const stouffer = Math.abs(z[t]) / Math.sqrt(n)
    sums.seconds++
    if (n > 1) sums.pair_seconds++
    sums.sum_n += n
    sums.sum_pairs += (n * (n - 1)) / 2
    sums.sum_s2 += (z[t] * z[t]) / n
    sums.sum_c += (z[t] * z[t] - z2[t]) / 2
    sums.sum_z2 += z2[t]
    sums.sum_z2_variance += variance[t]
    sums.sum_w += (w[t] * w[t] - w2[t]) / 2
    sums.sum_w_pairs += (wCount[t] * (wCount[t] - 1)) / 2
    sums.min_devices = sums.seconds === 1 ? n : Math.min(sums.min_devices, n)
    sums.max_devices = Math.max(sums.max_devices, n)
    if (sums.max_abs_stouffer !== null && stouffer <= sums.max_abs_stouffer) continue
    sums.max_abs_stouffer = stouffer
    sums.max_abs_stouffer_at = bucketStart + t
  }
  return sums
}

function noSums(): NetworkSums {
  const counts = { devices: 0, seconds: 0, pair_seconds: 0, sum_n: 0, sum_pairs: 0, min_devices: 0, max_devices: 0 }
  const powers = { sum_s2: 0, sum_c: 0, sum_z2: 0, sum_z2_variance: 0, sum_w: 0, sum_w_pairs: 0 }
  return { ...counts, ...powers, missing: 0, failed: 0, max_abs_stouffer: null, max_abs_stouffer_at: null }
}

/**
 * The tests that follow from the sums.
 * - netvar: sum of S_t^2 against chi-square of `seconds` degrees of freedom, upper tail and two-sided; its z = (chi2 - T) /
 *   sqrt(2T) is for plots (Global Consciousness Project, recipe 1). The lower tail is good to 1e-16 absolute.
 * - pair: sum C_t / sqrt(sum of N_t (N_t - 1) / 2), the part of netvar that is correlation alone. `p` is two-sided; `p_upper`
 *   asks for devices agreeing, as the netvar's p_upper does.
 * - devvar: sum z^2 against its exact binomial mean and variance, normal approximation, two-sided.
 * - covar: the pair statistic of w, shared changes of variance (Bancel), two-sided.
 */
export function networkTests(sums: NetworkSums): NetworkTests {
  const { seconds, sum_s2: chi2 } = sums
  const tooShort = { status: 'insufficient', reason: `${MIN_SECONDS} seconds with a device needed` } as const
  const unpaired = { status: 'insufficient', reason: `${MIN_SECONDS} seconds with two devices needed` } as const
  const enough = seconds >= MIN_SECONDS
  const upper = enough ? chiSquareUpper(chi2, seconds) : 1
  const z = (chi2 - seconds) / Math.sqrt(2 * seconds)
  const pairZ = sums.sum_c / Math.sqrt(sums.sum_pairs)
  const paired = sums.pair_seconds >= MIN_SECONDS
  return {
    netvar: enough
      ? { status: 'ok', chi2, df: seconds, p_upper: upper, p_two: 2 * Math.min(upper, 1 - upper), z }
      : tooShort,
    pair: paired ? { status: 'ok', z: pairZ, p: normalTwoSided(pairZ), p_upper: normalUpper(pairZ) } : unpaired,
    devvar:
      enough && sums.sum_z2_variance > 0
        ? testNormal((sums.sum_z2 - sums.sum_n) / Math.sqrt(sums.sum_z2_variance))
        : tooShort,
    covar: paired && sums.sum_w_pairs > 0 ? testNormal(sums.sum_w / Math.sqrt(sums.sum_w_pairs)) : unpaired,
  }
}

function testNormal(z: number): Tested<{ z: number; p: number }> {
  return { status: 'ok', z, p: normalTwoSided(z) }
}
