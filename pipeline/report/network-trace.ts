import { cumulativeDeviation, netvarEnvelope, pairEnvelope } from '../cumulative-deviation.ts'
import type { NetworkBucket } from '../network-buckets.ts'
import type { DeviceSeries } from '../trials.ts'
import type { TracePoint } from './report-data.ts'

/**
 * The walks of `cumulativeDeviation` at the end of each bucket, from the buckets' sums. The buckets must be in the order of
 * time.
 */
export function networkTrace(buckets: readonly Pick<NetworkBucket, 'end' | 'sums'>[]): TracePoint[] {
  const now = { seconds: 0, pairs: 0, netvar: 0, pair: 0 }
  return buckets.map(({ end, sums }) => {
    now.seconds += sums.seconds
    now.pairs += sums.sum_pairs
    now.netvar += sums.sum_s2 - sums.seconds
    now.pair += sums.sum_c
    return {
      end: isoTime(end),
      seconds: now.seconds,
      netvar: now.netvar,
      netvar_95: netvarEnvelope(now),
      pair: now.pair,
      pair_95: pairEnvelope(now),
    }
  })
}

/** The same second by second, of series from `from` on; seconds without a trial are left out. */
export function secondTrace(series: readonly DeviceSeries[], from: number): TracePoint[] {
  let before = 0
  return cumulativeDeviation(series).flatMap((now, t) => {
    if (now.seconds === before) return []
    before = now.seconds
    return [
      {
        end: isoTime(from + t + 1),
        seconds: now.seconds,
        netvar: now.netvar,
        netvar_95: netvarEnvelope(now),
        pair: now.pair,
        pair_95: pairEnvelope(now),
      },
    ]
  })
}

/** Seconds since 1970 as ISO 8601. */
export function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString()
}
