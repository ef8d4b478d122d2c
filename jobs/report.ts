import { hash } from 'node:crypto'
import { logMaintenance } from '../db/prune.ts'
import type { ReportData } from '../pipeline/report/report-data.ts'
import { hashBytes } from '../storage/object-store.ts'
import type { ActiveJob, JobContext } from './context.ts'
import { findDueReport } from './due-report.ts'
import { collectReport } from './report-data.ts'
import { signReport } from './report-link.ts'

/** The page of a report. Drawing is loaded when it is needed: most workers never draw. */
export async function renderReport(report: ReportData): Promise<string> {
  const { reportPage } = await import('../pipeline/report/page.ts')
  return reportPage(report, (text) => hash('sha256', text, 'base64'))
}

/**
 * Writes yesterday's report (UTC) to the store, once for each set of chunks that it is made of: late chunks make another. Where it is,
 * and a link to it, are in maintenance_log, which admins alone may read: a report shows everybody's devices. Done twice it writes
 * two files at worst, and changes neither.
 */
export async function runReport(context: JobContext, job: Pick<ActiveJob<'report'>, 'signal'>, now = new Date()) {
  const { pool, store } = context
  const started = performance.now()
  // Before anything that takes long: most hours find the day as it was.
  const due = await findDueReport(pool, now)
  if (!('chunks' in due)) return { output: due }
  const report = await collectReport(context, due.window, { now, signal: job.signal })
  const page = hashBytes(Buffer.from(await renderReport(report)))
  const { bytes, sha256 } = page
  const day = report.from.slice(0, 10)
  const key = `reports/${day.replaceAll('-', '/')}-${sha256.slice(0, 16)}.html`
  await store.put(key, page, { signal: job.signal })
  await context.checkpoint('report: put')
  const place = { backend: store.backend, bucket: store.bucket, key, sha256, bytes: bytes.length }
  const link = await signReport(store, { key, from: report.from }, now)
  await logMaintenance(pool, {
    operation: 'report',
    table: 'storage.objects',
    details: {
      from: report.from,
      to: report.to,
      verdict: report.verdict,
      chunk_set_hash: report.provenance.chunk_set_hash,
      ...place,
      ...link,
    },
    rows: null,
    bytes: null,
    durationMs: performance.now() - started,
  })
  context.log.info({ key, verdict: report.verdict }, 'report written')
  return { output: { key, verdict: report.verdict } }
}
