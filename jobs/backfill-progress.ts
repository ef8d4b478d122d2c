import { setTimeout as sleep } from 'node:timers/promises'
import { countPastWork, deleteQueuedJobs, type JobCost, measureJobCost, type PastWork } from '../db/backfill-jobs.ts'
import type { JobContext } from './context.ts'
import type { QueueName } from './queues.ts'

/**
 * Of jobs that a backfill sends: below live work, whose jobs have priority 0. Workers do them when nothing live is ready in any
 * queue. What these jobs send on is between the two (`followUpPriority`).
 */
export const BACKFILL_PRIORITY = -10

export type BackfillKind = 'chunks' | 'tests' | 'slices' | 'coherence'

export const QUEUE_OF: Record<BackfillKind, QueueName> = {
  chunks: 'upload-chunk',
  tests: 'test-chunk',
  slices: 'rollup-slice',
  coherence: 'rollup-coherence',
}
const QUEUES_OF_BACKFILLS = Object.values(QUEUE_OF)

/** What is known of the cost of a job before any was done: measured on 2 cores, a row each second, 60 devices an hour. */
const DEFAULT_COST: Record<BackfillKind, { job: number; row: number; byte: number }> = {
  chunks: { job: 0.02, row: 10e-6, byte: 30e-9 },
  tests: { job: 0.02, row: 20e-6, byte: 60e-9 },
  slices: { job: 0.05, row: 0, byte: 0 },
  coherence: { job: 0.5, row: 0, byte: 0 },
}

export interface Work {
  readonly jobs: number
  readonly samples: number
  readonly bytes: number
}

/** Seconds of work, one job after the other: by what such jobs have cost a byte or a job, or by the table above. */
export async function estimateSeconds(
  { pool }: Pick<JobContext, 'pool'>,
  kind: BackfillKind,
  work: Work,
): Promise<{ seconds: number; measured: boolean }> {
  const cost: JobCost = await measureJobCost(pool, QUEUE_OF[kind])
  if (cost.bytes > 0) return { seconds: (cost.seconds / cost.bytes) * work.bytes, measured: true }
  if (cost.jobs > 0) return { seconds: (cost.seconds / cost.jobs) * work.jobs, measured: true }
  const { job, row, byte } = DEFAULT_COST[kind]
  return { seconds: job * work.jobs + row * work.samples + byte * work.bytes, measured: false }
}

/**
 * Takes back what backfills have sent and no worker has begun; how many jobs of each queue. What their jobs have sent on stays: without
 * it an hour would lack what a chunk has changed.
 */
export async function stopBackfills(
  { pool }: Pick<JobContext, 'pool'>,
  options: { dryRun: boolean },
): Promise<Record<string, number>> {
  return await deleteQueuedJobs(pool, QUEUES_OF_BACKFILLS, BACKFILL_PRIORITY, options)
}

/** Waits until workers have done all past work, or the signal; how far it is then. */
export async function awaitBackfills(
  { pool }: Pick<JobContext, 'pool'>,
  since: Date,
  options: { signal: AbortSignal; onProgress: (work: PastWork) => void },
): Promise<PastWork> {
  for (;;) {
    const started = performance.now()
    const work = await countPastWork(pool, QUEUES_OF_BACKFILLS, { from: BACKFILL_PRIORITY, to: -1 }, since)
    options.onProgress(work)
    if (work.left === 0 || options.signal.aborted) return work
    // Counting a million jobs takes a while, and is not what the server is for.
    const pause = Math.max(1000, 10 * (performance.now() - started))
    await sleep(pause, undefined, { signal: options.signal }).catch(() => {})
  }
}
