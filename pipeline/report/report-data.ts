/** The report as numbers: what `coherence report --json` prints, and what the page is made of. Times are ISO 8601, UTC. */
import type { TestStatus } from '../tests/definition.ts'
import type { NetworkSums, NetworkTests } from '../network.ts'
import type { Hypothesis, Tail } from '../event.ts'
import type { KolmogorovSmirnov } from '../kolmogorov-smirnov.ts'
import type { PassProportion } from '../second-level.ts'
import type { EntropyBand } from './entropy-band.ts'

/** Changes whenever a number of the report would come out otherwise for the same rows. */
export const REPORT_VERSION = 'report-2'

/** Something stands out if it is rarer than this among all P-values of its family, by Holm. */
export const FLAG_ALPHA = 0.001

/** What is not there, and why. */
export interface Missing {
  readonly reason: string
}

/** Where the walks stand at the end of a bucket, and their pointwise envelopes there. */
export interface TracePoint {
  readonly end: string
  /** Since the begin of the window, with a trial. */
  readonly seconds: number
  readonly netvar: number
  readonly netvar_95: number
  /** The pair walk in its own unit, products of two scores. */
  readonly pair: number
  readonly pair_95: number
}

export interface NetworkPart {
  readonly profile: 'all_bits'
  readonly normalization: 'theoretical'
  readonly bucket_seconds: number | null
  /** Devices with a trial, and the device-seconds of the window in which they sent nothing. */
  readonly devices: number
  readonly missing: number
  readonly sums: NetworkSums | null
  readonly tests: NetworkTests | null
  readonly trace: readonly TracePoint[]
  readonly control:
    | (Missing & { readonly trace?: undefined })
    | {
        readonly seed: string
        readonly generator: string
        readonly tests: NetworkTests
        readonly trace: readonly Pick<TracePoint, 'end' | 'netvar' | 'pair'>[]
      }
}

export interface DevicePart {
  readonly id: string
  /** Null of a device that was deleted. */
  readonly name: string | null
  readonly status: string | null
  readonly client_type: string | null
  readonly last_seen_at: string | null
  readonly samples: number
  readonly bytes: number
  /** Samples a second, of the seconds in which any came. */
  readonly rate_hz: number | null
  readonly seconds_covered: number
  /** Of the window's seconds. */
  readonly coverage: number
  readonly gaps: number
  readonly duplicates: number
  /** Seconds whose bits were all equal. */
  readonly failed: number
  /** Ones of all bits against a fair coin, and two-sided P. */
  readonly z: number | null
  readonly p: number | null
  readonly entropy: EntropyBand | null
  /** Byte values against uniform ones, the hours' chi-squares added up. */
  readonly byte_chi_square: { readonly statistic: number; readonly df: number; readonly p: number } | null
  /** P-values of the chunk tests: how many pass at .01. */
  readonly chunk_tests: { readonly passed: number; readonly tested: number }
  /** P-values below 1e-9 and failed health tests, of single chunks. */
  readonly alarms: number
}

/** One P-value of one test: over all devices, or of one. */
export interface PassRow {
  readonly test: string
  /** Which of the test's P-values, from 1, and of how many. */
  readonly index: number
  readonly of: number
  readonly results: Readonly<Record<TestStatus, number>>
  readonly proportion: PassProportion | null
  /** P of so many failures or more. */
  readonly p_failures: number | null
  readonly p_t: number | null
  readonly bins: readonly number[]
  readonly ks: KolmogorovSmirnov | null
}

export interface TestsPart {
  readonly chunks: number
  readonly p_values: number
  /** All P-values in twenty bins. */
  readonly histogram: readonly number[]
  /** Of the sorted P-values, thinned out: expected and observed, and the pointwise 95 % band of the rank. */
  readonly qq: readonly { expected: number; observed: number; low: number; high: number }[]
  readonly rows: readonly PassRow[]
  /** By device; the least likely first where there are too many to list. */
  readonly by_device: readonly (PassRow & { readonly device_id: string })[]
  readonly by_device_of: number
}

export interface PairRow {
  readonly a: string
  readonly b: string
  readonly seconds: number
  readonly r: number | null
  readonly p: number | null
  readonly q: number | null
  readonly product_z: number | null
  readonly product_q: number | null
}

export interface LagProfile {
  readonly a: string
  readonly b: string
  /** r in standard errors, r sqrt(n), at each of `lags`, seconds; null with too few. Positive lags: b follows a. */
  readonly lags: readonly number[]
  readonly z: readonly (number | null)[]
  readonly best_lag: number
  readonly p_sidak: number
  readonly q: number
}

export interface PairsPart {
  readonly tested: number
  /** `window`: every pair over the whole window. `hours`: single hours of those pairs that have rows, the smallest q first. */
  readonly kind: 'window' | 'hours'
  readonly rows: readonly (PairRow & { readonly hour?: string; readonly best_lag?: number | null })[]
  /** Of the pairs with the smallest P. */
  readonly lags: readonly LagProfile[]
  readonly reason?: string
}

export interface EventPart {
  readonly name: string
  readonly hypothesis: Hypothesis
  readonly tail: Tail
  readonly profile: string
  readonly start: string
  readonly end: string
  readonly devices: number | null
  readonly description: string | null
  readonly declared_before_start: boolean
  readonly status: 'declared' | 'computed' | 'withdrawn'
  readonly p: number | null
  readonly statistic: number | null
  readonly reason: string | null
  /** Among all events ever computed. */
  readonly holm: number | null
  readonly control_p: number | null
  readonly chunk_set_hash: string | null
}

export interface ChunkPart {
  readonly id: string
  readonly sha256: string
  readonly rows: number
  readonly bytes: number
  readonly from: string
  readonly to: string
  readonly verified_at: string
}

export interface Provenance {
  readonly library_version: string
  readonly report_version: string
  /** Methods of the rows that were read, by table. */
  readonly method_versions: Readonly<Record<string, readonly string[]>>
  readonly parameters: Readonly<Record<string, string | number>>
  /** SHA-256 of the lines `id sha256` of the verified chunks that overlap the window, in order of id. */
  readonly chunk_set_hash: string
  readonly chunks: readonly ChunkPart[]
  /** Chunks that overlap it and are not verified: the numbers will change. */
  readonly unverified_chunks: number
}

export interface Finding {
  readonly subject: string
  /** The names of a pair, of which the subject is made. */
  readonly names?: readonly [string, string]
  /** Of `device`: its id, for the page to link to. */
  readonly device_id?: string
  readonly finding: string
  /** By Holm; null of what is no statistic. */
  readonly p_holm: number | null
}

export interface ReportData {
  readonly made_at: string
  readonly from: string
  readonly to: string
  /** Null: all. */
  readonly device_ids: readonly string[] | null
  readonly verdict: string
  readonly findings: readonly Finding[]
  readonly samples: number
  readonly bytes: number
  readonly network: NetworkPart
  readonly devices: readonly DevicePart[]
  readonly tests: TestsPart
  readonly pairs: PairsPart
  readonly events: readonly EventPart[]
  readonly provenance: Provenance
}
