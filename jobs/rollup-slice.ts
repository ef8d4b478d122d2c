import { inTransaction } from '../db/pool.ts'
import { readSlices } from '../db/slices.ts'
import { lockBuckets, replaceTimeslices, type TimesliceRow } from '../db/stats.ts'
import { decodePartial } from '../pipeline/slice-codec.ts'
import { SLICE_METHOD_VERSION, sliceStats } from '../pipeline/slice-stats.ts'
import { mergePartials, SLICE_SECONDS, type SlicePartial } from '../pipeline/slice.ts'
import type { ActiveJob, JobContext } from './context.ts'
import { assertNoneEvicted, restoreSlices } from './restore-slices.ts'
import { HOUR } from './test-chunk.ts'

/** Recomputes the minutes and the hour of one device from the partials of all chunks that touch them. */
export async function runRollupSlice(context: JobContext, job: Pick<ActiveJob<'rollup-slice'>, 'data' | 'signal'>) {
  const { device_id: deviceId, hour } = job.data
  await restoreSlices(context, hour, hour + HOUR, job.signal)
  await context.checkpoint('rollup: restored')
  const changed = await inTransaction(context.pool, async (tx) => {
    await lockBuckets(tx, [`rollup-slice:${deviceId}:${hour}`])
    const slices = await readSlices(tx, hour, hour + HOUR, deviceId)
    await assertNoneEvicted(tx, hour, hour + HOUR)
    const partials = slices.map((slice) => decodePartial(slice.partial, slice.deviceId, slice.sliceStart))
    const rows = timesliceRows(partials, hour)
    return await replaceTimeslices(tx, deviceId, hour, hour + HOUR, SLICE_METHOD_VERSION, rows)
  })
  return { output: { changed } }
}

function timesliceRows(partials: readonly SlicePartial[], hour: number): TimesliceRow[] {
  if (partials.length === 0) return []
  const byMinute = Map.groupBy(partials, (partial) => partial.sliceStart)
  const minutes = [...byMinute].map(([start, parts]) => toRow(parts, start, start + SLICE_SECONDS))
  return [...minutes, toRow(partials, hour, hour + HOUR)]
}

function toRow(partials: readonly SlicePartial[], bucketStart: number, bucketEnd: number): TimesliceRow {
  const stats = sliceStats(mergePartials(partials, bucketStart, bucketEnd))
  return {
    bucketStart,
    bucketEnd,
    sampleCount: stats.sample_count,
    byteCount: stats.byte_count,
    entropyEstimate: stats.entropy_estimate,
    uniformityChiSquare: stats.uniformity_chi_square,
    runsTest: stats.runs_test,
    autocorrelation: stats.autocorrelation,
    extra: stats.extra,
  }
}
