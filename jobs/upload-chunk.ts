import { setImmediate } from 'node:timers/promises'
import {
  beginChunk,
  discardEmptyChunk,
  listDeletedMembers,
  lockAttempt,
  markChunkUploaded,
  noteChunkError,
  type ChunkAttempt,
} from '../db/chunks.ts'
import { inTransaction } from '../db/pool.ts'
import { recordReplica } from '../db/replicas.ts'
import { readChunkSamples } from '../db/samples.ts'
import { encodeChunk } from '../pipeline/chunk-format.ts'
import { chunkKey } from '../pipeline/chunk-key.ts'
import { CoherenceError, isCoherenceError } from '../pipeline/errors.ts'
import { orderSamples } from '../pipeline/merge-samples.ts'
import { type SampleColumns, sampleExtents, sizeOfSamples, uuidAt } from '../pipeline/samples.ts'
import { hashLargeBytes, type HashedBytes } from '../storage/object-store.ts'
import { completeJob, followUpPriority, sendJob } from './boss.ts'
import type { ActiveJob, JobContext } from './context.ts'
import { sendToMirror } from './copy-object.ts'

/** begin → put → mark. The rows were frozen by the claim, so every attempt makes the same bytes and the same key. */
export async function runUploadChunk(context: JobContext, job: ActiveJob<'upload-chunk'>) {
  const chunk = await beginChunk(context.pool, job.data.chunk_id)
  if (chunk === null) return { output: { skipped: 'uploaded already, or gone' } }
  await context.checkpoint('begin')
  try {
    return await putAndMark(context, job, chunk)
  } catch (error) {
    // Handed back, or lost to another attempt, it has not failed.
    if (!isCoherenceError(error, 'CHUNK_STALE_ATTEMPT') && !job.signal.aborted) {
      await noteChunkError(context.pool, chunk.id, (error as Error).message).catch(() => {})
    }
    throw error
  }
}

async function putAndMark(context: JobContext, job: ActiveJob<'upload-chunk'>, chunk: ChunkAttempt) {
  const { span } = context
  const rowBuffers = context.buffers.lease()
  const fileBuffers = context.buffers.lease()
  const samples = await context.readOneByOne(() =>
    span.step('read', () => {
      const memory = rowBuffers.take(sizeOfSamples(chunk.rows, chunk.bytes))
      return readChunkSamples(context.pool, chunk.id, chunk, memory)
    }),
  )
  if (samples.rows !== chunk.rows || samples.data.length !== chunk.bytes) {
    await assertLawfullyDeleted(context, chunk, samples)
    if (samples.rows === 0) {
      await discardEmptyChunk(context.pool, chunk.id, chunk.attempt)
      return { output: { discarded: true } }
    }
  }
  const { libraryVersion } = context.settings
  // Whoever reads the next chunk asks for it now: the server sends while this thread encodes and hashes.
  await setImmediate()
  const file = await span.step('encode', async () => {
    const layout = { order: orderSamples(samples), allocate: fileBuffers.take }
    return await hashLargeBytes(encodeChunk(samples, { chunkId: chunk.id, libraryVersion }, layout))
  })
  const size = file.bytes.length
  const { sha256 } = file
  const contents = {
    rows: samples.rows,
    bytes: samples.data.length,
    ...sampleExtents(samples),
  }
  // The samples are in the file now: the next chunk may be read while this one is stored.
  rowBuffers.release()
  const key = chunkKey({ chunkId: chunk.id, createdAt: chunk.createdAt, sha256 })
  const { store } = context
  await context.checkpoint('put')
  await span.step('put', () => putObject(context, job, chunk, key, file))
  fileBuffers.release()
  await context.checkpoint('put: done')

  await span.step('mark', () =>
    inTransaction(context.pool, async (tx) => {
      const marked = await markChunkUploaded(tx, {
        id: chunk.id,
        attempt: chunk.attempt,
        bucket: store.bucket,
        objectKey: key,
        size,
        sha256,
        ...contents,
      })
      if (!marked) {
        throw new CoherenceError('CHUNK_STALE_ATTEMPT', `attempt ${chunk.attempt} of chunk ${chunk.id} was overtaken.`)
      }
      const { backend, bucket } = store
      await recordReplica(
        tx,
        { chunkId: chunk.id, kind: 'chunk', backend, bucket, objectKey: key, size, sha256 },
        false,
      )
      const priority = await followUpPriority(tx, job)
      await sendJob(context.boss, tx, 'test-chunk', { chunk_id: chunk.id }, { key: chunk.id, priority })
      await sendToMirror(context, tx, chunk.id, 'chunk', priority)
      if (!(await completeJob(context.boss, tx, job, { object_key: key, size, sha256 }))) {
        throw new CoherenceError(
          'CHUNK_STALE_ATTEMPT',
          `the upload job of chunk ${chunk.id} expired and is another worker's.`,
        )
      }
      await context.checkpoint('mark: before commit')
    }),
  )
  await context.checkpoint('mark: after commit')
  context.log.info({ chunk: chunk.id, key, size, rows: contents.rows }, 'uploaded')
  span.note({ stage: 'packed', samples: contents.rows, bytes: contents.bytes })
  return { completed: true }
}

