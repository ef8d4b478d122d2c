import { createHash } from 'node:crypto'
import { inTransaction, type Queryable } from '../db/pool.ts'
import { readSlices } from '../db/slices.ts'
import { lockBuckets, type NetworkRow, readNetworkHours, replaceCoherence, replaceNetwork } from '../db/stats.ts'
import { COHERENCE_METHOD_VERSION, coherencePairs } from '../pipeline/coherence.ts'
import { hasTrials, NETWORK_METHOD_VERSION, networkTests, type NetworkSums } from '../pipeline/network.ts'
import { addNetworkSums, networkBuckets, PROFILES, trialSeries } from '../pipeline/network-buckets.ts'
import { decodePartial } from '../pipeline/slice-codec.ts'
import { mergePartials, type SlicePartial } from '../pipeline/slice.ts'
import type { ActiveJob, JobContext } from './context.ts'
import { assertNoneEvicted, restoreSlices } from './restore-slices.ts'
import { HOUR } from './test-chunk.ts'

/** Pairs grow as the square of the devices; above this many the hour gets its network rows, and no pair rows. */
export const PAIRS_MAX_DEVICES = 64
const DAY = 24 * HOUR

/**
 * Recomputes one hour of the network, its minutes and its day, and of every pair, from the per-second series of all devices.
 */
export async function runRollupCoherence(
  context: JobContext,
  job: Pick<ActiveJob<'rollup-coherence'>, 'data' | 'signal'>,
) {
  const { hour } = job.data
  const end = hour + HOUR
  const day = Math.floor(hour / DAY) * DAY
  await restoreSlices(context, hour, end, job.signal)
  await context.checkpoint('rollup: restored')
  return await inTransaction(context.pool, async (tx) => {
    await lockBuckets(tx, [`rollup-coherence:${hour}`, `rollup-network:${day}`])
    const slices = await readSlices(tx, hour, end)
    await assertNoneEvicted(tx, hour, end)
    const partials = slices.map((slice) => decodePartial(slice.partial, slice.deviceId, slice.sliceStart))
    const merged = mergeByDevice(partials, hour, end)
    const series = trialSeries(merged, 'all_bits').filter(hasTrials)
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
    const changedPairs = await replaceCoherence(tx, hour, end, COHERENCE_METHOD_VERSION, rows)
    const changedNetwork = await replaceNetwork(
      tx,
      { from: hour, to: end, least: 0 },
      NETWORK_METHOD_VERSION,
      hourRows(merged, hour),
    )
    await rollUpDay(tx, day)
    return { output: { devices: series.length, pairs: pairs.length, changed: changedPairs + changedNetwork } }
  })
}

/** Each device's partials of [from, to) as one. */
export function mergeByDevice(partials: readonly SlicePartial[], from: number, to: number): SlicePartial[] {
  return [...Map.groupBy(partials, (partial) => partial.deviceId).values()].map((parts) =>
    mergePartials(parts, from, to),
  )
}

/** The rows of an hour and of its minutes, in every profile that has trials. */
function hourRows(merged: readonly SlicePartial[], hour: number): NetworkRow[] {
  return PROFILES.flatMap((profile) => {
    const { minutes, whole } = networkBuckets(trialSeries(merged, profile), hour)
    return [...minutes, ...(whole ? [whole] : [])].map(({ start, end, deviceIds, sums }) =>
      networkRow(profile, start, end, hashOf(deviceIds), sums),
    )
  })
}

/** A day is the sum of its hours as they stand, in every profile. */
async function rollUpDay(tx: Queryable, day: number): Promise<void> {
  const hours = Map.groupBy(await readNetworkHours(tx, day), ({ profile }) => profile)
  const rows = [...hours].map(([profile, parts]) => {
    // The largest |S| is kept beside the sums.
    const sums = parts.map((part) => ({ ...part.sums, max_abs_stouffer: part.maxAbsStouffer }) as NetworkSums)
    return networkRow(profile, day, day + DAY, hashOf(parts.map((part) => part.deviceSetHash)), addNetworkSums(sums))
  })
  await replaceNetwork(tx, { from: day, to: day + DAY, least: DAY }, NETWORK_METHOD_VERSION, rows)
}

function hashOf(names: readonly string[]): string {
  return createHash('sha256').update(names.join('\n')).digest('hex')
}

function networkRow(profile: string, start: number, end: number, hash: string, all: NetworkSums): NetworkRow {
  const { max_abs_stouffer: maxAbsStouffer, ...sums } = all
  return {
    start,
    end,
    profile,
    deviceCount: sums.devices,
    deviceSetHash: hash,
    sums,
    ...networkTests(all),
    maxAbsStouffer,
    normalization: 'theoretical',
  }
}
