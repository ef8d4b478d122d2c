import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { JobContext } from '../../jobs/context.ts'
import type { QueueName } from '../../jobs/queues.ts'
import { NO_SPAN, type JobOutcome, type Telemetry } from '../../jobs/telemetry.ts'
import { runWorker } from '../../jobs/work.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'

type Job = Parameters<Telemetry['startJob']>[0]

let pipeline: TestPipeline
let checkpoint: JobContext['checkpoint']
/** Every job that telemetry was told of, how it ended, and with which error. */
let told: (Pick<Job, 'queue' | 'attempt'> & { outcome: JobOutcome; error: unknown })[]

const telemetry: Telemetry = {
  on: true,
  startJob: ({ queue, attempt }) => {
    return { ...NO_SPAN, end: (outcome, error) => told.push({ queue, attempt, outcome, error }) }
  },
  recordHealth: () => {},
}

beforeEach(async () => {
  told = []
  checkpoint = () => {}
  pipeline = await openPipeline({ checkpoint: (step) => checkpoint(step) })
  const [device] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(device, 20))
  await pipeline.pack()
})

afterEach(() => pipeline.close())

const work = (queue: QueueName = 'upload-chunk') =>
  runWorker({ ...pipeline.context, telemetry }, { mode: 'drain', queues: [queue], concurrency: 1 })

test('a job that is done ends as completed, once', async () => {
  await work()
  expect(told).toEqual([{ queue: 'upload-chunk', attempt: 1, outcome: 'completed', error: undefined }])
})

test('a job that fails ends as failed, with its error, and its next attempt has the next number', async () => {
  checkpoint = (step) => {
    if (step === 'put' && told.length === 0) throw new Error('no luck')
  }
  await work()
  await pipeline.db.query('update pgboss.job set start_after = now()')
  await work()
  expect(told).toEqual([
    { queue: 'upload-chunk', attempt: 1, outcome: 'failed', error: expect.objectContaining({ message: 'no luck' }) },
    { queue: 'upload-chunk', attempt: 2, outcome: 'completed', error: undefined },
  ])
})

test('an attempt that another has taken over ends as overtaken', async () => {
  const other = await pipeline.openWorker()
  checkpoint = async (step) => {
    if (step !== 'put') return
    await pipeline.expireJobs()
    await pipeline.db.query('update pgboss.job set start_after = now()')
    await runWorker(other.context, { mode: 'drain', queues: ['upload-chunk'] })
  }
  await work()
  expect(told.map(({ attempt, outcome }) => ({ attempt, outcome }))).toEqual([{ attempt: 1, outcome: 'overtaken' }])
})

test('an attempt whose heartbeat finds its job gone ends as overtaken, and leaves no note on the chunk', async () => {
  vi.useFakeTimers({ toFake: ['setInterval'] })
  const touch = vi.spyOn(pipeline.context.boss, 'touch')
  checkpoint = async (step) => {
    if (step !== 'put' || told.length > 0) return
    await pipeline.expireJobs()
    vi.advanceTimersToNextTimer()
    await touch.mock.results[0].value
  }
  try {
    await work()
  } finally {
    vi.useRealTimers()
  }
  expect(told).toMatchObject([{ queue: 'upload-chunk', attempt: 1, outcome: 'overtaken' }])
  const { rows } = await pipeline.db.query('select last_error from public.storj_chunks')
  expect(rows).toEqual([{ last_error: null }])
})

test('a job that ends too late to be its worker’s ends as expired', async () => {
  const [device] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(device, 20))
  await pipeline.context.boss.send('pack', {})
  let expired = false
  checkpoint = async (step) => {
    if (step !== 'claim' || expired) return
    expired = true
    await pipeline.expireJobs()
  }
  await work('pack')
  expect(told.slice(0, 1)).toMatchObject([{ queue: 'pack', attempt: 1, outcome: 'expired' }])
})
