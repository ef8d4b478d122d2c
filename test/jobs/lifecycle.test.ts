import { readFile, rename, truncate, unlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { beginChunk, markChunkUploaded } from '../../db/chunks.ts'
import { insertSamples } from '../../db/samples.ts'
import { planBackfill } from '../../jobs/backfill.ts'
import { completeJob, sendJob } from '../../jobs/boss.ts'
import type { JobContext } from '../../jobs/context.ts'
import { packOnce, runPack } from '../../jobs/pack.ts'
import { runPrune } from '../../jobs/prune.ts'
import { runReconcile } from '../../jobs/reconcile.ts'
import { runRollupCoherence } from '../../jobs/rollup-coherence.ts'
import { runRollupSlice } from '../../jobs/rollup-slice.ts'
import { sweepOrphans } from '../../jobs/sweep.ts'
import { runTick } from '../../jobs/tick.ts'
import { runWorker } from '../../jobs/work.ts'
import { hashBytes } from '../../storage/object-store.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'
import { expectEverySampleOnce, keepLedger } from './invariant.ts'

const DAY = 86_400_000
const NEVER = new AbortController().signal
const job = { signal: NEVER }
/** Noon of a day that is past retention and has a partition of its own. */
const OLD = new Date(Date.now() - 40 * DAY).setUTCHours(12, 0, 0, 0)
const OLD_PARTITION = `entropy_samples_${new Date(OLD).toISOString().slice(0, 10).replaceAll('-', '')}`
const EVER = { from: new Date(-62_135_596_800_000), to: new Date(253_402_300_799_999), deviceId: null }

let pipeline: TestPipeline
let first: TestDevice
let second: TestDevice
let checkpoint: JobContext['checkpoint']

beforeEach(async () => {
  checkpoint = () => {}
  pipeline = await openPipeline({
    chunkTargetBytes: 1024 ** 2,
    retentionDays: 30,
    checkpoint: (step) => checkpoint(step),
  })
  await keepLedger(pipeline)
  await pipeline.db.query('select app_private.ensure_partitions($1::date, $1::date)', [new Date(OLD).toISOString()])
  ;[first, second] = await pipeline.addDevices(2)
})
afterEach(() => pipeline.close())

async function packAndDrain(): Promise<void> {
  await pipeline.pack()
  await pipeline.drain()
}

async function prune() {
  return (await runPrune(pipeline.context, job)).output
}

async function rows<Row extends object = Record<string, unknown>>(sql: string, values: unknown[] = []): Promise<Row[]> {
  return (await pipeline.db.query(sql, values)).rows as Row[]
}

async function count(from: string): Promise<number> {
  return (await rows<{ count: number }>(`select count(*)::int as count from ${from}`))[0].count
}

/** A chunk's life as its row tells it. */
async function chunkStates() {
  return await rows(
    `select status::text, verified_at is not null as verified, sample_count::int as samples from public.storj_chunks order by created_at`,
  )
}

async function onlyObject(kind = 'chunk'): Promise<string> {
  const [{ key }] = await rows<{ key: string }>('select object_key as key from public.chunk_replicas where kind = $1', [
    kind,
  ])
  return join(pipeline.store.root, key)
}

describe('packing and proving', () => {
  test('a chunk of many devices keeps every sample, and each device gets its rollups', async () => {
    const devices = await pipeline.addDevices(20)
    for (const device of devices) await pipeline.insert(makeSamples(device, 15, { seed: device.deviceId }))
    await packAndDrain()
    expect(await chunkStates()).toEqual([{ status: 'uploaded', verified: true, samples: 300 }])
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
    expect(await count('(select distinct device_id from public.device_timeslice_stats) d')).toBe(20)
  })

  test('eight packers at once claim two thousand rows once each and make no empty chunk', async () => {
    for (const device of [first, second]) await pipeline.insert(makeSamples(device, 1000, { stepMs: 10 }))
    const { context } = pipeline
    const small = { ...context, settings: { ...context.settings, chunkTargetBytes: 6400 } }
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => runPack(small, job)))
    expect(outcomes.reduce((sum, { output }) => sum + output.samples, 0)).toBe(2000)
    expect(await count('public.chunk_backlog')).toBe(0)
    expect(await count('public.storj_chunks where sample_count = 0')).toBe(0)
    expect(await count('public.storj_chunks')).toBeGreaterThanOrEqual(20)
    await pipeline.drain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('samples of unequal length, empty ones and a device with a single row survive', async () => {
    await pipeline.insert(makeSamples(first, 40, { bytes: (index) => (index % 4) * 17 }))
    await pipeline.insert(makeSamples(second, 1, { bytes: 0 }))
    await packAndDrain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
    expect(await count('public.storj_chunks where sample_count = 41')).toBe(1)
  })

  test('samples that are all empty survive', async () => {
    await pipeline.insert(makeSamples(first, 3, { bytes: 0 }))
    await packAndDrain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('two samples of one device and sequence number are two samples', async () => {
    const sample = makeSamples(first, 3)
    await pipeline.insert([...sample, ...sample, ...makeSamples(first, 3, { seed: 'other' })])
    await packAndDrain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
    expect(await chunkStates()).toEqual([{ status: 'uploaded', verified: true, samples: 9 }])
  })

  test('times of any year and extreme sequence numbers survive, in the default partition', async () => {
    const times = [
      '0001-01-01 00:00:00Z',
      '1969-12-31 23:59:59.999999Z',
      '1970-01-01 00:00:00Z',
      '2199-07-01 12:00:00.000001Z',
    ]
    const samples = [...times, '9999-12-31 23:59:59.999999Z'].map((timestamp, index) => ({
      ...makeSamples(first, 1, { seed: String(index) })[0],
      timestamp,
      sequence: [-(2n ** 63n), -1n, 0n, 2n ** 63n - 1n, 1n][index],
    }))
    await pipeline.insert(samples)
    expect(await count('entropy_partitions.entropy_samples_default')).toBe(5)
    await packAndDrain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
    expect(await count("public.device_timeslice_stats where bucket_end - bucket_start = interval '1 hour'")).toBe(5)
  })

  test('a batch of another connection that commits late, with an old created_at, is packed then', async () => {
    const late = await pipeline.connect()
    await late.query('begin')
    await pipeline.insert(makeSamples(first, 5, { start: OLD }), late)
    await pipeline.insert(makeSamples(second, 5))
    await packAndDrain()
    // They share a chunk, which waits; nobody who comes later does.
    expect(await chunkStates()).toEqual([])
    await pipeline.insert(makeSamples(second, 5, { sequence: 5n }))
    await packAndDrain()
    expect(await chunkStates()).toHaveLength(1)
    await late.query('commit')
    await packAndDrain()
    expect(await chunkStates()).toHaveLength(2)
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('an open insert keeps neither another insert of its device nor a lost connection the process', async () => {
    const open = await pipeline.connect()
    await open.query('begin')
    await pipeline.insert(makeSamples(first, 1), open)
    await pipeline.db.query(`set lock_timeout = '2s'`)
    await pipeline.insert(makeSamples(first, 1, { sequence: 9n }))
    await open.query('commit')
    const worker = await pipeline.openWorker(async (step) => {
      if (step === 'claim: before commit') await worker.vanish()
    })
    await expect(packOnce(worker.context)).rejects.toThrow(/terminat|not queryable|vanished/)
    await packAndDrain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('rows older than retention that no chunk has are packed, not pruned', async () => {
    await pipeline.insert(makeSamples(first, 5, { start: OLD }))
    expect(await prune()).toMatchObject({
      dropped: [],
      kept: [
        {
          partition: OLD_PARTITION,
          blockers: ['samples that no chunk has claimed'],
        },
      ],
    })
    expect(await count('public.entropy_samples')).toBe(5)
    await packAndDrain()
    expect((await prune()).dropped).toMatchObject([{ partition: OLD_PARTITION, rows: 5 }])
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })
})

describe('what is deleted after the claim', () => {
  beforeEach(async () => {
    await pipeline.insert(makeSamples(first, 10, { start: OLD }))
    await pipeline.insert(makeSamples(second, 10, { start: OLD + 3_600_000 }))
    await pipeline.pack()
  })

  test('one device of a chunk: the chunk holds the other', async () => {
    await pipeline.db.query('delete from public.devices where id = $1', [second.deviceId])
    await pipeline.drain()
    expect(await chunkStates()).toEqual([{ status: 'uploaded', verified: true, samples: 10 }])
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('one sampling profile: the chunk holds the samples of the others', async () => {
    await pipeline.db.query('delete from public.sampling_profiles where id = $1', [second.profileId])
    await pipeline.drain()
    expect(await chunkStates()).toEqual([{ status: 'uploaded', verified: true, samples: 10 }])
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('a device, and a row of another behind our back: the deletion does not hide the loss', async () => {
    await pipeline.db.query('delete from public.devices where id = $1', [second.deviceId])
    await pipeline.db.query('delete from public.entropy_samples where sequence = 3 and device_id = $1', [
      first.deviceId,
    ])
    await pipeline.drain()
    await runReconcile(pipeline.context)
    expect(await chunkStates()).toEqual([{ status: 'failed', verified: false, samples: 20 }])
  })

  test('all devices of a chunk: nothing is left of it', async () => {
    await pipeline.db.query('delete from public.devices')
    await pipeline.drain()
    expect(await chunkStates()).toEqual([])
    expect(await count("pgboss.job where state < 'completed'")).toBe(0)
  })

  test('a row behind our back: the chunk fails, keeps its other rows and their day', async () => {
    await pipeline.db.query('delete from public.entropy_samples where sequence = 3 and device_id = $1', [
      first.deviceId,
    ])
    await pipeline.drain()
    await runReconcile(pipeline.context)
    expect(await chunkStates()).toEqual([{ status: 'failed', verified: false, samples: 20 }])
    const [{ error }] = await rows<{ error: string }>('select last_error as error from public.storj_chunks')
    expect(error).toContain('claimed 20 rows of 1280 bytes and now has 19 of 1216')
    expect((await prune()).dropped).toEqual([])
    expect(await count('public.entropy_samples where storj_chunk_id is not null')).toBe(19)
    expect(
      await rows(`select source_name, source_output ->> 'code' as code from pgboss.job where name = 'dead-letter'`),
    ).toEqual([{ source_name: 'upload-chunk', code: 'CHUNK_ROWS_CHANGED' }])
  })
})

describe('a damaged object', () => {
  beforeEach(async () => {
    await pipeline.insert(makeSamples(first, 20, { start: OLD }))
    await pipeline.pack()
    await pipeline.drain(['upload-chunk'])
  })

  const damages: [string, (path: string) => Promise<void>, string][] = [
    [
      'with a flipped bit',
      async (path) => {
        const bytes = await readFile(path)
        bytes[bytes.length >> 1] ^= 1
        await writeFile(path, bytes)
      },
      'CHUNK_CORRUPT',
    ],
    ['cut short', (path) => truncate(path, 100), 'CHUNK_CORRUPT'],
    ['removed', (path) => unlink(path), 'STORE_NOT_FOUND'],
  ]
  test.each(damages)(
    '%s is not verified, keeps its day, and is written anew by a backfill',
    async (_, damage, code) => {
      await damage(await onlyObject())
      await pipeline.drain()
      await runReconcile(pipeline.context)
      expect(await chunkStates()).toEqual([{ status: 'uploaded', verified: false, samples: 20 }])
      expect(
        await rows(`select source_name, source_output ->> 'code' as code from pgboss.job where name = 'dead-letter'`),
      ).toEqual([{ source_name: 'test-chunk', code }])
      expect(await count(`pgboss.job where name = 'test-chunk' and state < 'completed'`)).toBe(0)
      expect((await prune()).dropped).toEqual([])

      const backfill = await planBackfill(pipeline.context, 'chunks', EVER)
      expect(backfill.plan).toMatchObject({ kind: 'chunks', jobs: 1, made: 0, samples: 20, bytes: 1280 })
      expect(await backfill.send({})).toBe(1)
      await pipeline.drain()
      expect(await expectEverySampleOnce(pipeline)).toEqual([])
      expect((await prune()).dropped).toHaveLength(1)
    },
  )

  test('is not deleted by an attempt that was overtaken after it was replaced', async () => {
    await truncate(await onlyObject(), 100)
    await pipeline.drain()
    await (await planBackfill(pipeline.context, 'chunks', EVER)).send({})
    const paused = Promise.withResolvers<void>()
    const resumed = Promise.withResolvers<void>()
    const zombie = await pipeline.openWorker(async (step) => {
      if (step === 'replace: deleted') throw new Error('deleted it all the same')
      if (step !== 'replace') return
      paused.resolve()
      await resumed.promise
    })
    const working = runWorker(zombie.context, { mode: 'drain', queues: ['upload-chunk'] })
    await paused.promise
    await pipeline.expireJobs()
    await pipeline.drain()
    const [chunk] = await chunkStates()
    expect(chunk).toMatchObject({ verified: true })
    resumed.resolve()
    expect((await working).failed).toEqual({ 'upload-chunk': 1 })
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('damaged after its proof, it loses the proof when it is tested again', async () => {
    await pipeline.drain()
    await truncate(await onlyObject(), 100)
    await (await planBackfill(pipeline.context, 'tests', { ...EVER, again: true })).send({})
    await pipeline.drain()
    expect(await chunkStates()).toEqual([{ status: 'uploaded', verified: false, samples: 20 }])
    expect((await prune()).dropped).toEqual([])
    await (await planBackfill(pipeline.context, 'chunks', EVER)).send({})
    await pipeline.drain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('a proof that is lost after a dead letter and a new upload is asked for again', async () => {
    await unlink(await onlyObject())
    await pipeline.drain()
    await (await planBackfill(pipeline.context, 'chunks', EVER)).send({})
    await pipeline.drain(['upload-chunk'])
    await pipeline.db.query(`delete from pgboss.job where name = 'test-chunk'`)
    expect((await runReconcile(pipeline.context)).output.tests).toBe(1)
    await pipeline.drain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })
})

test('an object that was out of reach is not written anew from the rows that a prune has left', async () => {
  const [third] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(first, 10, { start: OLD }))
  await pipeline.insert(makeSamples(second, 10))
  await pipeline.insert(makeSamples(third, 10))
  await packAndDrain()
  expect((await prune()).dropped).toMatchObject([{ rows: 10 }])
  const object = await onlyObject()
  await rename(object, `${object}.away`)
  await (await planBackfill(pipeline.context, 'tests', { ...EVER, again: true })).send({})
  await pipeline.drain()
  expect(await chunkStates()).toEqual([{ status: 'uploaded', verified: false, samples: 30 }])
  await rename(`${object}.away`, object)
  // Rows may be missing with their device, as one is now; those of the first device are missing because they are pruned.
  await pipeline.db.query('delete from public.devices where id = $1', [third.deviceId])

  const backfill = await planBackfill(pipeline.context, 'chunks', EVER)
  await backfill.send({})
  await pipeline.drain()
  await (await planBackfill(pipeline.context, 'tests', EVER)).send({})
  await pipeline.drain()
  expect(await chunkStates()).toEqual([{ status: 'uploaded', verified: true, samples: 30 }])
  expect(await expectEverySampleOnce(pipeline)).toEqual([])
  expect(backfill.plan.jobs).toBe(0)
})

describe('pruning', () => {
  test('counts what went of a chunk within the day, of one that reaches further, and not what left with a device', async () => {
    const [third] = await pipeline.addDevices(1)
    await pipeline.insert(makeSamples(first, 20, { start: OLD }))
    await pipeline.insert(makeSamples(third, 30, { start: OLD }))
    await packAndDrain()
    await pipeline.insert(makeSamples(first, 5, { start: OLD + 3_600_000 }))
    await pipeline.insert(makeSamples(third, 3, { start: OLD + 3_600_000 }))
    await pipeline.insert(makeSamples(second, 7))
    await packAndDrain()
    expect(await chunkStates()).toHaveLength(2)
    await pipeline.db.query('delete from public.devices where id = $1', [third.deviceId])
    const left = await count('public.entropy_samples')
    expect((await prune()).dropped).toMatchObject([{ rows: 25 }])
    expect(await count('public.entropy_samples')).toBe(left - 25)
  })

  test('drops a proved day and says truly what went', async () => {
    await pipeline.insert(makeSamples(first, 50, { start: OLD }))
    await pipeline.insert(makeSamples(second, 7))
    await packAndDrain()
    const outcome = await prune()
    expect(outcome).toMatchObject({ dropped: [{ partition: OLD_PARTITION, rows: 50 }], kept: [], strayRows: 0 })
    expect(await count('public.entropy_samples')).toBe(7)
    const [log] = await rows<{ bytes: number; ms: number }>(
      `select operation_type, target_table, rows_affected::int, details ->> 'partition' as partition,
         bytes_freed::int as bytes, duration_ms as ms
       from public.maintenance_log where operation_type = 'prune'`,
    )
    expect(log).toMatchObject({ target_table: 'entropy_samples', rows_affected: 50, partition: OLD_PARTITION })
    expect(log.bytes).toBe(outcome.dropped[0].bytes)
    expect(log.bytes).toBeGreaterThan(50 * 64)
    expect(log.ms).toBeGreaterThanOrEqual(0)
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('keeps the day, and strays, that a hold wants, and only those', async () => {
    const hold = (start: number) =>
      pipeline.db.query(
        `insert into app_private.retention_holds (reason, range_start, range_end)
         values ('audit', $1::timestamptz, $1::timestamptz + interval '1 second')`,
        [new Date(start).toISOString()],
      )
    await pipeline.insert(makeSamples(first, 5, { start: OLD }))
    await pipeline.insert(makeSamples(first, 5, { start: OLD - 400 * DAY }))
    await packAndDrain()
    await hold(OLD)
    const { dropped, kept, strayRows } = await prune()
    expect({ dropped, strayRows }).toEqual({ dropped: [], strayRows: 0 })
    expect(kept).toEqual([{ partition: OLD_PARTITION, blockers: [expect.stringMatching(/^hold \d+: audit$/)] }])
    await pipeline.db.query('delete from app_private.retention_holds')
    // One that ended before the day began does not keep it, nor one that begins after it.
    await hold(OLD - 2 * DAY)
    await hold(OLD + 2 * DAY)
    expect((await prune()).dropped).toHaveLength(1)
  })

  test('keeps the day of a late row that commits between the look and the lock', async () => {
    await pipeline.insert(makeSamples(first, 5, { start: OLD }))
    await packAndDrain()
    const { context } = pipeline
    const late = await pipeline.connect()
    // The measuring comes after the look and before the lock.
    const query = context.pool.query.bind(context.pool)
    let inserted = false
    Object.assign(context.pool, {
      query: async (text: string, values?: unknown[]) => {
        if (text.includes('pg_total_relation_size')) {
          inserted = true
          await insertSamples(late, makeSamples(first, 1, { start: OLD, sequence: 99n }))
        }
        return await query(text, values)
      },
    })
    const { dropped, kept } = await prune()
    expect(inserted).toBe(true)
    expect(dropped).toEqual([])
    expect(kept).toEqual([{ partition: OLD_PARTITION, blockers: ['samples that no chunk has claimed'] }])
    await packAndDrain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test.each([OLD_PARTITION, 'entropy_samples_default'])(
    'waits for a vacuum of %s, and inserts go on',
    async (table) => {
      await pipeline.insert(makeSamples(first, 5, { start: OLD }))
      await packAndDrain()
      const vacuum = await pipeline.connect()
      // Its lock.
      await vacuum.query(`begin; lock table entropy_partitions.${table} in share update exclusive mode`)
      const pruning = prune()
      const isWaiting = async () =>
        (await rows(`select from pg_locks where mode = 'ShareUpdateExclusiveLock' and not granted`)).length > 0
      await expect.poll(isWaiting, { timeout: 10_000 }).toBe(true)
      await pipeline.insert(makeSamples(first, 1, { start: OLD, sequence: 99n }))
      await pipeline.insert(makeSamples(second, 1, { start: OLD - 400 * DAY }))
      expect(await isWaiting()).toBe(true)
      await vacuum.query('commit')
      const { kept } = await pruning
      expect(kept).toEqual([{ partition: OLD_PARTITION, blockers: ['samples that no chunk has claimed'] }])
      await packAndDrain()
      expect((await prune()).dropped).toMatchObject([{ rows: 6 }])
      expect(await expectEverySampleOnce(pipeline)).toEqual([])
    },
  )

  test('keeps the day while an insert is open, and goes on with the rest', async () => {
    await pipeline.insert(makeSamples(first, 5, { start: OLD }))
    await pipeline.insert(makeSamples(second, 5, { start: OLD - 400 * DAY }))
    await packAndDrain()
    const open = await pipeline.connect()
    await open.query('begin')
    await pipeline.insert(makeSamples(first, 1, { start: OLD, sequence: 99n }), open)
    const { dropped, kept } = await prune()
    expect(dropped).toEqual([])
    expect(kept[0].blockers).toEqual(['another transaction is using entropy_samples; the next prune tries again'])
    await open.query('commit')
    await packAndDrain()
    expect((await prune()).dropped).toMatchObject([{ rows: 6 }])
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('insists, where inserts have been in the way for a day', async () => {
    await pipeline.insert(makeSamples(first, 5, { start: OLD }))
    await packAndDrain()
    const open = await pipeline.connect()
    await open.query('begin')
    await pipeline.insert(makeSamples(second, 1), open)
    const pruning = prune()
    const hasWaited = async () =>
      (
        await rows(
          `select from pg_locks where mode = 'AccessExclusiveLock' and not granted and waitstart < now() - interval '0.3 s'`,
        )
      ).length > 0
    await expect.poll(hasWaited, { timeout: 20_000, interval: 20 }).toBe(true)
    await open.query('commit')
    expect((await pruning).dropped).toMatchObject([{ rows: 5 }])
  })

  test('deletes proved strays chunk by chunk, with a log row each', async () => {
    const day = OLD - 400 * DAY
    for (const device of [first, second]) {
      await pipeline.insert(makeSamples(device, 6, { start: day }))
      await pipeline.pack()
    }
    await pipeline.insert(makeSamples(first, 2, { start: day, sequence: 50n }))
    await pipeline.drain()
    expect((await prune()).strayRows).toBe(12)
    // The two that no chunk has yet.
    expect(await count('entropy_partitions.entropy_samples_default')).toBe(2)
    expect(
      await rows(
        `select rows_affected::int as rows, bytes_freed > 6 * 64 as freed from public.maintenance_log where details ? 'chunk_id'`,
      ),
    ).toEqual([
      { rows: 6, freed: true },
      { rows: 6, freed: true },
    ])
    await packAndDrain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })
})

describe('rollups of a pruned day', () => {
  const ROLLUPS = `
    select 'slice ' || concat_ws(' ', device_id, bucket_start, bucket_end, created_at, id) as key,
      to_jsonb(s) - 'id' as row from public.device_timeslice_stats s
    union all select 'pair ' || concat_ws(' ', device_a_id, device_b_id, bucket_start), to_jsonb(c) - 'id' from public.coherence_stats c
    union all select 'network ' || bucket_start, to_jsonb(n) from public.network_stats n order by 1`

  async function recompute(): Promise<void> {
    const { context } = pipeline
    for (const hour of [OLD / 1000, OLD / 1000 + 3600]) {
      for (const { deviceId } of [first, second]) {
        await runRollupSlice(context, { data: { device_id: deviceId, hour }, signal: NEVER })
      }
      await runRollupCoherence(context, { data: { hour }, signal: NEVER })
    }
  }

  beforeEach(async () => {
    for (const device of [first, second]) {
      await pipeline.insert(makeSamples(device, 90, { start: OLD, seed: device.deviceId }))
    }
    await packAndDrain()
  })

  test('recomputed, the rows are the same, their creation times included', async () => {
    const before = await rows(ROLLUPS)
    await recompute()
    expect(await rows(ROLLUPS)).toEqual(before)
    expect(before.length).toBeGreaterThanOrEqual(8)
  })

  test('come back whole from the sidecar when a late sample reopens the day', async () => {
    const statistics = `select device_id, bucket_start::text, sample_count::int as samples, byte_count::int as bytes,
        entropy_estimate, uniformity_chi_square, runs_test, autocorrelation, extra
      from public.device_timeslice_stats order by device_id, bucket_start, bucket_end`
    const before = await rows(statistics)
    expect(await prune()).toMatchObject({ dropped: [{ rows: 180 }], evictedChunks: 1 })
    expect(await count('public.chunk_slices')).toBe(0)
    expect(await count(`public.device_timeslice_stats where bucket_end - bucket_start < interval '1 hour'`)).toBe(0)
    expect(await count('public.device_timeslice_stats')).toBe(2)

    // Of the second device, twenty minutes on: the first device's rows must come back as they were.
    await pipeline.insert(makeSamples(second, 10, { start: OLD + 1_200_000, sequence: 90n }))
    await packAndDrain()
    const late = (await rows(statistics)).filter((row) => row.device_id === second.deviceId)
    await recompute()
    const after = await rows(statistics)
    expect(after.filter((row) => row.device_id === second.deviceId)).toEqual(late)
    expect(after.filter((row) => row.device_id === first.deviceId)).toEqual(
      before.filter((row) => row.device_id === first.deviceId),
    )
    const hour = await rows<{ samples: number; bytes: number }>(
      `select sample_count::int as samples, byte_count::int as bytes from public.device_timeslice_stats
       where device_id = $1 and bucket_end - bucket_start = interval '1 hour'`,
      [second.deviceId],
    )
    expect(hour).toEqual([{ samples: 100, bytes: 6400 }])
    expect((await prune()).strayRows).toBe(10)
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('are not computed from what a prune evicts in the middle', async () => {
    const before = await rows(ROLLUPS)
    await prune()
    checkpoint = async (step) => {
      if (step === 'rollup: restored') await runPrune({ ...pipeline.context, checkpoint: () => {} }, job)
    }
    const hour = OLD / 1000
    const stale = { code: 'CHUNK_STALE_ATTEMPT' }
    const slice = { data: { device_id: first.deviceId, hour }, signal: NEVER }
    await expect(runRollupSlice(pipeline.context, slice)).rejects.toMatchObject(stale)
    const coherence = { data: { hour }, signal: NEVER }
    await expect(runRollupCoherence(pipeline.context, coherence)).rejects.toMatchObject(stale)
    checkpoint = () => {}
    await recompute()
    const dropTimes = (all: { row?: { created_at?: string } }[]) => all.map(({ row }) => ({ ...row, created_at: '' }))
    const byText = (a: object, b: object) => JSON.stringify(a).localeCompare(JSON.stringify(b))
    expect(dropTimes(await rows(ROLLUPS)).toSorted(byText)).toEqual(dropTimes(before).toSorted(byText))
  })

  test('count a chunk that is proved while their job is already queued and runs', async () => {
    await pipeline.insert(makeSamples(first, 10, { start: OLD + 600_000, sequence: 90n }))
    await pipeline.pack()
    await pipeline.drain(['upload-chunk'])
    // Queued before the proof: its own send of this job is superfluous.
    const data = { device_id: first.deviceId, hour: OLD / 1000 }
    await sendJob(pipeline.context.boss, pipeline.db, 'rollup-slice', data, { key: `${data.device_id}:${data.hour}` })
    const sent = Promise.withResolvers<void>()
    const proved = Promise.withResolvers<void>()
    checkpoint = async (step) => {
      if (step !== 'verify: before commit') return
      sent.resolve()
      await proved.promise
    }
    const proving = pipeline.drain(['test-chunk'])
    await sent.promise
    const rolling = pipeline.drain(['rollup-slice'])
    // It runs, and waits for the lock or is done: either way the proof may commit now.
    await waitUntil(
      `exists (select from pg_locks where locktype = 'advisory' and not granted)
       or exists (select from pgboss.job where name = 'rollup-slice' and state = 'completed'
                  and completed_on > now() - interval '1 minute' and singleton_key = '${data.device_id}:${data.hour}'
                  and created_on > (select max(created_on) from pgboss.job where name = 'upload-chunk'))`,
    )
    proved.resolve()
    await Promise.all([proving, rolling])
    await pipeline.drain()
    const hours = await rows(
      `select sample_count::int as samples from public.device_timeslice_stats
       where device_id = $1 and bucket_end - bucket_start = interval '1 hour'`,
      [first.deviceId],
    )
    expect(hours).toEqual([{ samples: 100 }])
  })
})

async function waitUntil(condition: string): Promise<void> {
  for (;;) {
    const [{ met }] = await rows<{ met: boolean }>(`select ${condition} as met`)
    if (met) return
  }
}

describe('sweeping', () => {
  const AGED = new Date(Date.now() - 73 * 3_600_000)
  const bytes = new Uint8Array([1, 2, 3])

  async function putObject(key: string, age?: Date): Promise<void> {
    await pipeline.store.put(key, hashBytes(bytes))
    if (age) await utimes(join(pipeline.store.root, key), age, age)
  }
  async function exists(key: string): Promise<boolean> {
    return (await pipeline.store.head(key)) !== null
  }

  test('finds old objects that no row names, and removes them only when told to', async () => {
    await pipeline.insert(makeSamples(first, 5))
    await packAndDrain()
    for (const kind of ['chunk', 'slices']) await utimes(await onlyObject(kind), AGED, AGED)
    await putObject('v1/2020/01/01/old.arrow', AGED)
    await putObject('v1/2020/01/01/young.arrow', new Date(Date.now() - 71 * 3_600_000))
    await putObject('elsewhere/old.arrow', AGED)
    const dry = await sweepOrphans(pipeline.context, pipeline.store, { deletes: false })
    expect(dry).toMatchObject({ objects: 4, orphans: [{ key: 'v1/2020/01/01/old.arrow', size: 3 }], deleted: 0 })
    expect(await exists('v1/2020/01/01/old.arrow')).toBe(true)
    const wet = await sweepOrphans(pipeline.context, pipeline.store, { deletes: true })
    expect(wet).toMatchObject({ deleted: 1 })
    expect(await exists('v1/2020/01/01/old.arrow')).toBe(false)
    expect(await exists('v1/2020/01/01/young.arrow')).toBe(true)
    expect(await exists('elsewhere/old.arrow')).toBe(true)
    expect(await expectEverySampleOnce(pipeline)).toEqual(['v1/2020/01/01/young.arrow'])
    expect(
      await rows(
        'select operation_type, rows_affected::int, bytes_freed::int from public.maintenance_log order by executed_at',
      ),
    ).toEqual([
      { operation_type: 'sweep_dry_run', rows_affected: 1, bytes_freed: 3 },
      { operation_type: 'sweep', rows_affected: 1, bytes_freed: 3 },
    ])
  })

  test('leaves the old object of a chunk that is still on its way: the next attempt will find it there', async () => {
    await pipeline.insert(makeSamples(first, 5))
    await pipeline.pack()
    checkpoint = (step) => {
      if (step === 'put: done') throw new Error('the store lost its way')
    }
    await pipeline.drain()
    await runReconcile(pipeline.context)
    checkpoint = () => {}
    expect(await chunkStates()).toMatchObject([{ status: 'failed' }])
    const keys: string[] = []
    for await (const { key } of pipeline.store.list('v1/')) keys.push(key)
    expect(keys).toHaveLength(1)
    await utimes(join(pipeline.store.root, keys[0]), AGED, AGED)
    expect(await sweepOrphans(pipeline.context, pipeline.store, { deletes: true })).toMatchObject({
      orphans: [],
      deleted: 0,
    })
    await (await planBackfill(pipeline.context, 'chunks', EVER)).send({})
    await pipeline.drain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })
})

describe('the queues and the tables', () => {
  test('agree again after jobs were lost', async () => {
    await pipeline.insert(makeSamples(first, 5))
    await pipeline.pack()
    await pipeline.db.query('delete from pgboss.job')
    expect((await runReconcile(pipeline.context)).output).toMatchObject({ uploads: 1, tests: 0 })
    await pipeline.drain(['upload-chunk'])
    await pipeline.db.query('delete from pgboss.job')
    // Twice at once: one job all the same.
    await Promise.all([runReconcile(pipeline.context), runReconcile(pipeline.context)])
    expect(await count(`pgboss.job where name = 'test-chunk'`)).toBe(1)
    await pipeline.drain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('agree that a dead upload has failed, until a backfill revives it', async () => {
    await pipeline.insert(makeSamples(first, 5, { start: OLD }))
    await pipeline.pack()
    checkpoint = (step) => {
      if (step === 'put') throw new Error('the disk is full')
    }
    await pipeline.drain()
    expect((await runReconcile(pipeline.context)).output).toMatchObject({ failedChunks: 1, uploads: 0 })
    checkpoint = () => {}
    expect(await rows('select status::text, last_error from public.storj_chunks')).toEqual([
      { status: 'failed', last_error: 'the disk is full' },
    ])
    expect((await runTick(pipeline.context)).deadLetters).toBe(1)
    expect((await prune()).dropped).toEqual([])
    await (await planBackfill(pipeline.context, 'chunks', EVER)).send({})
    // Another reconcile before the revived job runs does not fail it again.
    expect((await runReconcile(pipeline.context)).output).toMatchObject({ failedChunks: 0, uploads: 0 })
    await pipeline.drain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })

  test('get one job of each schedule from two ticks at once, and the partitions of the coming days', async () => {
    const [{ name }] = await rows<{ name: string }>(
      `select max(relname) as name from pg_class where relname ~ '^entropy_samples_[0-9]{8}$'`,
    )
    await pipeline.db.query(`drop table entropy_partitions.${name}`)
    await pipeline.insert(makeSamples(first, 1))
    const ticks = await Promise.all([runTick(pipeline.context), runTick(pipeline.context)])
    expect(ticks.flatMap((tick) => tick.sent).toSorted()).toEqual(['maintain', 'pack', 'prune', 'sweep'])
    expect(await count('pgboss.job')).toBe(4)
    expect(ticks[0].partitionsCreated + ticks[1].partitionsCreated).toBe(1)
    expect(await count(`pg_class where relname = '${name}'`)).toBe(1)
    expect((await runTick(pipeline.context)).sent).toEqual([])
  })

  test('call nobody to a pack while no chunk is due', async () => {
    const young = { ...pipeline.context, settings: { ...pipeline.context.settings, chunkMaxAgeSeconds: 300 } }
    expect((await runTick(young)).sent).not.toContain('pack')
    await pipeline.insert(makeSamples(first, 5))
    expect((await runTick(young)).sent).not.toContain('pack')
    expect((await runTick({ ...young, settings: { ...young.settings, chunkTargetBytes: 300 } })).sent).toEqual(['pack'])
  })

  test('refuse the completion and the mark of an attempt that was overtaken', async () => {
    await pipeline.insert(makeSamples(first, 5))
    await pipeline.pack()
    const { context, db } = pipeline
    const [stale] = await context.boss.fetch('upload-chunk')
    const { chunk_id: chunkId } = stale.data as { chunk_id: string }
    const attempt = await beginChunk(db, chunkId)
    await pipeline.expireJobs()
    await db.query('update pgboss.job set start_after = now()')
    const [fresh] = await context.boss.fetch('upload-chunk')
    expect(fresh).toMatchObject({ id: stale.id, retryCount: 1 })
    await beginChunk(db, chunkId)
    const upload = { ...stale, name: 'upload-chunk' as const, retryCount: 0 }
    expect(await completeJob(context.boss, db, upload)).toBe(false)
    const file = { bucket: 'b', objectKey: 'k', size: 1, sha256: '0'.repeat(64), rows: 5, bytes: 320 }
    const mark = { id: chunkId, ...file, from: '2026-01-01', to: '2026-01-02', deviceIds: [first.deviceId] }
    expect(await markChunkUploaded(db, { ...mark, attempt: attempt?.attempt ?? 0 })).toBe(false)
    expect(await chunkStates()).toMatchObject([{ status: 'uploading' }])
    await pipeline.expireJobs()
    await pipeline.drain()
    expect(await expectEverySampleOnce(pipeline)).toEqual([])
  })
})

describe('a backfill by version', () => {
  beforeEach(async () => {
    await pipeline.insert(makeSamples(first, 20, { start: OLD }))
    await pipeline.insert(makeSamples(second, 20, { start: OLD + 3_600_000 }))
    await packAndDrain()
    await pipeline.db.query(
      `update public.device_timeslice_stats set method_version = 'slice-0' where device_id = $1`,
      [first.deviceId],
    )
    await pipeline.db.query(`update public.network_stats set method_version = 'network-0' where bucket_start < $1`, [
      new Date(OLD + 3_600_000),
    ])
    await pipeline.db.query(`update public.chunk_analysis set tests = tests || '{"version": "0"}'`)
  })

  test.each([
    ['tests', '0', 1, 1],
    ['slices', 'slice-0', 1, 4],
    ['coherence', 'network-0', 1, 2],
  ] as const)('of %s does what that version made, and nothing else', async (kind, version, jobs, ofAny) => {
    const all = await planBackfill(pipeline.context, kind, { ...EVER, again: true })
    expect(all.plan.jobs).toBe(ofAny)
    const missing = await planBackfill(pipeline.context, kind, EVER)
    expect(missing.plan).toMatchObject({ jobs, made: ofAny - jobs })
    expect((await planBackfill(pipeline.context, kind, { ...EVER, version: 'none' })).plan.jobs).toBe(0)
    const backfill = await planBackfill(pipeline.context, kind, { ...EVER, version })
    expect(backfill.plan).toMatchObject({ jobs, seconds: expect.any(Number) })
    expect(await backfill.send({})).toBe(jobs)
    await pipeline.drain()
    expect((await planBackfill(pipeline.context, kind, { ...EVER, version })).plan.jobs).toBe(0)
  })
})