/** Create-only, except that a backfill may replace an object that its verification has proved bad. */
async function putObject(
  context: JobContext,
  job: ActiveJob<'upload-chunk'>,
  chunk: ChunkAttempt,
  key: string,
  file: HashedBytes,
): Promise<void> {
  const { store } = context
  try {
    await store.put(key, file, { signal: job.signal })
  } catch (error) {
    if (!isCoherenceError(error, 'STORE_CONFLICT') || job.data.replace !== true) throw error
    context.log.warn({ key }, 'replacing a damaged object')
    await context.checkpoint('replace')
    // Under the fence: an attempt that was overtaken would delete what the other has put in its place.
    await inTransaction(context.pool, async (tx) => {
      if (!(await lockAttempt(tx, chunk.id, chunk.attempt))) {
        throw new CoherenceError('CHUNK_STALE_ATTEMPT', `attempt ${chunk.attempt} of chunk ${chunk.id} was overtaken.`)
      }
      await store.delete(key)
    })
    await context.checkpoint('replace: deleted')
    await store.put(key, file, { signal: job.signal })
  }
}

/**
 * Rows of a frozen chunk can vanish in one lawful way: with their device or sampling profile, whose deletion takes them along.
 * Every device and profile that is short of what was claimed must be gone; anything else is a loss and stops here.
 */
async function assertLawfullyDeleted(context: JobContext, chunk: ChunkAttempt, samples: SampleColumns): Promise<void> {
  const found = countMembers(samples)
  const claimed = Object.entries(chunk.claimed ?? {})
  const short = claimed.filter(([member, rows]) => (found.get(member) ?? 0) < rows).map(([member]) => member)
  const foreign = [...found].filter(([member, rows]) => rows > (chunk.claimed?.[member] ?? 0))
  const deleted = await listDeletedMembers(context.pool, short)
  if (short.length > 0 && foreign.length === 0 && short.length === deleted.length) {
    context.log.warn({ chunk: chunk.id, deleted, claimed: chunk.rows, rows: samples.rows }, 'deleted after the claim')
    return
  }
  throw new CoherenceError(
    'CHUNK_ROWS_CHANGED',
    `chunk ${chunk.id} claimed ${chunk.rows} rows of ${chunk.bytes} bytes and now has ${samples.rows} of ` +
      `${samples.data.length}. Something deleted or changed samples behind the pipeline; look before you backfill.`,
  )
}

function countMembers(samples: SampleColumns): Map<string, number> {
  const counts = new Map<string, number>()
  for (let row = 0; row < samples.rows; row++) {
    const member = `${uuidAt(samples.deviceId, row)}/${uuidAt(samples.profileId, row)}`
    counts.set(member, (counts.get(member) ?? 0) + 1)
  }
  return counts
}
