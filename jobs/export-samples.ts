import { CHUNK_MAX_ROWS } from '../db/chunks.ts'
import { completeExport, type ExportFile, failExport, startExport } from '../db/exports.ts'
import { inTransaction } from '../db/pool.ts'
import { encodeChunk } from '../pipeline/chunk-format.ts'
import { cutSamples } from '../pipeline/merge-samples.ts'
import { CoherenceError, isCoherenceError } from '../pipeline/errors.ts'
import type { SampleColumns } from '../pipeline/samples.ts'
import { hashBytes } from '../storage/object-store.ts'
import { completeJob } from './boss.ts'
import { collectSamples, requireReadable, timeRange } from './collect-samples.ts'
import type { ActiveJob, JobContext } from './context.ts'

/** Where exported files are kept; sweep takes them away. */
export const EXPORT_PREFIX = 'exports/'
const LINK_SECONDS = 86_400

/**
 * Answers one row of sample_exports: the device's samples, in files of the chunks' own format with nobody else's in them, and links
 * to them. Tried again it makes the same files.
 */
export async function runExportSamples(context: JobContext, job: ActiveJob<'export-samples'>) {
  const request = await startExport(context.pool, job.data.export_id)
  if (request === null) return { output: { skipped: 'done already, or deleted' } }
  const { id, deviceId } = request
  try {
    if (!request.isReadable) throw new CoherenceError('ANALYSIS_INVALID', `${deviceId} is not a device of yours.`)
    const range = timeRange(request.from, request.to)
    await requireReadable(context, [deviceId], range, { alone: true, together: false })
    const samples = (await collectSamples(context, [deviceId], range, job.signal)).get(deviceId)!
    if (samples.rows === 0)
      throw new CoherenceError('ANALYSIS_INVALID', `Device ${deviceId} has no samples in this time range.`)
    const files: ExportFile[] = []
    for (const part of cutSamples(samples, { rows: CHUNK_MAX_ROWS, bytes: context.settings.chunkTargetBytes })) {
      job.signal.throwIfAborted()
      files.push(await putFile(context, { id, deviceId, part, number: files.length + 1 }, job.signal))
    }
    await context.checkpoint('export: before commit')
    await inTransaction(context.pool, async (tx) => {
      await completeExport(tx, id, files, LINK_SECONDS)
      if (!(await completeJob(context.boss, tx, job, { files: files.length }))) {
        throw new CoherenceError('CHUNK_STALE_ATTEMPT', `export ${id} is another worker's by now.`)
      }
    })
    return { completed: true }
  } catch (error) {
    if (!isCoherenceError(error, 'ANALYSIS_INVALID')) throw error
    await failExport(context.pool, id, error.message)
    return { output: { failed: error.message } }
  }
}

async function putFile(
  { store, settings }: JobContext,
  { id, deviceId, part, number }: { id: string; deviceId: string; part: SampleColumns; number: number },
  signal: AbortSignal,
): Promise<ExportFile> {
  const file = hashBytes(encodeChunk(part, { chunkId: id, libraryVersion: settings.libraryVersion }))
  const { bytes, sha256 } = file
  const key = `${EXPORT_PREFIX}${id}/${number}-${sha256.slice(0, 16)}.arrow`
  await store.put(key, file, { signal })
  const fileName = `samples-${deviceId}-${number}.arrow`
  const url = await store.signedUrl(key, { seconds: LINK_SECONDS, fileName })
  return { url, file_name: fileName, bytes: bytes.length, sha256, samples: part.rows }
}
