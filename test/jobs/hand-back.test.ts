import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { JobContext } from '../../jobs/context.ts'
import { completeJob } from '../../jobs/boss.ts'
import { NO_SPAN, type JobOutcome, type Telemetry } from '../../jobs/telemetry.ts'
import { runWorker } from '../../jobs/work.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'
import { expectEverySampleOnce, keepLedger } from './invariant.ts'

let pipeline: TestPipeline
beforeEach(async () => {
  pipeline = await openPipeline()
  await keepLedger(pipeline)
  const [device] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(device, 20))
  await pipeline.pack()
})
afterEach(() => pipeline.close())

const jobs = async (queue = 'upload-chunk') => {
  const { rows } = await pipeline.db.query<{ state: string; retryCount: number; triesLeft: number }>(
    `select state, retry_count as "retryCount", retry_limit - retry_count as "triesLeft" from pgboss.job where name = $1`,
    [queue],
  )
  return rows
}

const chunks = async () =>
  (await pipeline.db.query('select status::text, last_error as error from public.storj_chunks')).rows

/** A worker that is stopped at this step of its first job, and does not heed it until it is told. */
async function stopAt(step: string, context?: Partial<JobContext>) {
  const stop = new AbortController()
  const resumed = Promise.withResolvers<void>()
  const worker = await pipeline.openWorker(async (reached) => {
    if (reached !== step) return
    stop.abort()
    await resumed.promise
  })
  const outcome = await runWorker(
    { ...worker.context, ...context },
    { mode: 'drain', queues: ['upload-chunk'], concurrency: 1, signal: stop.signal, graceMs: 1 },
  )
  return { outcome, resume: resumed.resolve, worker }
}

test('a job that does not end in time is ready for others, no attempt spent, and has not failed', async () => {
  const told: { outcome: JobOutcome }[] = []
  const telemetry: Telemetry = {
    on: true,
    startJob: () => ({ ...NO_SPAN, end: (outcome) => told.push({ outcome }) }),
    recordHealth: () => {},
  }
  const [before] = await jobs()
  const { outcome } = await stopAt('put', { telemetry })
  expect(outcome).toMatchObject({
    completed: {},
    failed: {},
    handedBack: { 'upload-chunk': 1 },
    stopped: 'signal',
  })
  expect(told).toEqual([{ outcome: 'handed_back' }])
  // The next fetch counts one more.
  expect(await jobs()).toEqual([{ state: 'retry', retryCount: 0, triesLeft: before.triesLeft + 1 }])
  expect(await chunks()).toEqual([{ status: 'uploading', error: null }])
})

test('seven times handed back, a job has as many tries left as before, and its chunk gets there', async () => {
  const [before] = await jobs()
  for (let time = 0; time < 7; time++) {
    const { outcome, resume } = await stopAt('put')
    expect(outcome.handedBack).toEqual({ 'upload-chunk': 1 })
    resume()
  }
  const [after] = await jobs()
  expect(after).toEqual({ state: 'retry', retryCount: 6, triesLeft: before.triesLeft + 1 })
  expect(await jobs('dead-letter')).toEqual([])
  await pipeline.drain()
  expect(await chunks()).toEqual([{ status: 'uploaded', error: null }])
  expect(await expectEverySampleOnce(pipeline)).toEqual([])
})

test('a handler that was left behind completes nothing: not its job, nor that of the attempt after it', async () => {
  const { resume, worker } = await stopAt('put: done')
  const [next] = await pipeline.context.boss.fetch('upload-chunk')
  const complete = vi.spyOn(worker.context.boss, 'complete')
  resume()
  await expect.poll(() => complete.mock.results.length).toBe(1)
  // What it would commit is refused with its job: the chunk stays for the attempt that has it now.
  expect(await complete.mock.results[0].value).toMatchObject({ affected: 0 })
  await worker.close()
  expect(await chunks()).toEqual([{ status: 'uploading', error: null }])
  const { boss, pool } = pipeline.context
  expect(await completeJob(boss, pool, { ...next, name: 'upload-chunk', retryCount: 0 })).toBe(false)
  expect(await jobs()).toMatchObject([{ state: 'active', retryCount: 1 }])
  await pipeline.expireJobs()
  await pipeline.drain()
  expect(await expectEverySampleOnce(pipeline)).toEqual([])
})

test('of jobs taken together those that have not begun are handed back too', async () => {
  await pipeline.drain(['upload-chunk', 'test-chunk'])
  const [device] = (await pipeline.db.query<{ id: string }>('select id from public.devices')).rows
  for (let hour = 0; hour < 3; hour++) {
    await pipeline.context.boss.send('rollup-slice', { device_id: device.id, hour }, { singletonKey: `${hour}` })
  }
  const before = await jobs('rollup-slice')
  const locked = await pipeline.connect()
  await locked.query('begin; lock table public.chunk_slices, public.device_timeslice_stats in access exclusive mode')
  const stop = new AbortController()
  const working = runWorker(pipeline.context, {
    mode: 'watch',
    queues: ['rollup-slice'],
    signal: stop.signal,
    graceMs: 1,
  })
  await expect.poll(async () => (await jobs('rollup-slice')).every(({ state }) => state === 'active')).toBe(true)
  stop.abort()
  expect((await working).handedBack).toEqual({ 'rollup-slice': before.length })
  expect((await jobs('rollup-slice')).every(({ state, retryCount }) => state === 'retry' && retryCount === 0)).toBe(
    true,
  )
  await locked.query('rollback')
  await pipeline.drain()
  expect(await expectEverySampleOnce(pipeline)).toEqual([])
})
