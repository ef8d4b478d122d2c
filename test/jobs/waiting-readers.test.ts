/** Analyses that wait for samples which retention is about to take. */
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { collectSamples, timeRange } from '../../jobs/collect-samples.ts'
import { runPrune } from '../../jobs/prune.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'

const DAY = 86_400_000
const RETENTION_DAYS = 30
const SIGNAL = new AbortController().signal
/** Midnight after the newest day that is past retention. */
const UPPER = new Date(Date.now() - RETENTION_DAYS * DAY).setUTCHours(0, 0, 0, 0)
const NOON = UPPER - DAY / 2
const PARTITION = `entropy_samples_${new Date(NOON).toISOString().slice(0, 10).replaceAll('-', '')}`

let pipeline: TestPipeline
let device: TestDevice
let idle: TestDevice
beforeEach(async () => {
  pipeline = await openPipeline({ retentionDays: RETENTION_DAYS })
  ;[device, idle] = await pipeline.addDevices(2)
})
afterEach(() => pipeline.close())

async function pack(start: number): Promise<void> {
  await pipeline.insert(makeSamples(device, 5, { start }))
  await pipeline.pack()
  await pipeline.drain()
}

async function packDay(): Promise<void> {
  await pipeline.db.query('select app_private.ensure_partitions($1::date, $1::date)', [new Date(NOON).toISOString()])
  await pack(NOON)
}

interface Asked {
  user?: string
  devices?: string[]
  from?: number
  to?: number
}

async function ask({
  user = pipeline.userId,
  devices = [],
  from = NOON - DAY,
  to = NOON + DAY,
}: Asked): Promise<string> {
  const { rows } = await pipeline.db.query<{ id: string }>(
    `insert into public.analysis_jobs (user_id, device_ids, time_range_start, time_range_end, test_names)
     values ($1, $2, $3, $4, '{frequency}') returning id`,
    [user, devices, new Date(from), new Date(to)],
  )
  return rows[0].id
}

async function addUser(role = 'user'): Promise<string> {
  const id = randomUUID()
  await pipeline.db.query('insert into auth.users (id, email) values ($1::uuid, $1::uuid::text)', [id])
  await pipeline.db.query('update public.profiles set role = $2 where id = $1', [id, role])
  return id
}

async function prune(retentionDays = RETENTION_DAYS) {
  const { context } = pipeline
  const settings = { ...context.settings, retentionDays }
  return (await runPrune({ ...context, settings }, { signal: SIGNAL })).output
}

describe('the newest day past retention', () => {
  it.each<[string, () => Asked | Promise<Asked>]>([
    ['of all devices of a user who has samples there', () => ({})],
    ['of a device that has', () => ({ devices: [idle.deviceId, device.deviceId.toUpperCase()] })],
    ['of an admin', async () => ({ user: await addUser('admin') })],
    ['of an admin, of a device that has', async () => ({ user: await addUser('admin'), devices: [device.deviceId] })],
  ])('waits for an analysis %s, and no longer than a day', async (_, asked) => {
    await packDay()
    const id = await ask(await asked())
    expect(await prune()).toMatchObject({
      dropped: [],
      kept: [{ partition: PARTITION, blockers: [`analysis ${id} is queued`] }],
    })
    // As it is a day later, whoever goes on asking.
    expect(await prune(RETENTION_DAYS - 1)).toMatchObject({ dropped: [{ partition: PARTITION, rows: 5 }], kept: [] })
    await pipeline.drain(['run-analysis'])
    const { rows } = await pipeline.db.query(
      `select summary -> 'status' as status, metrics -> 'data' -> 'samples' as samples from public.analysis_results
       where job_id = $1 and device_id = $2`,
      [id, device.deviceId],
    )
    expect(rows).toEqual([{ status: 'ok', samples: 5 }])
  })

  it.each<[string, () => Asked | Promise<Asked>]>([
    ['somebody without a device', async () => ({ user: await addUser() })],
    ['somebody who names another’s device', async () => ({ user: await addUser(), devices: [device.deviceId] })],
    ['a device without samples there', () => ({ devices: [idle.deviceId] })],
    ['a device that does not exist', () => ({ devices: [randomUUID(), 'x'] })],
    ['the day before', () => ({ to: UPPER - DAY })],
    ['the day after', () => ({ from: UPPER, to: UPPER + DAY })],
    ['no time at all', () => ({ from: NOON + 9, to: NOON - 9 })],
  ])('waits for no analysis of %s', async (_, asked) => {
    await packDay()
    await ask({ from: NOON - 9000 * DAY, to: NOON + 9000 * DAY, ...(await asked()) })
    expect(await prune()).toMatchObject({ dropped: [{ partition: PARTITION, rows: 5 }], kept: [] })
  })

  it('names three of a thousand that it waits for', async () => {
    await packDay()
    await pipeline.db.query(
      `insert into public.analysis_jobs (user_id, time_range_start, time_range_end, test_names)
       select $1, $2, $3, '{frequency}' from generate_series(1, 1000)`,
      [pipeline.userId, new Date(NOON - DAY), new Date(NOON + DAY)],
    )
    expect((await prune()).kept[0].blockers).toHaveLength(3)
  })
})

it('strays past retention wait for an analysis of their device, and no longer than a day', async () => {
  // Without a partition of their day.
  await pack(Date.now() - (RETENTION_DAYS + 0.5) * DAY)
  const range = { from: NOON - 2 * DAY, to: NOON + 2 * DAY }
  await ask({ ...range, user: await addUser() })
  await ask({ ...range, devices: [idle.deviceId] })
  const id = await ask({ ...range, devices: [device.deviceId] })
  expect((await prune()).strayRows).toBe(0)
  await pipeline.db.query('update public.analysis_jobs set device_ids = $2 where id = $1', [id, []])
  expect((await prune()).strayRows).toBe(0)
  expect((await prune(RETENTION_DAYS - 1)).strayRows).toBe(5)
})

it('a day that is proved and dropped while an analysis begins to read it is read from its chunk', async () => {
  await packDay()
  const { context } = pipeline
  const pruner = await pipeline.connect()
  await pipeline.db.query(`update public.storj_chunks set status = 'uploading', verified_at = null`)
  await pruner.query('begin')
  await pruner.query('lock table only public.entropy_samples in access exclusive mode')
  const range = timeRange(
    new Date(NOON - DAY).toISOString().replace('Z', '+00'),
    new Date(UPPER).toISOString().replace('Z', '+00'),
  )
  const reading = collectSamples(context, [device.deviceId], range, SIGNAL)
  const waits = `select from pg_locks where relation = 'public.entropy_samples'::regclass and not granted`
  await vi.waitUntil(async () => (await pipeline.db.query(waits)).rowCount === 1, { timeout: 10_000 })
  await pipeline.db.query(`update public.storj_chunks set status = 'uploaded', verified_at = now()`)
  await pruner.query(`drop table entropy_partitions.${PARTITION}`)
  await pruner.query('commit')
  expect((await reading).get(device.deviceId)?.rows).toBe(5)
})
