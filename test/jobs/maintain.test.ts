import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { sendJob } from '../../jobs/boss.ts'
import { runMaintain } from '../../jobs/maintain.ts'
import { runPrune } from '../../jobs/prune.ts'
import { runTick } from '../../jobs/tick.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'

const { signal } = new AbortController()

let pipeline: TestPipeline
beforeEach(async () => {
  pipeline = await openPipeline()
})
afterEach(() => pipeline.close())

async function maintain() {
  // The server counts when a session has been idle, or is told to.
  await pipeline.db.query('select pg_stat_force_next_flush()')
  await pipeline.db.query('select 1')
  return (await runMaintain(pipeline.context, { signal })).output
}

async function readLog() {
  const { rows } = await pipeline.db.query(
    `select operation_type as operation, target_table as "table", rows_affected::int as rows, bytes_freed >= 0 as measured,
       duration_ms >= 0 as timed, details ->> 'outcome' as outcome
     from maintenance_log order by executed_at`,
  )
  return rows
}

test('the planner learns of samples as a whole, once a day', async () => {
  const [device] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(device, 500))
  const first = await maintain()
  expect(first.analyzed).toContain('public.entropy_samples')
  expect(first.vacuumed).toEqual([])
  const { rows } = await pipeline.db.query(`select reltuples from pg_class where oid = 'entropy_samples'::regclass`)
  expect(rows).toEqual([{ reltuples: 500 }])
  expect((await maintain()).analyzed).not.toContain('public.entropy_samples')
  expect(await readLog()).toContainEqual({
    operation: 'analyze',
    table: 'public.entropy_samples',
    rows: 0,
    measured: true,
    timed: true,
    outcome: 'done',
  })
})

describe('a table with many dead rows', () => {
  const vacuum = { operation: 'vacuum', table: 'public.maintenance_log', measured: true, timed: true }

  beforeEach(async () => {
    await pipeline.db.query(`alter table public.maintenance_log set (autovacuum_enabled = false)`)
    await pipeline.db.query(`alter table public.profiles set (autovacuum_enabled = false)`)
  })

  async function makeDeadRows() {
    await pipeline.db.query(
      `insert into public.maintenance_log (operation_type, target_table) select 'test', 'test' from generate_series(1, 20000)`,
    )
    await pipeline.db.query(`delete from public.maintenance_log where operation_type = 'test'`)
  }

  test('is vacuumed, one with few is left to autovacuum', async () => {
    await makeDeadRows()
    await pipeline.db.query('update public.profiles set email = email')
    expect((await maintain()).vacuumed).toEqual(['public.maintenance_log'])
    expect(await readLog()).toContainEqual({ ...vacuum, rows: 20_000, outcome: 'done' })
    expect((await maintain()).vacuumed).toEqual([])
  })

  test('that somebody still sees is not said to be rid of them', async () => {
    const reader = await pipeline.connect()
    await pipeline.db.query(
      `insert into public.maintenance_log (operation_type, target_table) select 'test', 'test' from generate_series(1, 20000)`,
    )
    await reader.query('begin isolation level repeatable read; select 1')
    await pipeline.db.query(`delete from public.maintenance_log where operation_type = 'test'`)
    await maintain()
    expect(await readLog()).toContainEqual({ ...vacuum, rows: 0, outcome: 'done' })
  })

  test('that somebody has locked is skipped, and logged so', async () => {
    await makeDeadRows()
    const other = await pipeline.connect()
    await other.query('begin; lock table public.maintenance_log in share update exclusive mode')
    await maintain()
    expect(await readLog()).toContainEqual({ ...vacuum, rows: 0, outcome: 'skipped' })
  })

  test('whose vacuum meets a statement timeout is logged, and the rest is done', async () => {
    await makeDeadRows()
    const device = await pipeline.addDevices(1)
    await pipeline.insert(makeSamples(device[0], 500))
    await pipeline.db.query('select pg_stat_force_next_flush()')
    const { pool } = pipeline.context
    const query = async (text: string, values?: unknown[]) => {
      if (!text.startsWith('vacuum')) return await pool.query(text, values)
      const client = await pool.connect()
      try {
        await client.query('set statement_timeout = 1')
        return await client.query(text)
      } finally {
        await client.query('reset statement_timeout')
        client.release()
      }
    }
    const limited = Object.assign(Object.create(pool) as typeof pool, { query })
    const { output } = await runMaintain({ ...pipeline.context, pool: limited }, { signal })
    expect(output.analyzed).toContain('public.entropy_samples')
    expect(await readLog()).toContainEqual({ ...vacuum, rows: 0, outcome: 'cancelled' })
  })
})

test('the jobs that pg-boss has deleted are logged, each once', async () => {
  const { boss, pool } = pipeline.context
  for (const key of ['a', 'b', 'c']) await sendJob(boss, pool, 'upload-chunk', { chunk_id: randomUUID() }, { key })
  await pipeline.db.query('delete from pgboss.job')
  expect((await maintain()).deletedJobs).toBe(3)
  expect(await readLog()).toContainEqual({
    operation: 'queue_cleanup',
    table: 'pgboss.job',
    rows: 3,
    measured: true,
    // By a tick, among other things.
    timed: null,
    outcome: null,
  })
  expect((await maintain()).deletedJobs).toBe(0)
})

test('a tick logs the partitions it makes', async () => {
  await pipeline.db.query(
    `do $$ declare part regclass; begin
       for part in select inhrelid::regclass from pg_inherits
         where inhparent = 'public.entropy_samples'::regclass and inhrelid::regclass::text !~ 'default' loop
         execute 'drop table ' || part;
       end loop; end $$`,
  )
  const { partitionsCreated } = await runTick(pipeline.context)
  expect(partitionsCreated).toBe(8)
  expect(await readLog()).toEqual([
    { operation: 'create_partitions', table: 'entropy_samples', rows: 0, measured: true, timed: true, outcome: null },
  ])
})

test('the minutes that leave with their day are logged with their bytes', async () => {
  const [device] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(device, 60, { start: Date.UTC(2026, 2, 1, 12) }))
  await pipeline.pack()
  await pipeline.drain()
  await runPrune(pipeline.context, { signal })
  const { rows } = await pipeline.db.query(
    `select target_table as "table", rows_affected::int as rows, bytes_freed > 100 as bytes from maintenance_log
     where operation_type = 'drop_minute_stats' and target_table = 'device_timeslice_stats'`,
  )
  expect(rows).toEqual([{ table: 'device_timeslice_stats', rows: 1, bytes: true }])
})
