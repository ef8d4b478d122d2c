import { holdDays, listDaysToMake, listOtherBytes, listPrunedChunks, readMicroseconds } from '../db/archive.ts'
import { ensurePartitionOf } from '../db/partitions.ts'
import { inTransaction, type Queryable } from '../db/pool.ts'
import { type NewSample, storeChecked, type StoredSample } from '../db/samples.ts'
import { decodeChunk } from '../pipeline/chunk-format.ts'
import { findSample } from '../pipeline/find-sample.ts'
import { sortSamples } from '../pipeline/merge-samples.ts'
import type { SampleColumns } from '../pipeline/samples.ts'
import { readObject } from './read-object.ts'

/** Days of an archive beyond these go to the default partition: each query of all samples locks every partition. */
const MOST_PARTITIONS = 200
/** A statement that met a device's own sends is done again. */
const ATTEMPTS = 20
/** Payload of chunks that are kept because the next batch may need them too; the newest is kept in any case. */
const KEPT_BYTES = 64 * 1024 ** 2
const SERIALIZATION_FAILURE = '40001'
const OTHER_BYTES = 'other bytes are known of this profile, timestamp and sequence'

type Context = Parameters<typeof readObject>[0] & { readonly pool: Parameters<typeof inTransaction>[0] }

/** Stores a batch of one device. */
export type StoreBatch = (deviceId: string, samples: readonly NewSample[]) => Promise<StoredSample[]>

/**
 * Stores samples of any age, each once. Samples that are in Postgres are known to the insert itself; those of pruned days are
 * looked for in the chunks that took them along. The day of what is new gets its partition, so that it leaves as a whole.
 */
export function openImport(context: Context): StoreBatch {
  const readChunk = chunkReader(context)
  const days = new Set<number>()
  return async (deviceId, samples) => {
    const times = samples.map(({ timestamp }) => timestamp)
    const known = new Map<number, StoredSample>()
    const compared = new Set<string>()
    const compare = async (chunks: readonly string[]) => {
      const at = chunks.length === 0 ? [] : await readMicroseconds(context.pool, times)
      for (const id of chunks) {
        const chunk = await readChunk(id)
        for (const [index, { profileId, sequence, data }] of samples.entries()) {
          const stored = findSample(chunk, { deviceId, profileId, timestamp: at[index], sequence })
          if (stored === undefined) continue
          const same = Buffer.compare(stored, data) === 0
          known.set(index, same ? { index, status: 'duplicate', reason: null } : refused(index))
        }
        compared.add(id)
      }
    }
    await compare(await listPrunedChunks(context.pool, deviceId, times))
    const fresh = times.filter((_, index) => !known.has(index))
    for (const day of await listDaysToMake(context.pool, fresh, MOST_PARTITIONS)) {
      // A day that cannot have one, as another partition covers it, is not asked for again.
      if (!days.has(day.getTime())) await ensurePartitionOf(context.pool, day)
      days.add(day.getTime())
    }
    for (let attempt = 1; ; attempt++) {
      try {
        const outcome = await inTransaction(context.pool, async (tx) => {
          await holdDays(tx)
          const pruned = await listPrunedChunks(tx, deviceId, times)
          const unread = pruned.filter((id) => !compared.has(id))
          if (unread.length > 0) return { unread }
          const rest = [...samples.keys()].filter((index) => !known.has(index))
          const stored = await storeNew(
            tx,
            deviceId,
            rest.map((index) => samples[index]),
          )
          return { stored: [...known.values(), ...stored.map((one) => ({ ...one, index: rest[one.index] }))] }
        })
        if (outcome.stored) return outcome.stored
        // Pruned since they were looked for.
        await compare(outcome.unread)
      } catch (error) {
        if ((error as { code?: string }).code !== SERIALIZATION_FAILURE || attempt === ATTEMPTS) throw error
      }
    }
  }
}

/** Stores samples through the checks of the database; those that are there with other bytes are no duplicates. */
async function storeNew(tx: Queryable, deviceId: string, samples: readonly NewSample[]): Promise<StoredSample[]> {
  const stored = await storeChecked(tx, deviceId, samples)
  const duplicates = stored.filter(({ status }) => status === 'duplicate').map(({ index }) => index)
  if (duplicates.length === 0) return stored
  const others = await listOtherBytes(
    tx,
    deviceId,
    duplicates.map((index) => samples[index]),
  )
  const differing = new Set(duplicates.filter((_, place) => others.has(place)))
  return stored.map((one) => (differing.has(one.index) ? refused(one.index) : one))
}

function refused(index: number): StoredSample {
  return { index, status: 'rejected', reason: OTHER_BYTES }
}

/** Reads a chunk's samples, in order; the last few stay in memory. */
function chunkReader(context: Context): (id: string) => Promise<SampleColumns> {
  const kept = new Map<string, SampleColumns>()
  return async (id) => {
    const samples = kept.get(id) ?? sortSamples(decodeChunk((await readObject(context, id, 'chunk')).bytes).samples)
    kept.delete(id)
    let bytes = samples.data.length
    for (const { data } of kept.values()) bytes += data.length
    for (const [oldest, { data }] of kept) {
      if (bytes <= KEPT_BYTES) break
      kept.delete(oldest)
      bytes -= data.length
    }
    kept.set(id, samples)
    return samples
  }
}
