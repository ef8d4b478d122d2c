import type { Queryable } from '../db/pool.ts'
import { readNetworkBuckets, type ReportWindow } from '../db/report.ts'
import { CONTROL_GENERATOR, controlSeries } from '../pipeline/control.ts'
import { addNetworkSums, type NetworkBucket } from '../pipeline/network-buckets.ts'
import { NETWORK_METHOD_VERSION, networkTests, type NetworkSums } from '../pipeline/network.ts'
import { networkTrace, secondTrace } from '../pipeline/report/network-trace.ts'
import type { NetworkPart } from '../pipeline/report/report-data.ts'
import { type WindowSeries, withoutLongTrials } from './report-series.ts'

const MINUTE = 60
const HOUR = 3600
/** Longer windows are drawn by the hour. */
const MOST_SECONDS_BY_MINUTE = 2 * 24 * HOUR

/** So few are drawn by the second. */
const MOST_MINUTES_BY_SECOND = 30

interface Buckets {
  readonly seconds: number
  readonly rows: readonly { end: number; sums: NetworkSums; methodVersion: string }[]
}

/** The network of the window from its rows; of a choice of devices, which has none, from the seconds. */
export async function networkPart(
  db: Queryable,
  window: ReportWindow,
  series: WindowSeries,
  given: { trials: readonly { trials: number; failed: number }[]; seed: string },
): Promise<{ network: NetworkPart; versions: string[] }> {
  const { seconds, rows } = window.deviceIds === null ? await readBuckets(db, window) : ownBuckets(series)
  const isShort = seconds === MINUTE && rows.length <= MOST_MINUTES_BY_SECOND && 'series' in series
  const sent = given.trials.filter(({ trials }) => trials > 0)
  const covered = sent.reduce((sum, { trials, failed }) => sum + trials + failed, 0)
  const missing = sent.length * (window.to - window.from) - covered
  const sums =
    rows.length === 0 ? null : { ...addNetworkSums(rows.map((row) => row.sums)), devices: sent.length, missing }
  return {
    network: {
      profile: 'all_bits',
      normalization: 'theoretical',
      bucket_seconds: rows.length === 0 ? null : isShort ? 1 : seconds,
      devices: sent.length,
      missing,
      sums,
      tests: sums && networkTests(sums),
      trace: isShort ? secondTrace(series.series, window.from) : networkTrace(rows),
      control: describeControl(series, given.seed, { from: window.from, seconds, isShort }),
    },
    versions: [...new Set(rows.map(({ methodVersion }) => methodVersion))].toSorted(),
  }
}

/** Minutes, where they are kept and not too many; else hours. */
async function readBuckets(db: Queryable, window: ReportWindow): Promise<Buckets> {
  const minutes = window.to - window.from > MOST_SECONDS_BY_MINUTE ? [] : await readNetworkBuckets(db, window, MINUTE)
  if (minutes.length > 0) return { seconds: MINUTE, rows: minutes }
  return { seconds: HOUR, rows: await readNetworkBuckets(db, window, HOUR) }
}

function ownBuckets(series: WindowSeries): Buckets {
  const minutes = 'reason' in series ? [] : series.minutes
  return { seconds: MINUTE, rows: minutes.map((bucket) => ({ ...bucket, methodVersion: NETWORK_METHOD_VERSION })) }
}

function describeControl(
  series: WindowSeries,
  seed: string,
  { from, seconds, isShort }: { from: number; seconds: number; isShort: boolean },
): NetworkPart['control'] {
  if ('reason' in series) return { reason: series.reason }
  const buckets = byLength(series.control, seconds)
  const trace = isShort
    ? secondTrace(controlSeries(series.series.map(withoutLongTrials), { seed, seconds: from }), from)
    : networkTrace(buckets)
  return {
    seed,
    generator: CONTROL_GENERATOR,
    tests: networkTests(addNetworkSums(buckets.map(({ sums }) => sums))),
    trace: trace.map(({ end, netvar, pair }) => ({ end, netvar, pair })),
  }
}

/** Minutes, in the order of time, added up to buckets of so many seconds. */
function byLength(minutes: readonly NetworkBucket[], seconds: number): { end: number; sums: NetworkSums }[] {
  const groups = Map.groupBy(minutes, ({ start }) => Math.floor(start / seconds))
  return [...groups].map(([place, parts]) => ({
    end: (place + 1) * seconds,
    sums: addNetworkSums(parts.map(({ sums }) => sums)),
  }))
}
