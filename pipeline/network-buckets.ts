/** The rows of `network_stats`: minutes from seconds, hours from minutes, days from hours, each the sum of the shorter ones. */
import { networkSums, type NetworkSums } from './network.ts'
import { type DeviceSeries, hasTrials, sortedDeviceIds, isTrial } from './trials.ts'
import { GCP_TRIAL_BITS, type SlicePartial } from './slice.ts'

/**
 * What a trial is. `all_bits`: all that came in the second; `gcp200`: its first 200 bits, if it has them, as in the Global
 * Consciousness Project.
 */
export const PROFILES = ['all_bits', 'gcp200'] as const
export type Profile = (typeof PROFILES)[number]

export interface NetworkBucket {
  /** Seconds since epoch. */
  readonly start: number
  readonly end: number
  /** Those that have a trial in it, in order. */
  readonly deviceIds: readonly string[]
  readonly sums: NetworkSums
}

const MINUTE = 60

/** The trials of a profile in merged partials of equal bounds; devices that sent nothing are left out. */
export function trialSeries(partials: readonly SlicePartial[], profile: Profile): DeviceSeries[] {
  return partials
    .map(({ deviceId, secondBits, secondOnes, gcpTrials }): DeviceSeries => {
      if (profile === 'all_bits') return { deviceId, bits: secondBits, ones: secondOnes }
      const bits = Uint32Array.from(gcpTrials, (trial) => (trial > 0 ? GCP_TRIAL_BITS : 0))
      return { deviceId, bits, ones: Uint32Array.from(gcpTrials, (trial) => Math.max(0, trial - 1)) }
    })
    .filter(sentAny)
}

/**
 * The minutes of an hour (or of any whole number of minutes from `start` on) in which a device sent something, and the bucket of
 * them all; null if none did. Identical, digit for digit, for any order of `series`.
 */
export function networkBuckets(
  series: readonly DeviceSeries[],
  start: number,
): { minutes: NetworkBucket[]; whole: NetworkBucket | null } {
  const length = series[0]?.bits.length ?? 0
  const minutes: NetworkBucket[] = []
  for (let from = 0; from < length; from += MINUTE) {
    const present = series
      .map(({ deviceId, bits, ones }) => {
        return { deviceId, bits: bits.subarray(from, from + MINUTE), ones: ones.subarray(from, from + MINUTE) }
      })
      .filter(sentAny)
    if (present.length === 0) continue
    minutes.push({
      start: start + from,
      end: start + from + MINUTE,
      deviceIds: sortedDeviceIds(present.filter(hasTrials)),
      sums: networkSums(present, start + from),
    })
  }
  if (minutes.length === 0) return { minutes, whole: null }
  const sums = addNetworkSums(minutes.map((minute) => minute.sums))
  const present = series.filter(hasTrials)
  const missing = present.reduce((count, { bits }) => count + bits.filter((n) => n === 0).length, 0)
  const ofWhole = { ...sums, devices: present.length, missing }
  return { minutes, whole: { start, end: start + length, deviceIds: sortedDeviceIds(present), sums: ofWhole } }
}

function sentAny({ bits }: DeviceSeries): boolean {
  return bits.some((count) => count > 0)
}

/**
 * The sums of a bucket from those of its parts, which must be in the order of time: then they are the same to the last digit
 * whenever they are computed. `devices` is the most of any part, `missing` the sum: who is who, sums do not say.
 */
export function addNetworkSums(parts: readonly NetworkSums[]): NetworkSums {
  const [first, ...rest] = parts
  if (!first) throw new RangeError('there are no sums to add')
  return rest.reduce<NetworkSums>(addTwo, first)
}

function addTwo(a: NetworkSums, b: NetworkSums): NetworkSums {
  const isHigher = (b.max_abs_stouffer ?? -1) > (a.max_abs_stouffer ?? -1)
  const reporting = [a, b].filter(({ seconds }) => seconds > 0).map(({ min_devices }) => min_devices)
  return {
    devices: Math.max(a.devices, b.devices),
    seconds: a.seconds + b.seconds,
    pair_seconds: a.pair_seconds + b.pair_seconds,
    sum_n: a.sum_n + b.sum_n,
    sum_pairs: a.sum_pairs + b.sum_pairs,
    sum_s2: a.sum_s2 + b.sum_s2,
    sum_c: a.sum_c + b.sum_c,
    sum_z2: a.sum_z2 + b.sum_z2,
    sum_z2_variance: a.sum_z2_variance + b.sum_z2_variance,
    sum_w: a.sum_w + b.sum_w,
    sum_w_pairs: a.sum_w_pairs + b.sum_w_pairs,
    min_devices: reporting.length === 0 ? 0 : Math.min(...reporting),
    max_devices: Math.max(a.max_devices, b.max_devices),
    missing: a.missing + b.missing,
    failed: a.failed + b.failed,
    max_abs_stouffer: isHigher ? b.max_abs_stouffer : a.max_abs_stouffer,
    max_abs_stouffer_at: isHigher ? b.max_abs_stouffer_at : a.max_abs_stouffer_at,
  }
}

/** A window that is summed piece by piece, in the order of time: one that lasts a month is too large to be held at once. */
export interface WindowSums {
  /** Adds the seconds that follow those before, `seconds` of them from `start` (since epoch). */
  add(series: readonly DeviceSeries[], start: number, seconds: number): void
  /** The sums of the pieces, with `devices` and `missing` of the whole, and the ids of its devices in order. */
  finish(): { sums: NetworkSums; deviceIds: string[] }
}

/** Of one piece the sums are exactly its `networkSums`. */
export function windowSums(): WindowSums {
  const parts: NetworkSums[] = []
  const seen = new Map<string, { sent: number; trials: number }>()
  let length = 0
  return {
    add(series, start, seconds) {
      parts.push(networkSums(series, start))
      length += seconds
      for (const { deviceId, bits, ones } of series) {
        const { sent, trials } = seen.get(deviceId) ?? { sent: 0, trials: 0 }
        const now = { sent, trials }
        for (let t = 0; t < bits.length; t++) {
          if (bits[t] > 0) now.sent++
          if (isTrial(bits[t], ones[t])) now.trials++
        }
        seen.set(deviceId, now)
      }
    },
    finish() {
      const present = [...seen].filter(([, { trials }]) => trials > 0)
      const missing = present.reduce((sum, [, { sent }]) => sum + length - sent, 0)
      const deviceIds = present.map(([deviceId]) => deviceId).toSorted((a, b) => (a < b ? -1 : 1))
      return { sums: { ...addNetworkSums(parts), devices: present.length, missing }, deviceIds }
    },
  }
}
