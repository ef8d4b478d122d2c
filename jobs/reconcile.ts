import {
  failDeadAnalyses,
  failDeadChunks,
  failDeadExports,
  listStrandedAnalyses,
  listStrandedExports,
  listStrandedTests,
  listStrandedUploads,
} from '../db/reconcile.ts'
import { sendJobs } from './boss.ts'
import type { JobContext } from './context.ts'

export interface ReconcileOutcome {
  readonly failedChunks: number
  readonly failedAnalyses: number
  readonly failedExports: number
  readonly uploads: number
  readonly tests: number
  readonly analyses: number
  readonly exports: number
}

/**
 * Makes the queues agree with the tables: what was given up becomes `failed`, what waits for a job that does not exist
 * gets one. The queues' policies make it safe to run twice at once.
 */
export async function runReconcile(context: JobContext) {
  const { pool, boss } = context
  const failedChunks = await failDeadChunks(pool)
  const failedAnalyses = await failDeadAnalyses(pool)
  const failedExports = await failDeadExports(pool)
  const uploads = await listStrandedUploads(pool)
  const tests = await listStrandedTests(pool)
  const analyses = await listStrandedAnalyses(pool)
  const exports = await listStrandedExports(pool)
  await sendJobs(boss, pool, 'upload-chunk', uploads.map(chunkJob))
  await sendJobs(boss, pool, 'test-chunk', tests.map(chunkJob))
  const analysisJobs = analyses.map(({ id, rank }) => ({ data: { analysis_job_id: id }, key: id, priority: -rank }))
  await sendJobs(boss, pool, 'run-analysis', analysisJobs)
  const exportJobs = exports.map(({ id, rank }) => ({ data: { export_id: id }, key: id, priority: -rank }))
  await sendJobs(boss, pool, 'export-samples', exportJobs)
  const output: ReconcileOutcome = {
    failedChunks,
    failedAnalyses,
    failedExports,
    uploads: uploads.length,
    tests: tests.length,
    analyses: analyses.length,
    exports: exports.length,
  }
  if (Object.values(output).some((count) => count > 0)) context.log.warn(output, 'reconciled')
  return { output }
}

function chunkJob(id: string) {
  return { data: { chunk_id: id }, key: id }
}
