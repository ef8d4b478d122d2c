import {
  adoptChunk,
  CHUNK_MAX_ROWS,
  claimChunk,
  type ClaimedChunk,
  type ClaimOptions,
  measureWaiting,
} from '../db/chunks.ts'
import { inTransaction, type Queryable } from '../db/pool.ts'
import {
  findOpenChunk,
  listSealedChunks,
  listStampingSessions,
  lockSealedChunk,
  noteAdopted,
  openNextChunk,
  type SeriesChunk,
  setRowsPerChunk,
} from '../db/series.ts'
import { sendJob } from './boss.ts'
import type { ActiveJob, JobContext } from './context.ts'

/** A transaction that keeps a sealed chunk waiting this long is told of. */
const LONG_INSERT_SECONDS = 60
const LEAST_ROWS = 16

/** Makes chunk after chunk of what waits, until nothing is due. Any number of packers may run at once. */
export async function runPack(context: JobContext, job: Pick<ActiveJob<'pack'>, 'signal'>) {
  let chunks = 0
  let samples = 0
  let bytes = 0
  while (!job.signal.aborted) {
    const claimed = await context.span.step('claim', () => packOnce(context))
    if (claimed === null) break
    chunks++
    samples += claimed.rows
    bytes += claimed.bytes
  }
  context.span.note({ samples, bytes })
  return { output: { chunks, samples } }
}

/** True if a chunk is sealed and not packed, or enough waits for one, or anything too long. */
export async function isPackDue(context: JobContext): Promise<boolean> {
  const { pool } = context
  const options = claimOptions(context)
  if ((await listSealedChunks(pool)).length > 0) return true
  return (await measureWaiting(pool, null, options)).due || (await isOpenChunkDue(pool, options))
}

async function isOpenChunkDue(pool: Queryable, options: ClaimOptions): Promise<boolean> {
  const open = await findOpenChunk(pool)
  return (await measureWaiting(pool, open.chunkId, options)).due
}

function claimOptions({ settings, store }: JobContext): ClaimOptions {
  return { targetBytes: settings.chunkTargetBytes, maxAgeSeconds: settings.chunkMaxAgeSeconds, bucket: store.bucket }
}

/** Makes one chunk if one is due and sends its upload, in one transaction. `force` takes whatever waits. */
export async function packOnce(context: JobContext, force = false): Promise<ClaimedChunk | null> {
  const options = { ...claimOptions(context), ...(force ? { maxAgeSeconds: 0 } : {}) }
  const packed = (await packSealed(context, options)) ?? (await packUnstamped(context, options))
  if (packed !== null) return packed
  if (!(await isOpenChunkDue(context.pool, options))) return null
  await openNextChunk(context.pool)
  await context.checkpoint('seal')
  return await packSealed(context, options)
}

/** The oldest sealed chunk that nobody adds to any more. */
async function packSealed(context: JobContext, options: ClaimOptions): Promise<ClaimedChunk | null> {
  for (const sealed of await listSealedChunks(context.pool)) {
    await context.checkpoint('claim')
    const outcome = await inTransaction(context.pool, async (tx) => {
      if (!(await lockSealedChunk(tx, sealed))) return 'busy'
      const { adopted, ...found } = await adoptChunk(tx, sealed.chunkId, options)
      let chunk = adopted ? found : null
      if (adopted || found.rows === 0) await noteAdopted(tx, sealed)
      else chunk = await claimPart(tx, sealed, options)
      if (chunk) await sendJob(context.boss, tx, 'upload-chunk', { chunk_id: chunk.id }, { key: chunk.id })
      await context.checkpoint('claim: before commit')
      return chunk
    })
    if (outcome === 'busy') await tellOfLongInserts(context, sealed)
    if (outcome === 'busy' || outcome === null) continue
    await context.checkpoint('claim: after commit')
    context.log.info({ chunk: outcome.id, rows: outcome.rows, bytes: outcome.bytes }, 'claimed')
    await setRowsPerChunk(context.pool, rowsPerChunk(outcome, options))
    return outcome
  }
  return null
}

/** Too large for one chunk, as samples have grown or chunks are to be smaller: parts go into chunks of their own, until the rest fits. */
async function claimPart(tx: Queryable, sealed: SeriesChunk, options: ClaimOptions): Promise<ClaimedChunk | null> {
  const { take } = await measureWaiting(tx, sealed.chunkId, options)
  return await claimChunk(tx, sealed.chunkId, take, options)
}

/** Rows that have no stamp: of before there were any, of deleted chunks, or inserted without one on purpose. */
async function packUnstamped(context: JobContext, options: ClaimOptions): Promise<ClaimedChunk | null> {
  const { take, due } = await measureWaiting(context.pool, null, options)
  if (!due) return null
  await context.checkpoint('claim')
  const claimed = await inTransaction(context.pool, async (tx) => {
    const chunk = await claimChunk(tx, null, take, options)
    if (chunk) await sendJob(context.boss, tx, 'upload-chunk', { chunk_id: chunk.id }, { key: chunk.id })
    await context.checkpoint('claim: before commit')
    return chunk
  })
  await context.checkpoint('claim: after commit')
  if (claimed) context.log.info({ chunk: claimed.id, rows: claimed.rows, bytes: claimed.bytes }, 'claimed')
  return claimed
}

/** So many rows of the size of these that their chunk reaches the target, with room for those who stamp while the next is opened. */
function rowsPerChunk({ rows, bytes }: ClaimedChunk, { targetBytes }: ClaimOptions): number {
  const wanted = Math.round((targetBytes * rows) / Math.max(bytes, 1))
  return Math.min(Math.max(wanted, LEAST_ROWS), 0.9 * CHUNK_MAX_ROWS)
}

async function tellOfLongInserts({ pool, log }: JobContext, sealed: SeriesChunk): Promise<void> {
  const sessions = await listStampingSessions(pool, sealed)
  for (const { pid, seconds } of sessions.filter((session) => session.seconds > LONG_INSERT_SECONDS)) {
    log.warn(
      { chunk: sealed.chunkId, pid, seconds },
      'a chunk waits for a transaction that has inserted samples and does not end',
    )
  }
}
