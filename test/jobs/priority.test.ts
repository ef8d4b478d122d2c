/** Past work waits for live work, with all that it sends on; live work never waits for past work. */
import { truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { sendJob, sendJobs } from '../../jobs/boss.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'

const START = Date.UTC(2026, 10, 1, 12)
const MIRROR = { backend: 'local', bucket: 'mirror' } as const
let pipeline: TestPipeline
let device: TestDevice
beforeEach(async () => {
  pipeline = await openPipeline({ mirror: MIRROR })
  ;[device] = await pipeline.addDevices(1)
})
afterEach(() => pipeline.close())

/** Each queue's priorities of jobs that no worker has taken. */
async function waiting() {
  const { rows } = await pipeline.db.query<{ name: string; priorities: number[] }>(
    `select name, array_agg(distinct priority order by priority) as priorities from pgboss.job
     where state < 'active' and name <> 'dead-letter' group by name`,
  )
  return Object.fromEntries(rows.map(({ name, priorities }) => [name, priorities]))
}

const chunkId = async () => (await pipeline.db.query<{ id: string }>('select id from public.storj_chunks')).rows[0].id

it('live work sends live work', async () => {
  await pipeline.insert(makeSamples(device, 10, { start: START }))
  await pipeline.pack()
  await pipeline.drain(['upload-chunk'])
  expect(await waiting()).toEqual({ 'test-chunk': [0], 'copy-object': [0] })
  await pipeline.drain(['test-chunk'])
  expect(await waiting()).toEqual({ 'rollup-slice': [0], 'rollup-coherence': [0], 'copy-object': [0] })
})

it('what a job of past work sends on is past work too, before what is not begun', async () => {
  await pipeline.insert(makeSamples(device, 10, { start: START }))
  await pipeline.pack()
  await pipeline.drain(['upload-chunk'])
  for await (const { key } of pipeline.store.list('v1/')) await truncate(join(pipeline.store.root, key), 100)
  await pipeline.drain(['test-chunk'])
  await pipeline.db.query(`delete from pgboss.job where name in ('copy-object', 'dead-letter')`)
  const chunk_id = await chunkId()
  await pipeline.db.query(`update public.storj_chunks set status = 'pending'`)
  const { boss, pool } = pipeline.context
  await sendJob(boss, pool, 'upload-chunk', { chunk_id, replace: true }, { key: chunk_id, priority: -10 })
  await pipeline.drain(['upload-chunk'])
  expect(await waiting()).toEqual({ 'test-chunk': [-9], 'copy-object': [-9] })
  await pipeline.drain(['test-chunk'])
  // The copy of the object was sent by the upload, that of the sidecar by the proof.
  expect(await waiting()).toEqual({ 'rollup-slice': [-8], 'rollup-coherence': [-8], 'copy-object': [-9, -8] })
})

it('a live mark of an hour raises the queued one of a backfill, and is never lowered by one', async () => {
  const { boss, pool } = pipeline.context
  const hour = START / 1000
  const key = `${device.deviceId}:${hour}`
  const past = async () => {
    const slice = { data: { device_id: device.deviceId, hour }, key, priority: -10 }
    const other = { data: { device_id: device.deviceId, hour: hour - 3600 }, key: `${device.deviceId}:${hour - 3600}` }
    await sendJobs(boss, pool, 'rollup-slice', [slice, { ...other, priority: -10 }])
    await sendJobs(boss, pool, 'rollup-coherence', [{ data: { hour }, key: String(hour), priority: -10 }])
  }
  await past()
  expect(await waiting()).toEqual({ 'rollup-slice': [-10], 'rollup-coherence': [-10] })
  await pipeline.insert(makeSamples(device, 10, { start: START }))
  await pipeline.pack()
  await pipeline.drain(['upload-chunk', 'test-chunk', 'copy-object'])
  const raised = { 'rollup-slice': [-10, 0], 'rollup-coherence': [0] }
  expect(await waiting()).toMatchObject(raised)
  await past()
  expect(await waiting()).toMatchObject(raised)
  const { rows } = await pipeline.db.query(
    `select priority from pgboss.job where name = 'rollup-slice' and singleton_key = $1`,
    [key],
  )
  expect(rows).toEqual([{ priority: 0 }])
})

it('one job that is sent alone raises what keeps it out, of either policy', async () => {
  const { boss, pool } = pipeline.context
  const chunk_id = crypto.randomUUID()
  for (const priority of [-10, -9, -10, 0, -10]) {
    await sendJob(boss, pool, 'test-chunk', { chunk_id }, { key: chunk_id, priority })
    await sendJob(boss, pool, 'rollup-coherence', { hour: 0 }, { key: '0', priority })
  }
  expect(await waiting()).toEqual({ 'test-chunk': [0], 'rollup-coherence': [0] })
})
