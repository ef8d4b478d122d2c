import { listWatchedPairs, replaceCoherence } from '../db/coherence.ts'
import {
  type DeviceTrials,
  type NetworkRow,
  readNetworkHours,
  replaceDeviceTrials,
  replaceNetwork,
  sumDeviceTrials,
} from '../db/network.ts'
import { inTransaction, type Queryable } from '../db/pool.ts'
import { readSlices } from '../db/slices.ts'
import { lockBuckets } from '../db/stats.ts'
import { coherencePairs, pairName } from '../pipeline/coherence.ts'
import { NETWORK_METHOD_VERSION, networkTests, type NetworkSums } from '../pipeline/network.ts'
import { type DeviceSeries, hasTrials } from '../pipeline/trials.ts'
import { addNetworkSums, networkBuckets, type Profile, PROFILES, trialSeries } from '../pipeline/network-buckets.ts'
import { type Normalization, normalize, type Reference, referenceOf, trialSums } from '../pipeline/normalization.ts'
import { COHERENCE_METHOD_VERSION } from '../pipeline/pair-coherence.ts'
import { decodePartial } from '../pipeline/slice-codec.ts'
import { mergePartials, type SlicePartial } from '../pipeline/slice.ts'
import { sha256OfLines } from '../storage/object-store.ts'
import type { ActiveJob, JobContext } from './context.ts'
import { assertNoneEvicted, restoreSlices } from './restore-slices.ts'
import { HOUR } from './test-chunk.ts'

const DAY = 24 * HOUR

/**
 * Recomputes one hour of the network, its minutes and its day, and of the pairs, from the per-second series of all devices.
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
    const ofProfile = PROFILES.map((profile) => ({ profile, series: trialSeries(merged, profile) }))
    const series = trialSeries(merged, 'all_bits').filter(hasTrials)
    const watched = new Set((await listWatchedPairs(tx)).map(({ a, b }) => pairName(a, b)))
    const { pairs, tested } = coherencePairs(series, { mostDevices: context.settings.pairsMaxDevices, watched })
    const rows = pairs.map((pair) => ({
      deviceA: pair.device_a_id,
      deviceB: pair.device_b_id,
      correlationMetrics: pair.correlation_metrics,
      tests: pair.tests,
    }))
    const changedPairs = await replaceCoherence(tx, hour, end, COHERENCE_METHOD_VERSION, rows)
    const references = await readReferences(tx, hour, context.settings.referenceDays)
    await replaceDeviceTrials(
      tx,
      hour,
      NETWORK_METHOD_VERSION,
      ofProfile.flatMap(({ profile, series: devices }) =>
        deviceTrials(profile, devices, references.get(profile) ?? []),
      ),
    )
    const networkRows = ofProfile.flatMap(({ profile, series: devices }) => [
      ...hourRows(profile, 'theoretical', devices, hour),
      ...hourRows(profile, 'empirical', normalize(devices, references.get(profile) ?? []), hour),
    ])
    const bounds = { from: hour, to: end, least: 0 }
    const changedNetwork = await replaceNetwork(tx, bounds, NETWORK_METHOD_VERSION, networkRows)
    await rollUpDay(tx, day)
    const changed = changedPairs + changedNetwork
    return { output: { devices: series.length, tested, pairs: pairs.length, changed } }
  })
}

/** Each device's partials of [from, to) as one. */
export function mergeByDevice(partials: readonly SlicePartial[], from: number, to: number): SlicePartial[] {
  return [...Map.groupBy(partials, (partial) => partial.deviceId).values()].map((parts) =>
    mergePartials(parts, from, to),
  )
}

/** The devices' own means and variances over the days before an hour, by profile. The hour itself has no part in them. */
async function readReferences(tx: Queryable, hour: number, days: number): Promise<Map<string, Reference[]>> {
  const sums = days === 0 ? [] : await sumDeviceTrials(tx, hour - days * DAY, hour)
  const byProfile = Map.groupBy(sums, ({ profile }) => profile)
  return new Map(
    [...byProfile].map(([profile, devices]) => [
      profile,
      devices.flatMap((device) => referenceOf(device.deviceId, device) ?? []),
    ]),
  )
}

function deviceTrials(
  profile: Profile,
  series: readonly DeviceSeries[],
  references: readonly Reference[],
): DeviceTrials[] {
  return series.map((device) => {
    const reference = references.find(({ deviceId }) => deviceId === device.deviceId)
    return {
      deviceId: device.deviceId,
      profile,
      ...trialSums(device),
      referenceTrials: reference?.trials ?? null,
      referenceMean: reference?.mean ?? null,
      referenceVariance: reference?.variance ?? null,
    }
  })
}

/** The rows of an hour and of its minutes; none without series. */
function hourRows(
  profile: Profile,
  normalization: Normalization,
  series: readonly DeviceSeries[],
  hour: number,
): NetworkRow[] {
  const { minutes, whole } = networkBuckets(series, hour)
  return [...minutes, ...(whole ? [whole] : [])].map(({ start, end, deviceIds, sums }) =>
    networkRow({ start, end, profile, normalization }, sha256OfLines(deviceIds), sums),
  )
}

/** A day is the sum of its hours as they stand, in every profile and normalisation. */
async function rollUpDay(tx: Queryable, day: number): Promise<void> {
  const hours = Map.groupBy(await readNetworkHours(tx, day), (hour) => `${hour.profile} ${hour.normalization}`)
  const rows = [...hours.values()].map((parts) => {
    const { profile, normalization } = parts[0]
    // The largest |S| is kept beside the sums.
    const sums = parts.map((part) => ({ ...part.sums, max_abs_stouffer: part.maxAbsStouffer }) as NetworkSums)
    const bucket = { start: day, end: day + DAY, profile, normalization }
    return networkRow(bucket, sha256OfLines(parts.map((part) => part.deviceSetHash)), addNetworkSums(sums))
  })
  await replaceNetwork(tx, { from: day, to: day + DAY, least: DAY }, NETWORK_METHOD_VERSION, rows)
}

function networkRow(
  bucket: Pick<NetworkRow, 'start' | 'end' | 'profile' | 'normalization'>,
  hash: string,
  all: NetworkSums,
): NetworkRow {
  const { max_abs_stouffer: maxAbsStouffer, ...sums } = all
  return { ...bucket, deviceCount: sums.devices, deviceSetHash: hash, sums, ...networkTests(all), maxAbsStouffer }
}
