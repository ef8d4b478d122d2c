import { setImmediate } from 'node:timers/promises'
import type { Queryable } from '../db/pool.ts'
import type { ReportWindow } from '../db/report.ts'
import { listEvictedChunks, readSlices } from '../db/slices.ts'
import { controlSeries } from '../pipeline/control.ts'
import { networkBuckets, type NetworkBucket, trialSeries } from '../pipeline/network-buckets.ts'
import type { Missing } from '../pipeline/report/report-data.ts'
import { decodePartial } from '../pipeline/slice-codec.ts'
import type { DeviceSeries } from '../pipeline/trials.ts'
import { mergeByDevice } from './rollup-coherence.ts'
import { HOUR } from './test-chunk.ts'

/** A day of a hundred devices: more takes memory and time that a report should not. */
const MOST_DEVICE_SECONDS = 100 * 24 * HOUR
/**
 * Bits of a control trial at most. A trial of 4 KB would take 256 blocks of the generator; the score of 512 bits is as good as
 * normal.
 */
const MOST_CONTROL_BITS = 512

/** The seconds of the window: all devices', their minutes as a network, and those of the control; or why there are none. */
export type WindowSeries =
  | Missing
  | {
      readonly series: readonly DeviceSeries[]
      readonly minutes: readonly NetworkBucket[]
      readonly control: readonly NetworkBucket[]
    }

/** Reads them hour by hour; heartbeats go out in between. */
export async function readWindowSeries(
  db: Queryable,
  { from, to, deviceIds }: ReportWindow,
  options: { trials: readonly { deviceId: string }[]; seed: string; signal: AbortSignal },
): Promise<WindowSeries> {
  const devices = options.trials.length
  if (devices === 0) return { reason: 'No device sent anything in this window.' }
  if (devices * (to - from) > MOST_DEVICE_SECONDS) {
    return { reason: `${devices} devices are too many to go through this window second by second.` }
  }
  if ((await listEvictedChunks(db, from, to)).length > 0) {
    return {
      reason:
        'The seconds of this window have left the database; `coherence backfill slices --again` brings them back.',
    }
  }
  const whole = new Map<string, DeviceSeries>()
  const minutes: NetworkBucket[] = []
  const control: NetworkBucket[] = []
  for (let hour = from; hour < to; hour += HOUR) {
    options.signal.throwIfAborted()
    const slices = await readSlices(db, hour, hour + HOUR)
    const partials = slices
      .filter(({ deviceId }) => deviceIds?.includes(deviceId) ?? true)
      .map((slice) => decodePartial(slice.partial, slice.deviceId, slice.sliceStart))
    const series = trialSeries(mergeByDevice(partials, hour, hour + HOUR), 'all_bits')
    for (const device of series) copyInto(whole, device, hour - from, to - from)
    if (deviceIds !== null) minutes.push(...networkBuckets(series, hour).minutes)
    const short = series.map(withoutLongTrials)
    control.push(...networkBuckets(controlSeries(short, { seed: options.seed, seconds: hour }), hour).minutes)
    await setImmediate()
  }
  if (control.length === 0) return { reason: 'The seconds of this window are not in the database.' }
  return { series: [...whole.values()], minutes, control }
}

function copyInto(whole: Map<string, DeviceSeries>, part: DeviceSeries, at: number, length: number): void {
  const { deviceId } = part
  let device = whole.get(deviceId)
  if (!device) {
    whole.set(deviceId, (device = { deviceId, bits: new Uint32Array(length), ones: new Uint32Array(length) }))
  }
  device.bits.set(part.bits, at)
  device.ones.set(part.ones, at)
}

/** Which seconds have a trial, and of how many bits, as the control needs it; the ones of a long trial stand for themselves. */
export function withoutLongTrials({ deviceId, bits, ones }: DeviceSeries): DeviceSeries {
  const isLong = (t: number) => bits[t] > MOST_CONTROL_BITS && ones[t] > 0 && ones[t] < bits[t]
  return {
    deviceId,
    bits: bits.map((n, t) => (isLong(t) ? MOST_CONTROL_BITS : n)),
    // Any number that is no failure: the control replaces it.
    ones: ones.map((k, t) => (isLong(t) ? 1 : k)),
  }
}
