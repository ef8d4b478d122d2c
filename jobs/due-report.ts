import type { Queryable } from '../db/pool.ts'
import { findReport, listReportChunks, type ReportChunk, type ReportWindow } from '../db/report.ts'
import { sha256OfLines } from '../storage/object-store.ts'

const DAY = 86_400
/** The report of a day waits so long after its end for what comes late. */
const GRACE_SECONDS = 3600

export type DueReport =
  | { readonly window: ReportWindow; readonly chunks: readonly ReportChunk[] }
  | { readonly skipped: string; readonly key?: string }

/**
 * The day (UTC) before `now` with its chunks if its report is to be written, otherwise why not: mostly it is as its report found it.
 * Imports little, as each tick asks.
 */
export async function findDueReport(db: Queryable, now: Date): Promise<DueReport> {
  const to = Math.floor((now.getTime() / 1000 - GRACE_SECONDS) / DAY) * DAY
  const window: ReportWindow = { from: to - DAY, to, deviceIds: null }
  const chunks = await listReportChunks(db, window)
  if (chunks.length === 0) return { skipped: 'no data' }
  // Those that failed wait for a person; the report says that they are missing.
  const waiting = chunks.filter(({ verified_at: at, status }) => at === null && status !== 'failed').length
  if (waiting > 0) return { skipped: `chunks not verified yet: ${waiting}` }
  const verified = chunks.filter(({ verified_at: at }) => at !== null)
  const key = await findReport(db, new Date(window.from * 1000).toISOString(), chunkSetHash(verified))
  return key === null ? { window, chunks } : { skipped: 'written already', key }
}

/** As of an event: SHA-256 of the lines `id sha256` of chunks in order of id. */
export function chunkSetHash(chunks: readonly { id: string; sha256: string }[]): string {
  return sha256OfLines(chunks.map(({ id, sha256 }) => `${id} ${sha256}`))
}
