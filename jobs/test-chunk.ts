import {
  findUploadedChunk,
  markChunkVerified,
  noteChunkError,
  readChunkLag,
  replaceChunkAnalysis,
  type StoredChunk,
} from '../db/chunks.ts'
import { inTransaction } from '../db/pool.ts'
import { markReplica, recordReplica, type Replica } from '../db/replicas.ts'
import { replaceChunkSlices } from '../db/slices.ts'
import { holdBuckets } from '../db/stats.ts'
import { analyzeChunk } from '../pipeline/analyze-chunk.ts'
import { decodeChunk } from '../pipeline/chunk-format.ts'
import { slicesKey } from '../pipeline/chunk-key.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import { encodePartial } from '../pipeline/slice-codec.ts'
import { slicePartials, type SlicePartial } from '../pipeline/slice.ts'
import { encodeSlices } from '../pipeline/slices-format.ts'
import { hashBytes } from '../storage/object-store.ts'
import { completeJob, followUpPriority, sendJobs } from './boss.ts'
import type { ActiveJob, JobContext } from './context.ts'
import { sendCopies, sendToMirror } from './copy-object.ts'
import { readObject } from './read-object.ts'

export const HOUR = 3600

/**
 * The read-back proof and everything learned from it: download, hash, decode, run the battery, cut slice partials, and
 * in one transaction write the results, mark the chunk verified and the touched slices dirty.
 */
export async function runTestChunk(context: JobContext, job: ActiveJob<'test-chunk'>) {
  const chunk = await findUploadedChunk(context.pool, job.data.chunk_id)
  if (chunk === null) return { output: { skipped: 'not uploaded, or gone' } }
  try {
    return await verify(context, job, chunk)
  } catch (error) {
    const { message, code } = error as Error & { code?: string }
    const damaged = code === 'CHUNK_CORRUPT' || code === 'CHUNK_FORMAT' || code === 'STORE_NOT_FOUND'
    // Handed back, or lost to another attempt, it has not failed.
    if (code !== 'CHUNK_STALE_ATTEMPT' && !job.signal.aborted) {
      await noteChunkError(context.pool, chunk.id, message, damaged).catch(() => {})
    }
    throw error
  }
}

async function verify(context: JobContext, job: ActiveJob<'test-chunk'>, chunk: StoredChunk) {
  const { span } = context
  const { bytes, replica } = await span.step('read', () => readObject(context, chunk.id, 'chunk', job.signal))
  await context.checkpoint('verify: read')
  const { samples, meta } = decodeChunk(bytes)
  if (replica.sha256 !== chunk.sha256 || samples.rows !== chunk.rows || meta.chunkId !== chunk.id) {
    throw new CoherenceError(
      'CHUNK_CORRUPT',
      `the object ${replica.objectKey} holds ${samples.rows} rows of chunk ${meta.chunkId}; the database knows ` +
        `${chunk.rows} rows of chunk ${chunk.id}.`,
    )
  }
  const analysis = await span.step('test', () => analyzeChunk(samples))
  const partials = slicePartials(samples)
  const encoded = partials.map((partial) => ({ ...keyOf(partial), partial: encodePartial(partial) }))
  const sidecar = await span.step('put', () => putSidecar(context, job, chunk, partials, encoded))
  await context.checkpoint('verify: sidecar put')

  await span.step('mark', () =>
    inTransaction(context.pool, async (tx) => {
      if (!(await markChunkVerified(tx, chunk.id, chunk.sha256))) {
        throw new CoherenceError('CHUNK_STALE_ATTEMPT', `chunk ${chunk.id} has other contents by now.`)
      }
      await markReplica(tx, replica, true)
      await recordReplica(tx, sidecar, true)
      const priority = await followUpPriority(tx, job)
      await sendToMirror(context, tx, chunk.id, 'slices', priority)
      // Proved from another store, because the first one's object is damaged or gone: it is written anew.
      const { backend, bucket } = context.store
      const first = replica.backend === backend && replica.bucket === bucket
      if (!first) await sendCopies(context, tx, [{ chunkId: chunk.id, kind: 'chunk' }], context.store, priority)
      await replaceChunkAnalysis(tx, chunk.id, analysis.tests, analysis.metrics)
      await replaceChunkSlices(tx, chunk.id, encoded)
      await markDirty(context, tx, partials, priority)
      if (!(await completeJob(context.boss, tx, job, { rows: samples.rows, slices: partials.length }))) {
        throw new CoherenceError(
          'CHUNK_STALE_ATTEMPT',
          `the test job of chunk ${chunk.id} expired and is another worker's.`,
        )
      }
      await context.checkpoint('verify: before commit')
    }),
  )
  await context.checkpoint('verify: after commit')
  context.log.info({ chunk: chunk.id, rows: samples.rows, devices: analysis.metrics.devices.length }, 'verified')
  const lagSeconds = context.telemetry.on && !chunk.verified ? await measureLag(context, chunk) : undefined
  span.note({ stage: 'verified', samples: samples.rows, bytes: samples.data.length, lagSeconds })
  return { completed: true }
}

