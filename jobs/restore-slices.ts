import { inTransaction } from '../db/pool.ts'
import { listEvictedChunks, restoreChunkSlices } from '../db/slices.ts'
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
