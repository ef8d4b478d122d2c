import { keepDays, listChunksOfDevices, measureChunks } from '../db/analysis.ts'
import { inTransaction } from '../db/pool.ts'
import { readUnpackedSamples } from '../db/samples.ts'
import { decodeChunk } from '../pipeline/chunk-format.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import { mergeSamples, selectSamples } from '../pipeline/merge-samples.ts'
import type { SampleColumns } from '../pipeline/samples.ts'
import { requireMemory, samplesMemory } from './analysis-memory.ts'
import type { JobContext } from './context.ts'
import { readReplica } from './read-object.ts'

/** Payload of an analysis or export at most; less where the worker has little memory. */
export const ANALYSIS_MAX_BYTES = 512 * 1024 ** 2

/** Bytes of chunks that it reads at most, other devices' among them: about what one job has the time for. */
const MOST_CHUNK_BYTES = 32 * 1024 ** 3
/** To ask a store for an object takes as long as to read so much more of one. */
const BYTES_OF_A_REQUEST = 256 * 1024

/** A range of sample time as Postgres prints it, and in microseconds since 1970. */
export interface TimeRange {
  readonly from: string
  readonly to: string
  readonly fromUs: bigint
  readonly toUs: bigint
}

/**
 * Every sample of the devices in a range, once, by device: those of uploaded chunks from where chunk_replicas says, all others
 * from Postgres, cut in two by one snapshot. Throws ANALYSIS_INVALID if it is more than ANALYSIS_MAX_BYTES, or than this worker has memory for.
 */
export async function collectSamples(
  context: JobContext,
  deviceIds: readonly string[],
  { from, to, fromUs, toUs }: TimeRange,
  signal: AbortSignal,
): Promise<Map<string, SampleColumns>> {
  const parts = new Map<string, SampleColumns[]>()
  let bytes = 0
  let rows = 0
  const admit = (moreRows: number, moreBytes: number) => {
    if (bytes + moreBytes > ANALYSIS_MAX_BYTES) {
      throw invalid(
        `${deviceIds.length === 1 ? `Device ${deviceIds[0]} has` : 'These devices have'} more than ${ANALYSIS_MAX_BYTES / 1024 ** 2} MiB in this time range. Ask for a shorter one.`,
      )
    }
    requireMemory(context.settings, samplesMemory(rows + moreRows, bytes + moreBytes), 'Ask for a shorter range.')
  }
  const add = (deviceId: string, samples: SampleColumns) => {
    admit(samples.rows, samples.data.length)
    bytes += samples.data.length
    rows += samples.rows
    parts.set(deviceId, [...(parts.get(deviceId) ?? []), samples])
  }
  const replicas = await inTransaction(context.pool, async (tx) => {
    // One snapshot: a chunk that is uploaded a moment later is still among the waiting rows, and only there.
    await tx.query('set transaction isolation level repeatable read read only')
    await keepDays(tx)
    for (const deviceId of deviceIds) add(deviceId, await readUnpackedSamples(tx, deviceId, from, to, admit))
    return await listChunksOfDevices(tx, deviceIds, from, to, context.store.backend)
  })
  for (const replica of replicas) {
    signal.throwIfAborted()
    const { samples } = decodeChunk((await readReplica(context, replica, signal)).bytes)
    for (const deviceId of deviceIds) add(deviceId, selectSamples(samples, deviceId, fromUs, toUs))
  }
  return new Map([...parts].map(([deviceId, samples]) => [deviceId, mergeSamples(samples)]))
}

/**
 * Throws ANALYSIS_INVALID, before any is read, if there are more chunks with these devices in a range than one job can read: once
 * for all of them, or again for each that is analyzed `alone`.
 */
export async function requireReadable(
  context: JobContext,
  deviceIds: readonly string[],
  { from, to }: TimeRange,
  { alone, together }: { alone: boolean; together: boolean },
): Promise<void> {
  const measure = (each: boolean) =>
    measureChunks(context.pool, deviceIds, from, to, { alone: each, leastBytes: BYTES_OF_A_REQUEST })
  const bytes = (alone ? await measure(true) : 0) + (together ? await measure(false) : 0)
  if (bytes > MOST_CHUNK_BYTES) {
    throw invalid(
      `${Math.round(bytes / 1024 ** 3)} GiB of chunks would have to be read for this; ${MOST_CHUNK_BYTES / 1024 ** 3} GiB are the most. Ask for a shorter range or fewer devices.`,
    )
  }
}

/** The range of a row's time_range_start and time_range_end. ANALYSIS_INVALID if it is empty or not in the years 1 to 9999. */
export function timeRange(from: string, to: string): TimeRange {
  const range = { from, to, fromUs: microseconds(from), toUs: microseconds(to) }
  if (range.fromUs >= range.toUs) throw invalid('time_range_start must be before time_range_end.')
  return range
}

/** Microseconds since 1970 of a timestamptz as Postgres prints it, none of its six decimals lost. */
function microseconds(text: string): bigint {
  const [, whole, fraction, zone] = /^(.+?)(?:\.(\d{1,6}))?([+-]\d{2}(?::?\d{2})?)$/.exec(text) ?? []
  const ms =
    whole === undefined
      ? Number.NaN
      : Date.parse(`${whole.replace(' ', 'T')}${zone.length === 3 ? `${zone}:00` : zone}`)
  if (Number.isNaN(ms)) {
    throw invalid('time_range_start and time_range_end must be times of the years 1 to 9999.')
  }
  return BigInt(ms) * 1000n + BigInt((fraction ?? '').padEnd(6, '0'))
}

function invalid(message: string): CoherenceError {
  return new CoherenceError('ANALYSIS_INVALID', message)
}
