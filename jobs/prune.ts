import { setTimeout as sleep } from 'node:timers/promises'
import {
  deleteStrayChunk,
  dropPartition,
  keepVacuumOut,
  listExpiredPartitions,
  listPruneBlockers,
  listWaitingReaders,
  lockSamples,
  logMaintenance,
  measurePartition,
  type Partition,
} from '../db/prune.ts'
import { inTransaction } from '../db/pool.ts'
import { dropMinutes, evictSlices, MINUTE_TABLES } from '../db/slices.ts'
import type { ActiveJob, JobContext } from './context.ts'

/**
 * How long inserts wait at most for a prune that waits for others. What it does when it has the lock takes as long again: the check
 * walks chunks, not rows, and the files go after the commit.
 */
const LOCK_TIMEOUT_MS = 100
const LOCK_TRIES = 5
/** The last of these tries, where others have been in the way for a day: the disk may not fill up for it. */
const OVERDUE_TIMEOUT_MS = 1_000
const PAUSE_MS = 500
/** Nobody waits for a prune that waits for this. Longer than it takes the server to end an autovacuum. */
const VACUUM_TIMEOUT_MS = 3_000
/** SQLSTATE of a lock_timeout. */
const LOCK_NOT_AVAILABLE = '55P03'

export interface PruneOutcome {
  readonly dropped: { partition: string; rows: number; bytes: number }[]
  readonly kept: { partition: string; blockers: string[] }[]
  readonly strayRows: number
  readonly evictedChunks: number
}

/**
 * Drops every expired day of which all samples are proved to be in the object store, deletes expired strays chunk by
 * chunk, and lets go of partials and minute statistics of pruned days. Each step is one transaction with its row in
 * maintenance_log.
 */
export async function runPrune(context: JobContext, job: Pick<ActiveJob<'prune'>, 'signal'>) {
  const { retentionDays } = context.settings
  const outcome: PruneOutcome = { dropped: [], kept: [], strayRows: 0, evictedChunks: 0 }
  for (const partition of await listExpiredPartitions(context.pool, retentionDays)) {
    if (job.signal.aborted) break
    // Looked at without a lock first: inserts must not wait for a day that cannot go.
    const blockers = await listPruneBlockers(context.pool, partition)
    // Only here: an analysis that comes later reads the day from its chunks (docs/chunk-lifecycle.md).
    blockers.push(...(await listWaitingReaders(context.pool, partition, retentionDays)))
    const dropped = blockers.length > 0 ? null : await dropUnlessBusy(context, partition, blockers, job.signal)
    if (dropped) outcome.dropped.push(dropped)
    else outcome.kept.push({ partition: partition.name, blockers })
  }
  const strayRows = await pruneStrays(context, job.signal)
  const evictedChunks = await evictPruned(context, job.signal)
  for (const kept of outcome.kept) context.log.warn(kept, 'partition kept')
  return { output: { ...outcome, strayRows, evictedChunks } satisfies PruneOutcome }
}

/** A transaction that holds on to the table (a late insert, a backup) keeps the day, and is no failure of the prune. */
async function dropUnlessBusy(context: JobContext, partition: Partition, blockers: string[], signal: AbortSignal) {
  for (let tries = 1; ; tries++) {
    const lockMs = tries === LOCK_TRIES && partition.isOverdue ? OVERDUE_TIMEOUT_MS : LOCK_TIMEOUT_MS
    try {
      return await dropProvedPartition(context, partition, blockers, lockMs)
    } catch (error) {
      if ((error as { code?: string }).code !== LOCK_NOT_AVAILABLE) throw error
    }
    if (tries === LOCK_TRIES || signal.aborted) {
      blockers.push('another transaction is using entropy_samples; the next prune tries again')
      return null
    }
    // Those who have waited come first.
    await sleep(PAUSE_MS, undefined, { signal }).catch(() => {})
  }
}

async function dropProvedPartition(context: JobContext, partition: Partition, blockers: string[], lockMs: number) {
  const started = performance.now()
  const measure = await measurePartition(context.pool, partition)
  return await inTransaction(context.pool, async (tx) => {
    await keepVacuumOut(tx, partition.name, VACUUM_TIMEOUT_MS)
    await lockSamples(tx, lockMs)
    // Once more under the lock: nothing can be added between this answer and the drop.
    blockers.push(...(await listPruneBlockers(tx, partition)))
    if (blockers.length > 0) return null
    await dropPartition(tx, partition.name)
    await context.checkpoint('prune: before commit')
    await logMaintenance(tx, {
      operation: 'prune',
      table: 'entropy_samples',
      details: { partition: partition.name, upper: partition.upper, retention_days: context.settings.retentionDays },
      rows: measure.rows,
      bytes: measure.bytes,
      durationMs: performance.now() - started,
    })
    context.log.info({ partition: partition.name, ...measure }, 'pruned')
    return { partition: partition.name, ...measure }
  })
}

async function pruneStrays(context: JobContext, signal: AbortSignal): Promise<number> {
  let total = 0
  while (!signal.aborted) {
    const started = performance.now()
    const gone = await inTransaction(context.pool, async (tx) => {
      const stray = await deleteStrayChunk(tx, context.settings.retentionDays)
      if (stray) {
        await logMaintenance(tx, {
          operation: 'prune',
          table: 'entropy_samples',
          details: { chunk_id: stray.chunkId, partition: 'entropy_samples_default' },
          rows: stray.rows,
          bytes: stray.bytes,
          durationMs: performance.now() - started,
        })
      }
      return stray
    })
    if (!gone) break
    total += gone.rows
  }
  return total
}

async function evictPruned(context: JobContext, signal: AbortSignal): Promise<number> {
  const { retentionDays } = context.settings
  let total = 0
  while (!signal.aborted) {
    const started = performance.now()
    const evicted = await inTransaction(context.pool, async (tx) => {
      const gone = await evictSlices(tx, retentionDays, 500)
      if (gone.chunks > 0) {
        await logMaintenance(tx, {
          operation: 'evict_slices',
          table: 'chunk_slices',
          details: { chunks: gone.chunks },
          rows: gone.rows,
          bytes: gone.bytes,
          durationMs: performance.now() - started,
        })
      }
      return gone.chunks
    })
    if (evicted === 0) break
    total += evicted
  }
  for (const table of MINUTE_TABLES) {
    const started = performance.now()
    await inTransaction(context.pool, async (tx) => {
      const { rows, bytes } = await dropMinutes(tx, table, retentionDays)
      if (rows === 0) return
      await logMaintenance(tx, {
        operation: 'drop_minute_stats',
        table,
        details: { retention_days: retentionDays },
        rows,
        bytes,
        durationMs: performance.now() - started,
      })
    })
  }
  return total
}
