import { claimChunk, countDueRows, type ClaimedChunk, type ClaimOptions } from '../db/chunks.ts'
import { inTransaction } from '../db/pool.ts'
import { sendJob } from './boss.ts'
import type { ActiveJob, JobContext } from './context.ts'

/** Claims chunk after chunk until nothing is due. Any number of packers may run at once. */
export async function runPack(context: JobContext, job: Pick<ActiveJob<'pack'>, 'signal'>) {
  let chunks = 0
  let samples = 0
  while (!job.signal.aborted) {
    const claimed = await packOnce(context)
    if (claimed === null) break
    chunks++
    samples += claimed.rows
  }
  return { output: { chunks, samples } }
}

/** Claims one chunk if one is due and sends its upload, in one transaction. `force` claims whatever waits. */
export async function packOnce(context: JobContext, force = false): Promise<ClaimedChunk | null> {
  const options: ClaimOptions = {
    targetBytes: context.settings.chunkTargetBytes,
    maxAgeSeconds: force ? 0 : context.settings.chunkMaxAgeSeconds,
    bucket: context.store.bucket,
  }
  const take = await countDueRows(context.pool, options)
  if (take === 0) return null
  await context.checkpoint('claim')
  const claimed = await inTransaction(context.pool, async (tx) => {
    const chunk = await claimChunk(tx, take, options)
    if (chunk) await sendJob(context.boss, tx, 'upload-chunk', { chunk_id: chunk.id }, { key: chunk.id })
    await context.checkpoint('claim: before commit')
    return chunk
  })
  await context.checkpoint('claim: after commit')
  if (claimed) context.log.info({ chunk: claimed.id, rows: claimed.rows, bytes: claimed.bytes }, 'claimed')
  return claimed
}
