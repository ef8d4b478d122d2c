import {
  type Extent,
  listCoherenceHours,
  listRevivableChunks,
  listSliceHours,
  listUploadedChunks,
  reviveChunks,
  type Range,
} from '../db/backfill.ts'
import { inTransaction } from '../db/pool.ts'
import { NETWORK_METHOD_VERSION } from '../pipeline/network.ts'
import { COHERENCE_METHOD_VERSION } from '../pipeline/pair-coherence.ts'
import { SLICE_METHOD_VERSION } from '../pipeline/slice-stats.ts'
import { BATTERY_VERSION } from '../pipeline/tests/registry.ts'
import { BACKFILL_PRIORITY, type BackfillKind, estimateSeconds } from './backfill-progress.ts'
import { sendJobs } from './boss.ts'
import type { JobContext } from './context.ts'
import { DEAD_LETTER } from './queues.ts'

const BATCH = 500

export interface BackfillOptions extends Range {
  /** Also what this build has made already. As it is when a version is named: that says what to do again. */
  readonly again?: boolean
}

export interface BackfillPlan {
  readonly kind: BackfillKind
  readonly jobs: number
  /** Left out, as this build has made them from what there is. */
  readonly made: number
  /** What the jobs are about; of an hour its part of the chunks that touch it, as if these were spread evenly. */
  readonly samples: number
  readonly bytes: number
  /** Work of one job after the other. */
  readonly seconds: number
  /** By what such jobs have taken lately; otherwise by what they take on a small machine. */
  readonly measured: boolean
}

export interface Backfill {
  readonly plan: BackfillPlan
  /** Sends the jobs in small transactions; returns how many were sent. Sending again what is queued does nothing. */
  readonly send: (options: { signal?: AbortSignal; onProgress?: (done: number) => void }) => Promise<number>
}

/**
 * What a backfill of `kind` over a range would do, and the means to do it. chunks: upload failed and damaged chunks anew.
 * tests: verify and test uploaded chunks anew. slices, coherence: recompute the rollups of every touched hour.
 */
export async function planBackfill(
  context: JobContext,
  kind: BackfillKind,
  options: BackfillOptions,
): Promise<Backfill> {
  const { pool, boss } = context
  const priority = BACKFILL_PRIORITY
  switch (kind) {
    case 'chunks': {
      const chunks = await listRevivableChunks(pool, options)
      return await planned(context, kind, options, chunks, async (batch) => {
        await inTransaction(pool, async (tx) => {
          const ids = await reviveChunks(
            tx,
            batch.map((chunk) => chunk.id),
          )
          const jobs = ids.map((id) => ({ data: { chunk_id: id, replace: true }, key: id, priority }))
          await sendJobs(boss, tx, 'upload-chunk', jobs)
        })
      })
    }
    case 'tests': {
      const chunks = await listUploadedChunks(pool, options, BATTERY_VERSION)
      return await planned(context, kind, options, chunks, async (batch) => {
        const jobs = batch.map(({ id }) => ({ data: { chunk_id: id }, key: id, priority }))
        await sendJobs(boss, pool, 'test-chunk', jobs)
      })
    }
    case 'slices': {
      const hours = await listSliceHours(pool, options, SLICE_METHOD_VERSION)
      return await planned(context, kind, options, hours, async (batch) => {
        const jobs = batch.map(({ deviceId, hour }) => ({
          data: { device_id: deviceId, hour },
          key: `${deviceId}:${hour}`,
          priority,
        }))
        await sendJobs(boss, pool, 'rollup-slice', jobs)
      })
    }
    case 'coherence': {
      const methods = { network: NETWORK_METHOD_VERSION, pairs: COHERENCE_METHOD_VERSION }
      const hours = await listCoherenceHours(pool, options, methods)
      return await planned(context, kind, options, hours, async (batch) => {
        const jobs = batch.map(({ hour }) => ({ data: { hour }, key: String(hour), priority }))
        await sendJobs(boss, pool, 'rollup-coherence', jobs)
      })
    }
  }
}

async function planned<Item extends Extent>(
  context: JobContext,
  kind: BackfillKind,
  { again, version }: BackfillOptions,
  found: readonly Item[],
  sendBatch: (batch: readonly Item[]) => Promise<void>,
): Promise<Backfill> {
  const items = again || version !== undefined ? found : found.filter(({ made }) => !made)
  const total = (key: 'samples' | 'bytes') => Math.round(items.reduce((sum, item) => sum + item[key], 0))
  const work = { jobs: items.length, samples: total('samples'), bytes: total('bytes') }
  return {
    plan: { kind, made: found.length - items.length, ...work, ...(await estimateSeconds(context, kind, work)) },
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
