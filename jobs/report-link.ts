import { readLastReport } from '../db/console.ts'
import type { Queryable } from '../db/pool.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import type { Backend } from '../pipeline/store-place.ts'
import { MAX_LINK_SECONDS, type ObjectStore } from '../storage/object-store.ts'
import type { JobContext } from './context.ts'

/** What a row of maintenance_log says of a report that was written to the store. */
export interface WrittenReport {
  readonly from: string
  readonly to: string
  readonly verdict: string
  readonly chunk_set_hash: string
  readonly backend: string
  readonly bucket: string
  readonly key: string
  readonly sha256: string
  readonly bytes: number
  readonly url: string
  readonly url_expires_at: string
}

/** A link to a report, good for as long as S3 signs for; saved as a file of the report's day. */
export async function signReport(
  store: ObjectStore,
  { key, from }: { key: string; from: string },
  now: Date,
): Promise<Pick<WrittenReport, 'url' | 'url_expires_at'>> {
  const url = await store.signedUrl(key, { seconds: MAX_LINK_SECONDS, fileName: `coherence-${from.slice(0, 10)}.html` })
  return { url, url_expires_at: new Date(now.getTime() + 1000 * MAX_LINK_SECONDS).toISOString() }
}

/**
 * The newest report that the scheduled job wrote, with a link made now; null if it has written none. STORE_NOT_FOUND if it is no longer
 * where it was put; STORE_UNAVAILABLE if that store is not configured here.
 */
export async function linkNewestReport(
  { pool, storeOf }: { pool: Queryable; storeOf: JobContext['storeOf'] },
  now: Date,
): Promise<WrittenReport | null> {
  const report = await readLastReport<WrittenReport>(pool)
  if (report === null) return null
  const store = await storeOf({ backend: report.backend as Backend, bucket: report.bucket })
  if ((await store.head(report.key)) === null) {
    throw new CoherenceError('STORE_NOT_FOUND', `the report ${report.key} is no longer in ${store.bucket}.`)
  }
  return { ...report, ...(await signReport(store, report, now)) }
}
