import { deleteOldExports } from '../db/exports.ts'
import { logMaintenance } from '../db/prune.ts'
import { releaseStrays } from '../db/series.ts'
import { listKnownKeys } from '../db/replicas.ts'
import type { StorePlace } from '../pipeline/store-place.ts'
import { readStoreClock } from '../storage/store-clock.ts'
import type { ActiveJob, JobContext } from './context.ts'
import { EXPORT_PREFIX } from './export-samples.ts'

/** An attempt may have put its object and not yet marked it; three days are longer than any attempt can last. */
export const ORPHAN_AGE_HOURS = 72
/** Exported files are kept twice as long as their links hold. */
const EXPORT_HOURS = 48
const BATCH = 500
/** Chunks and their sidecars; what a process that was killed in its probe of the store left. All else is somebody else's. */
const OURS = ['v1/', 'health/']

export interface Orphan {
  readonly key: string
  readonly size: number
  readonly modifiedAt: string
}

export interface SweepOutcome {
  readonly place: StorePlace
  readonly deletes: boolean
  readonly objects: number
  readonly orphans: Orphan[]
  readonly deleted: number
  /** Unfinished writes of that age that were removed; 0 in a dry run. */
  readonly temporary: number
}

/** The places a sweep looks at unless told: the configured store and the mirror. */
export function listSweptPlaces({ store, mirror }: Pick<JobContext, 'store' | 'mirror'>): StorePlace[] {
  return [{ backend: store.backend, bucket: store.bucket }, ...(mirror ? [mirror] : [])]
}

/** The scheduled sweep: counts orphans, and removes them only where the configuration says so. What was exported goes when its time is over. */
export async function runSweep(context: JobContext, job: Pick<ActiveJob<'sweep'>, 'signal'>) {
  const places = []
  const exports = await sweepExports(context, job.signal)
  const strays = await releaseStrays(context.pool)
  if (strays > 0) context.log.warn({ strays }, 'samples of unknown chunks are packed anew')
  for (const place of listSweptPlaces(context)) {
    const options = { deletes: context.settings.sweepDeletes, signal: job.signal }
    const { orphans, ...counts } = await sweepOrphans(context, place, options)
    places.push({ ...counts, orphans: orphans.length })
  }
  return { output: { places, exports, strays } }
}

/** Removes exported files whose links have ended, by the store's own clock, and forgets old requests. Returns how many files. */
async function sweepExports({ pool, store }: JobContext, signal: AbortSignal): Promise<number> {
  const started = performance.now()
  const before = new Date((await readStoreClock(store)).getTime() - EXPORT_HOURS * 3_600_000)
  let [files, bytes] = [0, 0]
  for await (const { key, size, modifiedAt } of store.list(EXPORT_PREFIX, { signal })) {
    if (modifiedAt >= before || !(await store.delete(key))) continue
    files++
    bytes += size
  }
  const requests = await deleteOldExports(pool)
  if (files + requests > 0) {
    await logMaintenance(pool, {
      operation: 'sweep_exports',
      table: 'sample_exports',
      details: { backend: store.backend, bucket: store.bucket, files, requests },
      rows: requests,
      bytes,
      durationMs: performance.now() - started,
    })
  }
  return files
}

/**
 * Finds objects of a place that no replica row names and that are older than ORPHAN_AGE_HOURS. Ages are taken between two of
 * the store's own times (that of an object just written there is `now`), never from this machine's clock. With `deletes`
 * they are removed, one at a time, each looked up once more just before.
 */
export async function sweepOrphans(
  context: JobContext,
  place: StorePlace,
  options: { deletes: boolean; signal?: AbortSignal; onProgress?: (objects: number) => void },
): Promise<SweepOutcome> {
  const { pool } = context
  const store = await context.storeOf(place)
  const started = performance.now()
  const before = new Date((await readStoreClock(store)).getTime() - ORPHAN_AGE_HOURS * 3_600_000)
  const orphans: Orphan[] = []
  let objects = 0
  let batch: { key: string; size: number; modifiedAt: Date }[] = []
  const flush = async () => {
    const keys = batch.map((object) => object.key)
    const known = await listKnownKeys(pool, place.backend, place.bucket, keys)
    for (const { key, size, modifiedAt } of batch) {
      if (!known.has(key) && modifiedAt < before) orphans.push({ key, size, modifiedAt: modifiedAt.toISOString() })
    }
    objects += batch.length
    options.onProgress?.(objects)
    batch = []
  }
  for (const prefix of OURS) {
    for await (const object of store.list(prefix, { signal: options.signal })) {
      batch.push(object)
      if (batch.length === BATCH) await flush()
    }
  }
  await flush()

  let deleted = 0
  const temporary = options.deletes ? ((await store.removeTemporary?.(before)) ?? 0) : 0
  if (options.deletes) {
    for (const { key } of orphans) {
      const known = await listKnownKeys(pool, place.backend, place.bucket, [key])
      if (!known.has(key) && (await store.delete(key))) deleted++
    }
  }
  if (orphans.length > 0) {
    await logMaintenance(pool, {
      operation: options.deletes ? 'sweep' : 'sweep_dry_run',
      table: 'storage.objects',
      details: { backend: place.backend, bucket: place.bucket, objects, orphans: orphans.slice(0, 100) },
      rows: options.deletes ? deleted : orphans.length,
      bytes: orphans.reduce((sum, orphan) => sum + orphan.size, 0),
      durationMs: performance.now() - started,
    })
  }
  return {
    place: { backend: place.backend, bucket: place.bucket },
    deletes: options.deletes,
    objects,
    orphans,
    deleted,
    temporary,
  }
}
