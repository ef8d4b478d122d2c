/** One pair of devices over one bucket: the JSON of a row of `coherence_stats`. */
import { MIN_SECONDS } from './trials.ts'
import { lagScan, mutualInformation, type NotTested, type PairDevice, spectralCoherence } from './pair-tests.ts'
import { normalTwoSided, studentTwoSided } from './special.ts'
import { type SecondBytes, xorMatch, type XorMatch } from './xor-match.ts'

/** Stored with every row; changes whenever a number would come out otherwise for the same trials. */
export const COHERENCE_METHOD_VERSION = 'coherence-2'

/** Over the seconds in which both devices have a trial, x = z of device a and y = z of device b. They add over buckets. */
export interface OverlapSums {
  n_seconds: number
  sum_xy: number
  sum_x: number
  sum_y: number
  sum_x2: number
  sum_y2: number
}

export interface CorrelationMetrics extends OverlapSums {
  /** n_seconds / seconds of the bucket. */
  overlap_fraction: number
  /** Null if it is not the same in all trials of both. */
  n_bits_per_trial: number | null
  /** Null without data enough or without variance. */
  pearson_r: number | null
  product_z: number | null
  xor_match_z: number | null
  lag: { max_lag: number; best_lag: number; best_z: number } | null
  mi: { bins: number; bits: number } | null
  msc: { segments: number; max: number; freq_hz: number } | null
}

/** What a test among a bucket's many has beside its P-value. */
export interface Judged {
  /** Of Benjamini and Hochberg, among `n_tests` tests of its kind. */
  q_value?: number
  n_tests?: number
}

/** Of pearson `stat` is Student's t; null stands for infinite, where |r| = 1. `p_sidak` is corrected for what was scanned. */
export interface KindsOfTests {
  product: Judged & { stat: number; p: number }
  pearson: (Judged & { stat: number | null; df: number; p: number }) | NotTested
  xor_match: (Judged & XorMatch) | NotTested
  lag_scan: (Judged & { stat: number; p_sidak: number; n_lags: number }) | NotTested
  mutual_info: (Judged & { G: number; df: number; p: number }) | NotTested
  msc: (Judged & { stat: number; p_sidak: number; n_freqs: number }) | NotTested
}

export type PairTests = Partial<KindsOfTests> & {
  status: 'ok' | 'insufficient'
  reason?: string
  method_version: string
  normalization: 'theoretical'
}

/** Named as the columns of `coherence_stats`; a before b in the order of the ids' text. */
export interface PairCoherence {
  device_a_id: string
  device_b_id: string
  correlation_metrics: CorrelationMetrics
  tests: PairTests
}

/** A device of a pair, and its bytes where they are at hand: only they can be matched bit by bit. */
export interface PairMember {
  readonly device: PairDevice
  readonly bytes?: SecondBytes
}

const NO_BYTES = {
  status: 'not_applicable',
  reason: 'needs the bits: ask for pair_xor_match in an analysis job',
} as const satisfies NotTested

/**
 * How far two devices move together, from their sums and trials.
 * - product: sum xy / sqrt(n) ~ N(0, 1), two-sided. Uses the theoretical mean and variance, so biased devices show in it.
 * - pearson: t = r sqrt(df / (1 - r^2)), df = n - 2, two-sided; blind to bias. 'not_applicable' if a device did not vary.
 * - the others: as their functions say. 'insufficient' throughout below 30 seconds in common.
 */
export function pairRow(sums: OverlapSums, first: PairMember, second: PairMember): PairCoherence {
  const [a, b] = [first.device, second.device]
  const n = sums.n_seconds
  const metrics = {
    ...sums,
    overlap_fraction: a.z.length === 0 ? 0 : n / a.z.length,
    n_bits_per_trial: a.trialBits === b.trialBits ? a.trialBits : null,
  }
  const ids = { device_a_id: a.deviceId, device_b_id: b.deviceId }
  const provenance = { method_version: COHERENCE_METHOD_VERSION, normalization: 'theoretical' } as const
  if (n < MIN_SECONDS) {
    const none = { pearson_r: null, product_z: null, xor_match_z: null, lag: null, mi: null, msc: null }
    const reason = `${MIN_SECONDS} seconds in common needed, ${n} found`
    return {
      ...ids,
      correlation_metrics: { ...metrics, ...none },
      tests: { status: 'insufficient', reason, ...provenance },
    }
  }
  const z = productZ(sums)
  const r = pearsonR(sums)
  const xor = first.bytes && second.bytes ? xorMatch(first.bytes, second.bytes) : NO_BYTES
  const lag = lagScan(a, b)
  const mi = mutualInformation(a, b)
  const msc = spectralCoherence(a, b)
  return {
    ...ids,
    correlation_metrics: {
      ...metrics,
      pearson_r: r,
      product_z: z,
      xor_match_z: 'p' in xor ? xor.stat : null,
      lag: 'p_sidak' in lag ? { max_lag: lag.max_lag, best_lag: lag.best_lag, best_z: lag.stat } : null,
      mi: 'p' in mi ? { bins: mi.bins, bits: mi.bits } : null,
      msc: 'p_sidak' in msc ? { segments: msc.segments, max: msc.stat, freq_hz: msc.freq_hz } : null,
    },
    tests: {
      status: 'ok',
      product: { stat: z, p: normalTwoSided(z) },
      pearson: r === null ? { status: 'not_applicable', reason: 'a device did not vary' } : testPearson(r, n),
      xor_match: xor,
      lag_scan: 'p_sidak' in lag ? { stat: lag.stat, p_sidak: lag.p_sidak, n_lags: lag.n_lags } : lag,
      mutual_info: 'p' in mi ? { G: mi.G, df: mi.df, p: mi.p } : mi,
      msc: 'p_sidak' in msc ? { stat: msc.stat, p_sidak: msc.p_sidak, n_freqs: msc.n_freqs } : msc,
      ...provenance,
    },
  }
}

/** sum xy / sqrt(n), standard normal. */
export function productZ({ sum_xy: sumXY, n_seconds: n }: OverlapSums): number {
  return sumXY / Math.sqrt(n)
}

/** A variance that is a smaller part of the mean square may be rounding: sums over an overlap are differences of longer ones. */
const LEAST_VARIANCE = 1e-11

/** Null if a device did not vary, which after summing squares means: by no more than the sums' rounding. */
export function pearsonR(sums: OverlapSums): number | null {
  const { n_seconds: n, sum_x: sx, sum_y: sy } = sums
  const xx = sums.sum_x2 - (sx * sx) / n
  const yy = sums.sum_y2 - (sy * sy) / n
  if (xx <= LEAST_VARIANCE * sums.sum_x2 || yy <= LEAST_VARIANCE * sums.sum_y2) return null
  const r = (sums.sum_xy - (sx * sy) / n) / Math.sqrt(xx * yy)
  return Math.max(-1, Math.min(1, r))
}

export function testPearson(r: number, n: number): { stat: number | null; df: number; p: number } {
  const df = n - 2
  if (Math.abs(r) === 1) return { stat: null, df, p: 0 }
  const stat = r * Math.sqrt(df / (1 - r * r))
  return { stat, df, p: studentTwoSided(stat, df) }
}
