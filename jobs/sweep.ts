import { logMaintenance } from '../db/prune.ts'
import { listKnownKeys } from '../db/replicas.ts'
import { readStoreClock } from '../storage/store-clock.ts'
import type { ActiveJob, JobContext } from './context.ts'

/** An attempt may have put its object and not yet marked it; three days are longer than any attempt can last. */
export const ORPHAN_AGE_HOURS = 72
const BATCH = 500

export interface SweepOutcome {
  readonly deletes: boolean
  readonly objects: number
  readonly orphans: { key: string; size: number; modifiedAt: string }[]
  readonly deleted: number
  /** Unfinished writes of that age that were removed; 0 in a dry run. */
  readonly temporary: number
}

/** The scheduled sweep: counts orphans, and removes them only where the configuration says so. */
export async function runSweep(context: JobContext, job: Pick<ActiveJob<'sweep'>, 'signal'>) {
  const { orphans, ...counts } = await sweepOrphans(context, {
    deletes: context.settings.sweepDeletes,
    signal: job.signal,
  })
  return { output: { ...counts, orphans: orphans.length } }
}

/**
 * Finds objects of the configured store that no replica row names and that are older than ORPHAN_AGE_HOURS. Ages are taken
 * between two of the store's own times (that of an object just written there is `now`), never from this machine's
 * clock. With `deletes` they are removed, one at a time, each looked up once more just before.
 */
export async function sweepOrphans(
  context: JobContext,
  options: { deletes: boolean; signal?: AbortSignal; onProgress?: (objects: number) => void },
): Promise<SweepOutcome> {
  const { pool, store } = context
  const started = performance.now()
  const before = new Date((await readStoreClock(store)).getTime() - ORPHAN_AGE_HOURS * 3_600_000)
  const orphans: { key: string; size: number; modifiedAt: string }[] = []
  let objects = 0
  let batch: { key: string; size: number; modifiedAt: Date }[] = []
  const flush = async () => {
    const keys = batch.map((object) => object.key)
    const known = await listKnownKeys(pool, store.backend, store.bucket, keys)
    for (const { key, size, modifiedAt } of batch) {
      if (!known.has(key) && modifiedAt < before) orphans.push({ key, size, modifiedAt: modifiedAt.toISOString() })
    }
    objects += batch.length
    options.onProgress?.(objects)
    batch = []
  }
  for await (const object of store.list('v1/', { signal: options.signal })) {
    batch.push(object)
    if (batch.length === BATCH) await flush()
  }
  await flush()

  let deleted = 0
  const temporary = options.deletes ? ((await store.removeTemporary?.(before)) ?? 0) : 0
  if (options.deletes) {
    for (const { key } of orphans) {
      const known = await listKnownKeys(pool, store.backend, store.bucket, [key])
      if (!known.has(key) && (await store.delete(key))) deleted++
    }
  }
  if (orphans.length > 0) {
    await logMaintenance(pool, {
      operation: options.deletes ? 'sweep' : 'sweep_dry_run',
      table: 'storage.objects',
      details: { backend: store.backend, bucket: store.bucket, objects, orphans: orphans.slice(0, 100) },
      rows: options.deletes ? deleted : orphans.length,
      bytes: orphans.reduce((sum, orphan) => sum + orphan.size, 0),
      durationMs: performance.now() - started,
    })
  }
  return { deletes: options.deletes, objects, orphans, deleted, temporary }
}
