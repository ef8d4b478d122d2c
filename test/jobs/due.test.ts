/** Scheduled jobs are sent when they would find something to do, and wake no worker otherwise. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { DUE } from '../../jobs/due.ts'
import { runPrune } from '../../jobs/prune.ts'
import { runReport } from '../../jobs/report.ts'
import { runTick } from '../../jobs/tick.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'

const DAY = 86_400_000
const HOUR = 3_600_000
const { signal } = new AbortController()

let pipeline: TestPipeline
let device: TestDevice
beforeEach(async () => {
  pipeline = await openPipeline()
  ;[device] = await pipeline.addDevices(1)
})
afterEach(() => pipeline.close())

const isDue = (name: 'reconcile' | 'prune' | 'report') => DUE[name]!(pipeline.context)

async function store(start: number): Promise<void> {
  await pipeline.insert(makeSamples(device, 5, { start }))
  await pipeline.pack()
  await pipeline.drain()
}

test('a system with nothing to do sends the jobs of each day, and then nothing', async () => {
  expect((await runTick(pipeline.context)).sent).toEqual(['maintain', 'sweep'])
  await pipeline.drain()
  // A new day of the schedule's clock is a new slot: without it nothing would be sent in any case.
  await pipeline.db.query('update pgboss.job set singleton_on = null')
  expect((await runTick(pipeline.context)).sent).toEqual(['maintain', 'sweep'])
  await pipeline.drain()
  expect((await runTick(pipeline.context)).readyTotal).toBe(0)
})

test('what a tick finds due, it sends once', async () => {
  await pipeline.db.query('select app_private.ensure_partitions(current_date - 40, current_date - 40)')
  await pipeline.insert(makeSamples(device, 5, { start: Date.now() - 40 * DAY }))
  await pipeline.pack()
  expect((await runTick(pipeline.context)).sent).toEqual(['reconcile', 'prune', 'maintain', 'sweep'])
  expect((await runTick(pipeline.context)).sent).toEqual([])
})

test('reconcile: from the claim of a chunk to its proof', async () => {
  expect(await isDue('reconcile')).toBe(false)
  await pipeline.insert(makeSamples(device, 5))
  await pipeline.pack()
  expect(await isDue('reconcile')).toBe(true)
  await pipeline.drain(['upload-chunk'])
  expect(await isDue('reconcile')).toBe(true)
  await pipeline.drain()
  expect(await isDue('reconcile')).toBe(false)
})

test.each([
  ['failed', `update public.storj_chunks set status = 'failed'`],
  ['not of this pipeline', `update public.storj_chunks set verified_at = null, format_version = null, sha256 = null`],
])('reconcile: not for a chunk that is %s', async (_name, change) => {
  await store(Date.now())
  await pipeline.db.query(change)
  expect(await isDue('reconcile')).toBe(false)
})

test('reconcile: not for a chunk whose proof was given up, which waits for a person, until it is stored anew', async () => {
  await store(Date.now())
  await pipeline.db.query('update public.storj_chunks set verified_at = null')
  expect(await isDue('reconcile')).toBe(true)
  await pipeline.db.query(
    `insert into pgboss.job (name, data, source_name, singleton_key)
     select 'dead-letter', '{}', 'test-chunk', id::text from public.storj_chunks`,
  )
  expect(await isDue('reconcile')).toBe(false)
  await pipeline.db.query(`update public.storj_chunks set uploaded_at = now() + interval '1 second'`)
  expect(await isDue('reconcile')).toBe(true)
})

test.each([
  [
    'an analysis',
    `analysis_jobs (user_id, time_range_start, time_range_end, test_names) values ($1, $2, $3, '{frequency}')`,
    'analysis_jobs',
  ],
  [
    'an export',
    'sample_exports (user_id, device_id, time_range_start, time_range_end) select $1, id, $2, $3 from public.devices',
    'sample_exports',
  ],
])('reconcile: while %s waits or runs', async (_name, insert, table) => {
  const range = ['2026-06-01', '2026-06-02']
  await pipeline.db.query(`insert into public.${insert}`, [pipeline.userId, ...range])
  expect(await isDue('reconcile')).toBe(true)
  await pipeline.db.query(`update public.${table} set status = 'running'`)
  expect(await isDue('reconcile')).toBe(true)
  await pipeline.db.query(`update public.${table} set status = 'failed'`)
  expect(await isDue('reconcile')).toBe(false)
})

test('prune: when a day is past retention, until it is gone', async () => {
  expect(await isDue('prune')).toBe(false)
  await pipeline.db.query('select app_private.ensure_partitions(current_date - 40, current_date - 40)')
  // With no samples too: else the first day after a quiet month would find thirty days to drop.
  expect(await isDue('prune')).toBe(true)
  await runPrune(pipeline.context, { signal })
  expect(await isDue('prune')).toBe(false)
})

test('prune: when a proved stray is past retention', async () => {
  // Days that have no partition.
  await store(Date.now() + 300 * DAY)
  expect(await isDue('prune')).toBe(false)
  await pipeline.insert(makeSamples(device, 5, { start: Date.now() - 400 * DAY }))
  expect(await isDue('prune')).toBe(false)
  await pipeline.pack()
  await pipeline.drain()
  expect(await isDue('prune')).toBe(true)
  await runPrune(pipeline.context, { signal })
  expect(await isDue('prune')).toBe(false)
})

test('report: when the day before is proved and has no report of these chunks', async () => {
  const end = Math.floor((Date.now() - HOUR) / DAY) * DAY
  expect(await isDue('report')).toBe(false)
  await store(end - 2 * HOUR)
  expect(await isDue('report')).toBe(true)
  await runReport(pipeline.context, { signal })
  expect(await isDue('report')).toBe(false)
  await pipeline.insert(makeSamples(device, 5, { start: end - HOUR, sequence: 100n }))
  await pipeline.pack()
  expect(await isDue('report')).toBe(false)
  await pipeline.drain()
  expect(await isDue('report')).toBe(true)
})
