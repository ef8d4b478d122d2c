import {
  listCoherenceHours,
  listRevivableChunks,
  listSliceHours,
  listUploadedChunks,
  measureJobSeconds,
  reviveChunks,
  type Range,
} from '../db/backfill.ts'
import { inTransaction } from '../db/pool.ts'
import { sendJobs } from './boss.ts'
import type { JobContext } from './context.ts'
import { DEAD_LETTER, type QueueName } from './queues.ts'

/** Below live work, whose jobs have priority 0: workers do it when nothing live is ready in any queue. */
const LOW_PRIORITY = -10
const BATCH = 500

export type BackfillKind = 'chunks' | 'tests' | 'slices' | 'coherence'

const QUEUE_OF: Record<BackfillKind, QueueName> = {
  chunks: 'upload-chunk',
  tests: 'test-chunk',
  slices: 'rollup-slice',
  coherence: 'rollup-coherence',
}

export interface BackfillPlan {
  readonly kind: BackfillKind
  readonly jobs: number
  readonly samples: number | null
  readonly bytes: number | null
  /** Work of one job after the other, by what such jobs took lately; null if none was done. */
  readonly seconds: number | null
}

export interface Backfill {
  readonly plan: BackfillPlan
  /** Sends the jobs in small transactions; returns how many were sent. Sending again what is queued does nothing. */
  readonly send: (options: { signal?: AbortSignal; onProgress?: (done: number) => void }) => Promise<number>
}

/**
 * What a backfill of `kind` over `range` would do, and the means to do it. chunks: upload failed and damaged chunks anew.
 * tests: verify and test uploaded chunks anew. slices, coherence: recompute the rollups of every touched hour.
 */
export async function planBackfill(context: JobContext, kind: BackfillKind, range: Range): Promise<Backfill> {
  switch (kind) {
    case 'chunks': {
      const chunks = await listRevivableChunks(context.pool, range)
      return await planned(context, kind, chunks, async (batch) => {
        await inTransaction(context.pool, async (tx) => {
          const ids = await reviveChunks(
            tx,
            batch.map((chunk) => chunk.id),
          )
          const jobs = ids.map((id) => ({ data: { chunk_id: id, replace: true }, key: id, priority: LOW_PRIORITY }))
          await sendJobs(context.boss, tx, 'upload-chunk', jobs)
        })
      })
    }
    case 'tests': {
      const chunks = await listUploadedChunks(context.pool, range)
      return await planned(context, kind, chunks, async (batch) => {
        const jobs = batch.map(({ id }) => ({ data: { chunk_id: id }, key: id, priority: LOW_PRIORITY }))
        await sendJobs(context.boss, context.pool, 'test-chunk', jobs)
      })
    }
    case 'slices': {
      const hours = await listSliceHours(context.pool, range)
      return await planned(context, kind, hours, async (batch) => {
        const jobs = batch.map(({ deviceId, hour }) => ({
          data: { device_id: deviceId, hour },
          key: `${deviceId}:${hour}`,
          priority: LOW_PRIORITY,
        }))
        await sendJobs(context.boss, context.pool, 'rollup-slice', jobs)
      })
    }
    case 'coherence': {
      const hours = await listCoherenceHours(context.pool, range)
      return await planned(context, kind, hours, async (batch) => {
        const jobs = batch.map(({ hour }) => ({ data: { hour }, key: String(hour), priority: LOW_PRIORITY }))
        await sendJobs(context.boss, context.pool, 'rollup-coherence', jobs)
      })
    }
  }
}

async function planned<Item extends object>(
  { pool }: JobContext,
  kind: BackfillKind,
  items: readonly Item[],
  sendBatch: (batch: readonly Item[]) => Promise<void>,
): Promise<Backfill> {
  const seconds = items.length === 0 ? 0 : await measureJobSeconds(pool, QUEUE_OF[kind])
  const total = (key: 'samples' | 'bytes') => {
    const counts = items.map((item) => (item as { samples?: number; bytes?: number })[key])
    return counts.some((count) => count !== undefined)
      ? counts.reduce<number>((sum, count) => sum + (count ?? 0), 0)
      : null
  }
  return {
    plan: {
      kind,
      jobs: items.length,
      samples: total('samples'),
      bytes: total('bytes'),
      seconds: seconds === null ? null : seconds * items.length,
    },
    send: async ({ signal, onProgress }) => {
      let done = 0
      while (done < items.length) {
        if (signal?.aborted) break
        const batch = items.slice(done, done + BATCH)
        await sendBatch(batch)
        done += batch.length
        onProgress?.(done)
      }
      return done
    },
  }
}

/** Puts every dead letter back into its queue; how many there were, or (dry) would be. */
export async function redriveDeadLetters(context: JobContext, dryRun: boolean): Promise<number> {
  if (dryRun) return (await context.boss.previewRedrive(DEAD_LETTER)).total
  let total = 0
  for (;;) {
    const moved = await context.boss.redrive(DEAD_LETTER)
    total += moved
    if (moved === 0) return total
  }
}
