import { noteChunkError } from '../db/chunks.ts'
import { listAllReplicas, markReplica, type Replica } from '../db/replicas.ts'
import type { StorePlace } from '../pipeline/store-place.ts'
import type { JobContext } from './context.ts'
import { sendCopies } from './copy-object.ts'
import { readReplica } from './read-object.ts'

export interface VerifyOutcome {
  readonly checked: number
  readonly bytes: number
  readonly bad: { chunkId: string; place: string; objectKey: string; error: string }[]
}

/** A failure that says something of the object; any other says that the store could not be asked. */
const DAMAGED = new Set(['CHUNK_CORRUPT', 'STORE_NOT_FOUND'])

/**
 * Reads replicas back and compares them: all, those of one place, or each with the probability `sample`. A damaged replica
 * loses its proof and is sent to be written anew from another that is proved; if there is none, its chunk loses its proof
 * too, and nothing of it is pruned. Throws when a store
 * does not answer; what was found until then is kept.
 */
export async function verifyStorage(
  context: JobContext,
  options: {
    place?: StorePlace
    sample?: number
    signal?: AbortSignal
    onProgress?: (done: number, total: number) => void
  },
): Promise<VerifyOutcome> {
  const { sample = 1, signal } = options
  const replicas = (await listAllReplicas(context.pool, options.place ?? null)).filter(() => Math.random() < sample)
  const bad: VerifyOutcome['bad'] = []
  let bytes = 0
  let checked = 0
  for (const replica of replicas) {
    if (signal?.aborted) break
    try {
      bytes += (await readReplica(context, replica, signal)).bytes.length
      await markReplica(context.pool, replica, true)
    } catch (error) {
      const { code = '', message } = error as Error & { code?: string }
      if (!DAMAGED.has(code)) throw error
      await unprove(context, replica, message)
      const place = `${replica.backend}:${replica.bucket}`
      bad.push({ chunkId: replica.chunkId, place, objectKey: replica.objectKey, error: message })
    }
    checked++
    options.onProgress?.(checked, replicas.length)
  }
  return { checked, bytes, bad }
}

async function unprove(context: JobContext, replica: Replica, message: string): Promise<void> {
  await markReplica(context.pool, replica, false)
  const others = await listAllReplicas(context.pool, null, replica.chunkId, replica.kind)
  if (others.some((other) => other.verified)) await sendCopies(context, context.pool, [replica], replica)
  else await noteChunkError(context.pool, replica.chunkId, message, true)
}
