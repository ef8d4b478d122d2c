/** The restore drill: a database goes back to what it was some time ago, while the object store has gone on. */
import { expect } from 'vitest'
import type { JobContext } from '../../jobs/context.ts'
import { runPack } from '../../jobs/pack.ts'
import { runReconcile } from '../../jobs/reconcile.ts'
import { decodeChunk } from '../../pipeline/chunk-format.ts'
import { uuidAt } from '../../pipeline/samples.ts'
import { drain, makeSamples, type TestDevice, type TestPipeline } from './pipeline.ts'

const START = Date.UTC(2026, 5, 1, 12)
const { signal } = new AbortController()

/** Ids of all samples of verified chunks, each as often as it is in one, read from the store. */
async function idsInStore(context: JobContext): Promise<string[]> {
  const { rows } = await context.pool.query<{ key: string }>(
    `select r.object_key as key from public.storj_chunks c join public.chunk_replicas r on r.chunk_id = c.id and r.kind = 'chunk'
     where c.verified_at is not null`,
  )
  const ids: string[] = []
  for (const { key } of rows) {
    const { samples } = decodeChunk(await context.store.get(key))
    for (let row = 0; row < samples.rows; row++) ids.push(uuidAt(samples.id, row))
  }
  return ids.toSorted()
}

const idsInTable = async (context: JobContext) =>
  (await context.pool.query<{ id: string }>('select id from public.entropy_samples order by id::text')).rows.map(
    ({ id }) => id,
  )

async function listObjects(context: JobContext): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of context.store.list('v1/')) keys.push(key)
  return keys
}

/** As it is at the time of the backup: some chunks proved, some uploaded, some claimed only, some samples waiting. */
export async function beginLife(pipeline: TestPipeline): Promise<TestDevice[]> {
  const devices = await pipeline.addDevices(3)
  const batch = (n: number) =>
    devices.flatMap((device, i) =>
      makeSamples(device, 60, { start: START + n * 60_000, sequence: BigInt(60 * n), seed: `${i}`, bytes: 32 }),
    )
  await pipeline.insert(batch(0))
  await pipeline.pack()
  await pipeline.drain()
  await pipeline.insert(batch(1))
  await pipeline.pack()
  await pipeline.drain(['upload-chunk'])
  await pipeline.insert(batch(2))
  await pipeline.pack()
  await pipeline.insert(batch(3))
  return devices
}

/** Everything is packed and proved, and objects are made that the backup knows nothing of. All objects there are then. */
export async function goOn(context: JobContext, { deviceId, profileId }: TestDevice): Promise<string[]> {
  await context.pool.query(
    `insert into public.entropy_samples (device_id, profile_id, "timestamp", sequence, byte_length, sample_data)
     select $1, $2, to_timestamp($3) + n * interval '1 s', 1000 + n, 32, decode(repeat('ab', 32), 'hex')
     from generate_series(1, 10) n`,
    [deviceId, profileId, (START + 600_000) / 1000],
  )
  await runPack(context, { signal })
  await drain(context)
  expect(await idsInStore(context)).toEqual(await idsInTable(context))
  return await listObjects(context)
}

/**
 * The database is as it was at the backup: all that it had is proved in the end, once, and nothing is stored a second time. How many
 * samples that is.
 */
export async function expectNothingLost(context: JobContext, objectsBefore: readonly string[]): Promise<number> {
  const kept = await idsInTable(context)
  expect(kept).toHaveLength(4 * 180)
  const claimed = (await context.pool.query<{ id: string }>('select id from public.storj_chunks')).rows
  await runReconcile(context)
  await runPack(context, { signal })
  await drain(context)
  // Its objects are the ones that were made before, byte for byte.
  expect(await idsInStore(context)).toEqual(kept)
  const { rows } = await context.pool.query(
    `select (select count(*)::int from public.storj_chunks where verified_at is null) as unproved,
       (select sum(sample_count)::int from public.device_timeslice_stats where bucket_end - bucket_start = interval '1 hour') as sliced,
       (select (sums ->> 'sum_n')::int from public.network_stats
        where bucket_end - bucket_start = interval '1 hour' and profile = 'all_bits') as trials,
       (select count(*)::int from pgboss.job where name = 'dead-letter') as dead`,
  )
  expect(rows).toEqual([{ unproved: 0, sliced: 720, trials: 720, dead: 0 }])
  // What had been claimed by then was not stored a second time; nothing that is in the store was lost.
  const objectsAfter = await listObjects(context)
  expect(objectsBefore.every((key) => objectsAfter.includes(key))).toBe(true)
  const made = objectsAfter.filter((key) => !objectsBefore.includes(key))
  expect(claimed.filter(({ id }) => made.some((key) => key.includes(id)))).toEqual([])
  expect(claimed.length).toBeGreaterThan(5)
  return kept.length
}
