import {
  type EventRow,
  findPendingEvent,
  listEventBlockers,
  listEventChunks,
  lockPendingEvent,
  writeEventResult,
} from '../db/events.ts'
import { inTransaction, type Queryable } from '../db/pool.ts'
import { readSlices } from '../db/slices.ts'
import { CONTROL_GENERATOR, controlSeries } from '../pipeline/control.ts'
import { EVENT_METHOD_VERSION, type EventResult, eventTest } from '../pipeline/event.ts'
import { networkTests, type NetworkTests } from '../pipeline/network.ts'
import { trialSeries, windowSums } from '../pipeline/network-buckets.ts'
import { decodePartial } from '../pipeline/slice-codec.ts'
import { SLICE_SECONDS } from '../pipeline/slice.ts'
import type { DeviceSeries } from '../pipeline/trials.ts'
import { sha256OfLines } from '../storage/object-store.ts'
import type { ActiveJob, JobContext } from './context.ts'
import { assertNoneEvicted, restoreSlices } from './restore-slices.ts'
import { mergeByDevice } from './rollup-coherence.ts'
import { HOUR } from './test-chunk.ts'

/**
 * Computes a declared event, once, when its data are complete; until then it only says what is missing. Completeness, data
 * and result belong to one snapshot: whatever is proved later has no part in it.
 */
export async function runComputeEvent(context: JobContext, job: Pick<ActiveJob<'compute-event'>, 'data' | 'signal'>) {
  const id = job.data.event_id
  const pending = await findPendingEvent(context.pool, id)
  if (pending === null) return { output: { skipped: 'computed already, withdrawn, or gone' } }
  const waitsFor = await listEventBlockers(context.pool, id)
  if (waitsFor.length > 0) return { output: { waitsFor } }
  const from = floorTo(pending.start, SLICE_SECONDS)
  await restoreSlices(context, from, pending.end, job.signal)
  await context.checkpoint('event: restored')
  return await inTransaction(context.pool, async (tx) => {
    await tx.query('set transaction isolation level repeatable read')
    const event = await lockPendingEvent(tx, id)
    if (event === null) return { output: { skipped: 'another worker computes it' } }
    const blockers = await listEventBlockers(tx, id)
    if (blockers.length > 0) return { output: { waitsFor: blockers } }
    await assertNoneEvicted(tx, from, event.end)
    await context.checkpoint('event: snapshot')
    const result = await computeEvent(tx, event, job.signal)
    await writeEventResult(tx, id, EVENT_METHOD_VERSION, result)
    await context.checkpoint('event: before commit')
    context.log.info({ event: event.name, p: result.p }, 'event computed')
    return { output: { p: result.p } }
  })
}

async function computeEvent(tx: Queryable, event: EventRow, signal: AbortSignal): Promise<EventResult> {
  const { hypothesis, tail, controlSeed: seed } = event
  const real = windowSums()
  const control = windowSums()
  for (let from = event.start; from < event.end; from = floorTo(from, HOUR) + HOUR) {
    signal.throwIfAborted()
    const to = Math.min(floorTo(from, HOUR) + HOUR, event.end)
    const series = await readTrials(tx, event, from, to)
    real.add(series, from, to - from)
    control.add(await controlOf(tx, series, seed, from), from, to - from)
  }
  const { sums, deviceIds } = real.finish()
  const { chunks, lastVerifiedAt } = await listEventChunks(tx, event.id)
  const describe = (tests: NetworkTests) => ({ ...eventTest(tests, hypothesis, tail), tests })
  return {
    ...describe(networkTests(sums)),
    sums,
    normalization: 'theoretical',
    device_set_hash: sha256OfLines(deviceIds),
    control: { seed, generator: CONTROL_GENERATOR, ...describe(networkTests(control.finish().sums)) },
    chunks: chunks.length,
    chunk_set_hash: sha256OfLines(chunks),
    last_verified_at: lastVerifiedAt,
  }
}

/** What the event's devices sent in the seconds [from, to), which lie in one hour. */
async function readTrials(tx: Queryable, event: EventRow, from: number, to: number): Promise<DeviceSeries[]> {
  const first = floorTo(from, SLICE_SECONDS)
  const last = floorTo(to + SLICE_SECONDS - 1, SLICE_SECONDS)
  const slices = await readSlices(tx, first, last)
  const partials = slices
    .filter(({ deviceId }) => event.deviceIds?.includes(deviceId) ?? true)
    .map((slice) => decodePartial(slice.partial, slice.deviceId, slice.sliceStart))
  return trialSeries(mergeByDevice(partials, first, last), event.profile).map(({ deviceId, bits, ones }) => {
    return { deviceId, bits: bits.subarray(from - first, to - first), ones: ones.subarray(from - first, to - first) }
  })
}

/** Devices whose control is made in one go: of 4 KB a second, an hour of each takes 70 ms. */
const CONTROL_BATCH = 50

async function controlOf(
  tx: Queryable,
  series: readonly DeviceSeries[],
  seed: string,
  from: number,
): Promise<DeviceSeries[]> {
  const control: DeviceSeries[] = []
  for (let i = 0; i < series.length; i += CONTROL_BATCH) {
    control.push(...controlSeries(series.slice(i, i + CONTROL_BATCH), { seed, seconds: from }))
    // So that heartbeats go out, and the server does not take the transaction for abandoned.
    await tx.query('select')
  }
  return control
}

function floorTo(second: number, step: number): number {
  return Math.floor(second / step) * step
}
