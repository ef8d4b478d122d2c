import { randomUUID } from 'node:crypto'
import { CoherenceError } from '../pipeline/errors.ts'
import { type ObjectStore, hashBytes } from './object-store.ts'

/** What time it is by the store's own clock: the time it gives an object that is written, looked at and removed. */
export async function readStoreClock(store: ObjectStore): Promise<Date> {
  const key = `health/clock-${randomUUID()}`
  const bytes = new Uint8Array([1])
  await store.put(key, hashBytes(bytes))
  try {
    const head = await store.head(key)
    if (!head)
      throw new CoherenceError('STORE_UNAVAILABLE', `${store.backend}:${store.bucket} lost an object just written.`)
    return head.modifiedAt
  } finally {
    await store.delete(key)
  }
}
