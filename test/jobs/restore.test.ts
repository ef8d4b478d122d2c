/**
 * The restore drill: a database goes back to what it was some time ago, while the object store has gone on. The copy is made of
 * the server's files, as a snapshot or point-in-time recovery gives it.
 */
import { pino } from 'pino'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openContext, type OpenContext } from '../../infra/context.ts'
import { runPack } from '../../jobs/pack.ts'
import { runReconcile } from '../../jobs/reconcile.ts'
import { decodeChunk } from '../../pipeline/chunk-format.ts'
import { uuidAt } from '../../pipeline/samples.ts'
import { runAsAdmin } from '../harness/database.ts'
import { drain, makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'

const START = Date.UTC(2026, 5, 1, 12)
const signal = new AbortController().signal
let pipeline: TestPipeline
let opened: OpenContext[]
let copies: string[]
beforeEach(async () => {
  pipeline = await openPipeline({ chunkTargetBytes: 4096 })
  opened = []
  copies = []
})
afterEach(async () => {
  await Promise.all(opened.map(({ close }) => close()))
  await pipeline.close()
  for (const name of copies) await runAsAdmin(`drop database if exists ${name} with (force)`)
})

/** Workers and a connection on a database of this name, with the same store. */
async function open(name: string) {
  const url = new URL(pipeline.config.databaseUrl)
  url.pathname = `/${name}`
  const worker = await openContext({ ...pipeline.config, databaseUrl: url.href }, pino({ level: 'silent' }), {
    poolSize: 8,
  })
  opened.push(worker)
  return worker.context
}

type Context = Awaited<ReturnType<typeof open>>

/** Ids of all samples of verified chunks, each as often as it is in one, read from the store. */
async function idsInStore(context: Context): Promise<string[]> {
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

const idsInTable = async (context: Context) =>
  (await context.pool.query<{ id: string }>('select id from public.entropy_samples order by id::text')).rows.map(
    ({ id }) => id,
  )

it('a database that was restored goes on where its backup was, and loses or repeats nothing', async () => {
  const devices = await pipeline.addDevices(3)
  const batch = (n: number) =>
    devices.flatMap((device, i) =>
      makeSamples(device, 60, { start: START + n * 60_000, sequence: BigInt(60 * n), seed: `${i}`, bytes: 32 }),
    )
  // At the time of the backup: some chunks proved, some uploaded, some claimed only, some samples waiting.
  await pipeline.insert(batch(0))
  await pipeline.pack()
  await pipeline.drain()
  await pipeline.insert(batch(1))
  await pipeline.pack()
  await pipeline.drain(['upload-chunk'])
  await pipeline.insert(batch(2))
  await pipeline.pack()
  await pipeline.insert(batch(3))
  await pipeline.vanish()
  await pipeline.db.end()
  const original = new URL(pipeline.config.databaseUrl).pathname.slice(1)
  const backup = `${original}_backup`
  copies.push(backup)
  await runAsAdmin(`create database ${backup} template ${original} strategy file_copy owner postgres`)

  // Life goes on: everything is packed and proved, objects are made that the backup knows nothing of.
  const before = await open(original)
  const late = makeSamples(devices[0], 10, { start: START + 600_000, sequence: 1000n, seed: 'late', bytes: 32 })
  await before.pool.query(
    `insert into public.entropy_samples (device_id, profile_id, "timestamp", sequence, byte_length, sample_data)
     select $1, $2, to_timestamp($3) + n * interval '1 s', 1000 + n, 32, decode(repeat('ab', 32), 'hex')
     from generate_series(1, 10) n`,
    [late[0].deviceId, late[0].profileId, (START + 600_000) / 1000],
  )
  await runPack(before, { signal })
  await drain(before)
  expect(await idsInStore(before)).toEqual(await idsInTable(before))
  const objectsBefore: string[] = []
  for await (const { key } of before.store.list('v1/')) objectsBefore.push(key)

  // The database is lost, and comes back as it was at the backup.
  const restored = await open(backup)
  const kept = await idsInTable(restored)
  expect(kept).toHaveLength(4 * 180)
  const claimed = (await restored.pool.query<{ id: string }>('select id from public.storj_chunks')).rows
  await runReconcile(restored)
  await runPack(restored, { signal })
  await drain(restored)
  // All that the backup had is proved, once; its objects are the ones that were made before, byte for byte.
  expect(await idsInStore(restored)).toEqual(kept)
  const { rows } = await restored.pool.query(
    `select (select count(*)::int from public.storj_chunks where verified_at is null) as unproved,
       (select sum(sample_count)::int from public.device_timeslice_stats where bucket_end - bucket_start = interval '1 hour') as sliced,
       (select (sums ->> 'sum_n')::int from public.network_stats
        where bucket_end - bucket_start = interval '1 hour' and profile = 'all_bits') as trials,
       (select count(*)::int from pgboss.job where name = 'dead-letter') as dead`,
  )
  expect(rows).toEqual([{ unproved: 0, sliced: 720, trials: 720, dead: 0 }])
  // What had been claimed by then was not stored a second time; nothing that is in the store was lost.
  const objectsAfter: string[] = []
  for await (const { key } of restored.store.list('v1/')) objectsAfter.push(key)
  expect(objectsBefore.every((key) => objectsAfter.includes(key))).toBe(true)
  const made = objectsAfter.filter((key) => !objectsBefore.includes(key))
  expect(claimed.filter(({ id }) => made.some((key) => key.includes(id)))).toEqual([])
  expect(claimed.length).toBeGreaterThan(5)
})