/** Seconds; undefined if the rows have left Postgres, or it does not answer: the job is done all the same. */
async function measureLag(context: JobContext, chunk: StoredChunk): Promise<number | undefined> {
  return (await readChunkLag(context.pool, chunk.id).catch(() => null)) ?? undefined
}

/** The partials as an object beside the chunk, named by their own hash: another version of them gets another key. */
async function putSidecar(
  context: JobContext,
  job: ActiveJob<'test-chunk'>,
  chunk: StoredChunk,
  partials: readonly SlicePartial[],
  encoded: readonly { partial: Uint8Array }[],
): Promise<Replica> {
  const rows = partials.map((partial, index) => ({
    ...keyOf(partial),
    sampleCount: partial.samples,
    byteCount: partial.bytes,
    ones: partial.ones,
    partial: encoded[index].partial,
  }))
  const file = hashBytes(encodeSlices(rows, { chunkId: chunk.id, libraryVersion: context.settings.libraryVersion }))
  const { bytes, sha256 } = file
  const objectKey = slicesKey({ chunkId: chunk.id, createdAt: chunk.createdAt, sha256 })
  await context.store.put(objectKey, file, { signal: job.signal })
  const { backend, bucket } = context.store
  return { chunkId: chunk.id, kind: 'slices', backend, bucket, objectKey, size: bytes.length, sha256 }
}

function keyOf(partial: SlicePartial): { deviceId: string; sliceStart: number } {
  return { deviceId: partial.deviceId, sliceStart: partial.sliceStart }
}

/** Marks the hours that these partials touch: one job a device and hour, one an hour for the coherence of all. */
async function markDirty(
  context: JobContext,
  tx: Parameters<typeof sendJobs>[1],
  partials: readonly SlicePartial[],
  priority: number,
): Promise<void> {
  const hours = new Set<number>()
  const slices = new Map<string, { data: { device_id: string; hour: number }; key: string; priority: number }>()
  for (const partial of partials) {
    const hour = Math.floor(partial.sliceStart / HOUR) * HOUR
    const key = `${partial.deviceId}:${hour}`
    hours.add(hour)
    slices.set(key, { data: { device_id: partial.deviceId, hour }, key, priority })
  }
  await holdBuckets(tx, [
    ...[...slices.keys()].map((key) => `rollup-slice:${key}`),
    ...[...hours].map((hour) => `rollup-coherence:${hour}`),
  ])
  await sendJobs(context.boss, tx, 'rollup-slice', [...slices.values()])
  // In order, as the device hours are: two chunks that send the same jobs wait for each other one way only.
  const ordered = [...hours].toSorted((a, b) => a - b)
  await sendJobs(
    context.boss,
    tx,
    'rollup-coherence',
    ordered.map((hour) => ({ data: { hour }, key: String(hour), priority })),
  )
}
