import { inTransaction, type Queryable } from '../db/pool.ts'
import { lockUnproved, recordReplicaOf, type Replica, type ReplicaKind } from '../db/replicas.ts'
import type { StorePlace } from '../pipeline/store-place.ts'
import type { HashedBytes, ObjectStore } from '../storage/object-store.ts'
import { completeJob, sendJobs } from './boss.ts'
import type { ActiveJob, JobContext } from './context.ts'
import { CoherenceError, isCoherenceError } from '../pipeline/errors.ts'
import { readObject, readReplica } from './read-object.ts'

/**
 * Puts one object of a chunk into another store and proves it there by reading it back. The one way objects move: a mirror
 * is these jobs sent with every new object, a move is these jobs sent for all old ones.
 */
export async function runCopyObject(context: JobContext, job: ActiveJob<'copy-object'>) {
  const { chunk_id: chunkId, kind, backend, bucket } = job.data
  const { replica: source, ...object } = await readObject(context, chunkId, kind, job.signal)
  const target = await context.storeOf({ backend, bucket })
  const copy = { ...source, backend, bucket }
  await putCopy(context, target, copy, object, job.signal)
  await context.checkpoint('copy: put')
  await readReplica(context, copy, job.signal)
  await inTransaction(context.pool, async (tx) => {
    // A chunk that was written anew meanwhile has other bytes, and a job of its own.
    const recorded = await recordReplicaOf(tx, copy)
    const output = recorded ? { object_key: copy.objectKey, size: copy.size } : { skipped: 'written anew meanwhile' }
    if (!(await completeJob(context.boss, tx, job, output))) {
      throw new CoherenceError('CHUNK_STALE_ATTEMPT', `the copy of ${copy.objectKey} is another worker's by now.`)
    }
  })
  return { completed: true }
}

/** Create-only, except that an object which has lost its proof is replaced: it was read back and found damaged. */
async function putCopy(
  context: JobContext,
  target: ObjectStore,
  copy: Replica,
  object: HashedBytes,
  signal: AbortSignal,
): Promise<void> {
  try {
    await target.put(copy.objectKey, object, { signal })
  } catch (error) {
    if (!isCoherenceError(error, 'STORE_CONFLICT')) throw error
    // Under the row's lock: an attempt that was overtaken must not delete what the other has put and proved.
    await inTransaction(context.pool, async (tx) => {
      if (!(await lockUnproved(tx, copy))) throw error
      context.log.warn({ key: copy.objectKey, backend: copy.backend }, 'replacing a damaged object')
      await target.delete(copy.objectKey)
    })
    await target.put(copy.objectKey, object, { signal })
  }
}

/** Sends the copy of a new object to the mirror, in the transaction that records the object; does nothing without one. */
export async function sendToMirror(
  context: JobContext,
  tx: Queryable,
  chunkId: string,
  kind: ReplicaKind,
  priority: number,
): Promise<void> {
  if (context.mirror) await sendCopies(context, tx, [{ chunkId, kind }], context.mirror, priority)
}

/** Sends copies of objects to a place; those that are queued already are left as they are. */
export async function sendCopies(
  context: Pick<JobContext, 'boss'>,
  tx: Queryable,
  objects: readonly { chunkId: string; kind: ReplicaKind }[],
  { backend, bucket }: StorePlace,
  priority = 0,
): Promise<void> {
  const jobs = objects.map(({ chunkId, kind }) => ({
    data: { chunk_id: chunkId, kind, backend, bucket },
    key: `${chunkId}:${kind}:${backend}:${bucket}`,
    priority,
  }))
  await sendJobs(context.boss, tx, 'copy-object', jobs)
}
