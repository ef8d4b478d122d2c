import { listEvents } from '../db/events.ts'
import type { Queryable } from '../db/pool.ts'
import {
  countPairHours,
  findNewestHour,
  hasDeviceHours,
  listReportChunks,
  listReportDevices,
  readChunkAlarms,
  readChunkPValues,
  readDeviceHours,
  readPairHours,
  type ReportWindow,
  sumTrials,
} from '../db/report.ts'
import { CONTROL_GENERATOR } from '../pipeline/control.ts'
import { COHERENCE_METHOD_VERSION } from '../pipeline/pair-coherence.ts'
import { devicePart } from '../pipeline/report/device-part.ts'
import { eventParts } from '../pipeline/report/event-part.ts'
import { isoTime } from '../pipeline/report/network-trace.ts'
import { pairsOfWindow } from '../pipeline/report/pairs-part.ts'
import { type DevicePart, type PairsPart, REPORT_VERSION, type ReportData } from '../pipeline/report/report-data.ts'
import { chunkPasses, testsPart } from '../pipeline/report/tests-part.ts'
import { findFindings, verdictOf } from '../pipeline/report/verdict.ts'
import type { JobContext } from './context.ts'
import { chunkSetHash } from './due-report.ts'
import { networkPart } from './report-network.ts'
import { readWindowSeries, type WindowSeries } from './report-series.ts'
import { HOUR } from './test-chunk.ts'

export const DAY = 24 * HOUR
const MOST_PAIR_HOURS = 200

type Asked = Pick<JobContext, 'pool' | 'settings'>

/** Yesterday, UTC, if it has data; else the 24 hours that end with the newest hour that has any; without data yesterday. */
export async function defaultWindow(db: Queryable, now: Date): Promise<Pick<ReportWindow, 'from' | 'to'>> {
  const today = Math.floor(now.getTime() / 1000 / DAY) * DAY
  const yesterday = { from: today - DAY, to: today }
  if (await hasDeviceHours(db, yesterday.from, yesterday.to)) return yesterday
  const newest = await findNewestHour(db, today + 2 * DAY)
  return newest === null ? yesterday : { from: newest + HOUR - DAY, to: newest + HOUR }
}

/**
 * Everything the report says, from the rows of the window, which must be whole hours. Reads only, and never the chunks' bytes.
 * Up to `MOST_DEVICE_SECONDS` the seconds of all devices are read too, for the control and for every pair.
 */
export async function collectReport(
  { pool, settings }: Asked,
  window: ReportWindow,
  options: { now: Date; signal: AbortSignal },
): Promise<ReportData> {
  const hours = await readDeviceHours(pool, window)
  const trials = await sumTrials(pool, window)
  const known = await listReportDevices(pool, window.deviceIds)
  const seed = isoTime(window.from)
  const series = await readWindowSeries(pool, window, { trials, seed, signal: options.signal })
  const { network, versions } = await networkPart(pool, window, series, { trials, seed })
  const { chunks: tested, alarms, versions: batteries } = await readChunkAlarms(pool, window)
  const pValues = await readChunkPValues(pool, window)
  const tests = testsPart(pValues, tested)
  const passes = chunkPasses(pValues)
  const { pairs, versions: pairVersions } = await pairsPart(pool, window, series)
  options.signal.throwIfAborted()

  const hoursOf = Map.groupBy(hours, ({ deviceId }) => deviceId)
  const failedOf = new Map(trials.map(({ deviceId, failed }) => [deviceId, failed]))
  const gone = [...hoursOf.keys()].filter((id) => !known.some((device) => device.id === id))
  const nothing = { name: null, status: null, clientType: null, lastSeenAt: null }
  const devices = [...known, ...gone.map((id) => ({ id, ...nothing }))].map((device): DevicePart => {
    const found = {
      failed: failedOf.get(device.id) ?? 0,
      chunk_tests: passes.get(device.id) ?? { passed: 0, tested: 0 },
      alarms: alarms[device.id] ?? 0,
    }
    return devicePart(device, hoursOf.get(device.id) ?? [], found, window.to - window.from)
  })
  const chunks = await listReportChunks(pool, window)
  const verified = chunks.flatMap(({ verified_at: at, status: _status, ...chunk }) =>
    at === null ? [] : [{ ...chunk, verified_at: at }],
  )
  const samples = devices.reduce((sum, device) => sum + device.samples, 0)
  const findings = findFindings({ network, devices, tests, pairs })
  return {
    made_at: options.now.toISOString(),
    from: isoTime(window.from),
    to: isoTime(window.to),
    device_ids: window.deviceIds,
    verdict: verdictOf(devices, samples, findings),
    findings,
    samples,
    bytes: devices.reduce((sum, device) => sum + device.bytes, 0),
    network,
    devices,
    tests,
    pairs,
    events: eventParts(await listEvents(pool), window.from, window.to),
    provenance: {
      library_version: settings.libraryVersion,
      report_version: REPORT_VERSION,
      method_versions: {
        network_stats: versions,
        device_timeslice_stats: [...new Set(hours.map(({ methodVersion }) => methodVersion))].toSorted(),
        coherence_stats: pairVersions,
        chunk_analysis: batteries,
      },
      parameters: {
        profile: 'all_bits',
        normalization: 'theoretical',
        control_seed: seed,
        control_generator: CONTROL_GENERATOR,
        pairs_max_devices: settings.pairsMaxDevices,
        retention_days: settings.retentionDays,
      },
      chunk_set_hash: chunkSetHash(verified),
      chunks: verified,
      unverified_chunks: chunks.length - verified.length,
    },
  }
}

/** Every pair from the seconds; where these are too many, the hours of those pairs that have rows. */
async function pairsPart(
  db: Queryable,
  window: ReportWindow,
  series: WindowSeries,
): Promise<{ pairs: PairsPart; versions: string[] }> {
  if ('series' in series) return { pairs: pairsOfWindow(series.series), versions: [COHERENCE_METHOD_VERSION] }
  const { tested, versions } = await countPairHours(db, window)
  const rows = (await readPairHours(db, window, MOST_PAIR_HOURS)).map(({ productZ, productQ, bestLag, ...row }) => ({
    ...row,
    product_z: productZ,
    product_q: productQ,
    best_lag: bestLag,
  }))
  return { pairs: { tested, kind: 'hours', rows, lags: [], reason: series.reason }, versions }
}
