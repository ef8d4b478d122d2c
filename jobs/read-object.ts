import { listReplicas, type Replica, type ReplicaKind } from '../db/replicas.ts'
import type { Queryable } from '../db/pool.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import { hashLargeBytes, type HashedBytes, type ObjectStore } from '../storage/object-store.ts'
import type { JobContext } from './context.ts'

/** The bytes of one replica, proved by size and hash. Throws CHUNK_CORRUPT if they are others. */
export async function readReplica(
  context: Pick<JobContext, 'storeOf'>,
  replica: Replica,
  signal?: AbortSignal,
): Promise<HashedBytes> {
  const store = await context.storeOf(replica)
  const object = await hashLargeBytes(await store.get(replica.objectKey, { signal }))
  const { bytes, sha256 } = object
  if (bytes.length !== replica.size || sha256 !== replica.sha256) {
    throw new CoherenceError(
      'CHUNK_CORRUPT',
      `${replica.backend}:${replica.bucket}/${replica.objectKey} was written with ${replica.size} bytes, sha256 ` +
        `${replica.sha256}, and reads back ${bytes.length} bytes, sha256 ${sha256}. While its samples are in Postgres, ` +
        '`coherence backfill chunks` writes it anew.',
    )
  }
  return object
}

/** The bytes of a chunk's object from the first replica that is good, those of the configured store first. */
export async function readObject(
  context: Pick<JobContext, 'storeOf'> & { readonly pool: Queryable; readonly store: Pick<ObjectStore, 'backend'> },
  chunkId: string,
  kind: ReplicaKind,
  signal?: AbortSignal,
): Promise<HashedBytes & { replica: Replica }> {
  const replicas = await listReplicas(context.pool, chunkId, kind, context.store.backend)
  let failure: unknown = new CoherenceError(
    'STORE_NOT_FOUND',
    `no store is known to hold the ${kind} of chunk ${chunkId}.`,
  )
  for (const replica of replicas) {
    try {
      return { ...(await readReplica(context, replica, signal)), replica }
    } catch (error) {
      failure = error
    }
  }
  throw failure
}
