import { randomUUID } from 'node:crypto'
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type BackfillOptions, planBackfill } from '../../jobs/backfill.ts'
import { awaitBackfills, type BackfillKind, stopBackfills } from '../../jobs/backfill-progress.ts'
import { runPrune } from '../../jobs/prune.ts'
import { runReconcile } from '../../jobs/reconcile.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'

const HOUR_MS = 3_600_000
/** Long past retention, at a full hour. */
const START = Date.UTC(2026, 2, 1, 12)
const EVER: BackfillOptions = { from: new Date(0), to: new Date(START + 1000 * HOUR_MS), deviceId: null }
const KINDS = ['tests', 'slices', 'coherence'] as const
const { signal } = new AbortController()
let pipeline: TestPipeline
let devices: TestDevice[]
beforeEach(async () => {
  pipeline = await openPipeline()
  devices = await pipeline.addDevices(2)
})
afterEach(() => pipeline.close())

/** One chunk: the first device in the first hour, the second in the second. */
async function makeChunk(drain = true) {
  await pipeline.insert(makeSamples(devices[0], 20, { start: START }))
  await pipeline.insert(makeSamples(devices[1], 20, { start: START + HOUR_MS }))
  await pipeline.pack()
  if (drain) await pipeline.drain()
}

const plan = async (kind: BackfillKind, options: Partial<BackfillOptions> = {}) =>
  (await planBackfill(pipeline.context, kind, { ...EVER, ...options })).plan
const send = async (kind: BackfillKind, options: Partial<BackfillOptions> = {}) =>
  await (await planBackfill(pipeline.context, kind, { ...EVER, ...options })).send({})
const one = async (sql: string, values?: unknown[]) => (await pipeline.db.query(sql, values)).rows[0]

describe('what this build has made', () => {
  test.each([
    ['tests', 1],
    // The hours of the chunk by each of its devices.
    ['slices', 4],
    ['coherence', 2],
  ] as const)('is left out of a backfill of %s, unless it is asked for', async (kind, touched) => {
    await makeChunk()
    expect(await plan(kind)).toMatchObject({ jobs: 0, made: touched, samples: 0, bytes: 0, seconds: 0 })
    expect(await plan(kind, { again: true })).toMatchObject({ jobs: touched, made: 0, samples: 40, bytes: 2560 })
    expect(await send(kind, { again: true })).toBe(touched)
    await pipeline.drain()
    expect(await plan(kind)).toMatchObject({ jobs: 0, made: touched })
  })

  test('stays so when its days have left Postgres', async () => {
    await makeChunk()
    await runPrune(pipeline.context, { signal })
    expect(await one('select count(*)::int as n from public.chunk_slices')).toEqual({ n: 0 })
    for (const kind of KINDS) expect(await plan(kind)).toMatchObject({ jobs: 0 })
  })

  test('a backfill that was interrupted goes on where it was', async () => {
    await makeChunk()
    await pipeline.insert(makeSamples(devices[0], 20, { start: START + 24 * HOUR_MS }))
    await pipeline.pack()
    await pipeline.drain()
    await pipeline.db.query(`update public.chunk_analysis set tests = tests || '{"version": "0"}'`)
    expect(await send('tests')).toBe(2)
    await pipeline.db.query(
      `delete from pgboss.job where id = (select id from pgboss.job where name = 'test-chunk' and state = 'created' limit 1)`,
    )
    await pipeline.drain()
    expect(await plan('tests')).toMatchObject({ jobs: 1, made: 1 })
  })

  test('does not count for a chunk that was written since, nor for one whose proof was lost', async () => {
    await makeChunk()
    await pipeline.db.query(`update public.storj_chunks set uploaded_at = now()`)
    expect(await plan('tests')).toMatchObject({ jobs: 1 })
    await pipeline.db.query(`update public.storj_chunks set uploaded_at = created_at, verified_at = null`)
    expect(await plan('tests')).toMatchObject({ jobs: 1 })
  })

  test('does not count where a rollup was given up since, or has never been', async () => {
    await makeChunk()
    const hour = START / 1000
    const dead = (queue: string, key: string) =>
      pipeline.db.query(
        `insert into pgboss.job (name, state, source_name, singleton_key, data) values ('dead-letter', 'created', $1, $2, '{}')`,
        [queue, key],
      )
    await dead('rollup-slice', `${devices[0].deviceId}:${hour}`)
    await dead('rollup-coherence', `${hour}`)
    expect(await plan('slices')).toMatchObject({ jobs: 1 })
    expect(await plan('coherence')).toMatchObject({ jobs: 1 })
    await pipeline.db.query(`delete from pgboss.job where name = 'dead-letter'`)
    await pipeline.db.query('delete from public.device_timeslice_stats where device_id = $1', [devices[0].deviceId])
    await pipeline.db.query('delete from public.device_trials')
    expect(await plan('slices')).toMatchObject({ jobs: 1 })
    expect(await plan('coherence')).toMatchObject({ jobs: 2 })
  })

  test('pairs of an older method are made anew', async () => {
    await pipeline.insert(devices.flatMap((device, i) => makeSamples(device, 60, { start: START, seed: `${i}` })))
    await pipeline.pack()
    await pipeline.drain()
    expect(await plan('coherence')).toMatchObject({ jobs: 0, made: 1 })
    await pipeline.db.query(`update public.coherence_stats set method_version = 'coherence-0'`)
    expect(await plan('coherence')).toMatchObject({ jobs: 1, made: 0 })
  })
})

