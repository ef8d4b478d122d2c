import { inTransaction, type Queryable } from '../db/pool.ts'
import { listEvictedChunks, restoreChunkSlices } from '../db/slices.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import { decodeSlices } from '../pipeline/slices-format.ts'
import type { JobContext } from './context.ts'
import { readObject } from './read-object.ts'

/**
 * Makes sure that every partial of [from, to), seconds since 1970, is in the database: those of pruned days come back from
 * their sidecar objects. The next prune lets them go again.
 */
export async function restoreSlices(
  context: JobContext,
  from: number,
  to: number,
  signal?: AbortSignal,
): Promise<void> {
  for (const chunkId of await listEvictedChunks(context.pool, from, to)) {
    const { bytes } = await readObject(context, chunkId, 'slices', signal)
    const { rows } = decodeSlices(bytes)
    await inTransaction(context.pool, (tx) => restoreChunkSlices(tx, chunkId, rows))
  }
}

/**
 * To be called after the partials of [from, to) were read: throws CHUNK_STALE_ATTEMPT if a prune has evicted some since
 * `restoreSlices`. What was read may lack them; the job's next attempt brings them back.
 */
export async function assertNoneEvicted(tx: Queryable, from: number, to: number): Promise<void> {
  const [chunk] = await listEvictedChunks(tx, from, to)
  if (chunk === undefined) return
  throw new CoherenceError('CHUNK_STALE_ATTEMPT', `a prune has evicted the slices of chunk ${chunk} meanwhile.`)
}
