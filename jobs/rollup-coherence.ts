import { createHash } from 'node:crypto'
import { inTransaction } from '../db/pool.ts'
import { readSlices } from '../db/slices.ts'
import { lockBucket, replaceCoherence, replaceNetwork, type NetworkRow } from '../db/stats.ts'
import { COHERENCE_METHOD_VERSION, coherencePairs } from '../pipeline/coherence.ts'
import { NETWORK_METHOD_VERSION, networkStats, sortedDeviceIds, type DeviceSeries } from '../pipeline/network.ts'
import { decodePartial } from '../pipeline/slice-codec.ts'
import { mergePartials, type SlicePartial } from '../pipeline/slice.ts'
import type { ActiveJob, JobContext } from './context.ts'
import { assertNoneEvicted, restoreSlices } from './restore-slices.ts'
import { HOUR } from './test-chunk.ts'

/** Pairs grow as the square of the devices; above this many the hour gets its network row, and no pair rows. */
export const PAIRS_MAX_DEVICES = 64

/** Recomputes one hour of the network and of every pair from the per-second series of all devices. */
export async function runRollupCoherence(
  context: JobContext,
  job: Pick<ActiveJob<'rollup-coherence'>, 'data' | 'signal'>,
) {
  const { hour } = job.data
  const end = hour + HOUR
  await restoreSlices(context, hour, end, job.signal)
  await context.checkpoint('rollup: restored')
  return await inTransaction(context.pool, async (tx) => {
    await lockBucket(tx, `rollup-coherence:${hour}`)
    const slices = await readSlices(tx, hour, end)
    await assertNoneEvicted(tx, hour, end)
    const partials = slices.map((slice) => decodePartial(slice.partial, slice.deviceId, slice.sliceStart))
    const series = deviceSeries(partials, hour, end)
    const withPairs = series.length <= PAIRS_MAX_DEVICES
    if (!withPairs)
      context.log.warn({ devices: series.length, most: PAIRS_MAX_DEVICES }, 'too many devices for pair rows')
    const pairs = withPairs ? coherencePairs(series) : []
    const rows = pairs.map((pair) => ({
      deviceA: pair.device_a_id,
      deviceB: pair.device_b_id,
      correlationMetrics: pair.correlation_metrics,
      tests: pair.tests,
    }))
    const changed = await replaceCoherence(tx, hour, end, COHERENCE_METHOD_VERSION, rows)
    await replaceNetwork(tx, hour, end, NETWORK_METHOD_VERSION, series.length === 0 ? null : networkRow(series, hour))
    return { output: { devices: series.length, pairs: pairs.length, changed } }
  })
}

/** The seconds of [from, to) of every device, each from all its partials. */
export function deviceSeries(partials: readonly SlicePartial[], from: number, to: number): DeviceSeries[] {
  return [...Map.groupBy(partials, (partial) => partial.deviceId)].map(([deviceId, parts]) => {
    const merged = mergePartials(parts, from, to)
    return { deviceId, bits: merged.secondBits, ones: merged.secondOnes }
  })
}

function networkRow(series: readonly DeviceSeries[], hour: number): NetworkRow {
  const {
    netvar,
    pair,
    devvar,
    covar,
    max_abs_stouffer,
    method_version: _,
    normalization,
    profile,
    ...sums
  } = networkStats(series, hour)
  return {
    profile,
    deviceCount: series.length,
    deviceSetHash: createHash('sha256').update(sortedDeviceIds(series).join('\n')).digest('hex'),
    sums,
    netvar,
    pair,
    devvar,
    covar,
    maxAbsStouffer: max_abs_stouffer,
    normalization,
  }
}