test.each(['slices', 'coherence'] as const)('an hour of %s that begins at --to is not in the range', async (kind) => {
  await makeChunk()
  const from = new Date(START + HOUR_MS / 2)
  const to = new Date(START + HOUR_MS)
  expect(await plan(kind, { from, to, again: true })).toMatchObject({ jobs: kind === 'slices' ? 2 : 1 })
  expect(await plan(kind, { from: to, to: new Date(START + 2 * HOUR_MS), again: true })).toMatchObject({
    jobs: kind === 'slices' ? 2 : 1,
  })
})

describe('an estimate', () => {
  test('is a guess by size while no such job was done', async () => {
    await makeChunk()
    await pipeline.db.query('delete from pgboss.job')
    for (const kind of KINDS) {
      const { seconds, measured } = await plan(kind, { again: true })
      expect({ kind, measured, some: seconds > 0 }).toEqual({ kind, measured: false, some: true })
    }
  })

  test('is by what such jobs took a byte, or a job; those that were taken together took their time together', async () => {
    await makeChunk()
    await pipeline.db.query('delete from pgboss.job')
    const { id } = await one('select id from public.storj_chunks')
    // A batch of 20 rollups, a tenth of a second each, and 4 seconds of a test of 2560 bytes.
    await pipeline.db.query(
      `insert into pgboss.job (name, state, data, started_on, completed_on)
       select 'rollup-slice', 'completed'::pgboss.job_state, '{}', timestamptz '2026-01-01Z', timestamptz '2026-01-01Z' + n * interval '100 ms'
       from generate_series(1, 20) n
       union all
       select 'test-chunk', 'completed', jsonb_build_object('chunk_id', $1::text), '2026-01-01Z', '2026-01-01 00:00:04Z'`,
      [id],
    )
    expect(await plan('slices', { again: true })).toMatchObject({ jobs: 4, seconds: 0.4, measured: true })
    expect(await plan('tests', { again: true })).toMatchObject({ bytes: 2560, seconds: 4, measured: true })
  })
})

describe('stopping', () => {
  test('takes back what is queued, and leaves what has begun, what that sends on, and live work', async () => {
    await makeChunk()
    await send('tests', { again: true })
    await pipeline.drain(['test-chunk'])
    await pipeline.insert(makeSamples(devices[0], 5, { start: START + 48 * HOUR_MS }))
    await pipeline.pack()
    await send('slices', { again: true })
    await send('coherence', { again: true })
    await send('tests', { again: true })
    const [active] = await pipeline.context.boss.fetch('test-chunk')
    expect(active).toBeDefined()
    // The two hours of a device that has samples there are marked by the test: these jobs are its own.
    const expected = { 'rollup-slice': 2 }
    expect(await stopBackfills(pipeline.context, { dryRun: true })).toEqual(expected)
    expect(await stopBackfills(pipeline.context, { dryRun: false })).toEqual(expected)
    expect(await stopBackfills(pipeline.context, { dryRun: false })).toEqual({})
    const { rows } = await pipeline.db.query(
      `select name, count(*)::int as jobs from pgboss.job where state <= 'active' group by name order by name`,
    )
    expect(rows).toEqual([
      { name: 'rollup-coherence', jobs: 2 },
      { name: 'rollup-slice', jobs: 2 },
      { name: 'test-chunk', jobs: 1 },
      { name: 'upload-chunk', jobs: 1 },
    ])
  })

  test('a chunk whose upload is taken back is failed as before, and not sent again as live work', async () => {
    await makeChunk(false)
    await pipeline.drain(['upload-chunk'])
    for await (const { key } of pipeline.store.list('v1/')) await unlink(join(pipeline.store.root, key))
    await pipeline.drain()
    expect(await send('chunks')).toBe(1)
    expect(await stopBackfills(pipeline.context, { dryRun: false })).toEqual({ 'upload-chunk': 1 })
    expect(await one('select status, last_error from public.storj_chunks')).toEqual({
      status: 'failed',
      last_error: 'its backfill was stopped',
    })
    expect((await runReconcile(pipeline.context)).output).toMatchObject({ uploads: 0, tests: 0 })
    expect(await send('chunks')).toBe(1)
    await pipeline.drain()
    expect(await one('select verified_at is not null as verified from public.storj_chunks')).toEqual({ verified: true })
  })
})

test('waiting ends when all that was sent, and what that has sent on, is done; it tells how far that is', async () => {
  await makeChunk()
  const since = (await one('select clock_timestamp() as now')).now as Date
  await send('tests', { again: true })
  const seen: number[] = []
  const waiting = awaitBackfills(pipeline.context, since, { signal, onProgress: ({ left }) => seen.push(left) })
  await pipeline.drain()
  // The test, two hours of slices, two of coherence.
  expect(await waiting).toEqual({ left: 0, completed: 5, failed: 0 })
  expect(seen[0]).toBe(1)
})

test('waiting ends by its signal, and counts what failed for good', async () => {
  await makeChunk()
  const since = (await one('select clock_timestamp() as now')).now as Date
  await send('slices', { again: true })
  await pipeline.db.query(
    `insert into pgboss.job (name, state, priority, data, singleton_key, completed_on)
     values ('test-chunk', 'failed', -10, '{}', $1, now())`,
    [randomUUID()],
  )
  const aborted = AbortSignal.abort()
  const outcome = await awaitBackfills(pipeline.context, since, { signal: aborted, onProgress: () => {} })
  expect(outcome).toEqual({ left: 4, completed: 0, failed: 1 })
})
