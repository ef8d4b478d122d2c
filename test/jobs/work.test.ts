import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn, setTimeout } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { listReadyQueues } from '../../db/queues.ts'
import { sendJob } from '../../jobs/boss.ts'
import type { JobContext } from '../../jobs/context.ts'
import { QUEUE_NAMES } from '../../jobs/queues.ts'
import { pauseMs, runWorker } from '../../jobs/work.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'

let pipeline: TestPipeline
beforeEach(async () => {
  pipeline = await openPipeline()
})
afterEach(() => pipeline.close())

/** Counts the worker's looks at the queues, and calls back at each. */
function watchLooks({ pool, ...context }: JobContext, onLook: (looks: number) => void): JobContext {
  let looks = 0
  const query = (text: unknown, ...rest: unknown[]) => {
    const answer = (pool.query as (...args: unknown[]) => unknown)(text, ...rest)
    if (typeof text === 'string' && text.includes('as queue (name, place)')) onLook(++looks)
    return answer
  }
  return { ...context, pool: new Proxy(pool, { get: (it, key) => (key === 'query' ? query : Reflect.get(it, key)) }) }
}

test('queues that have a job which may begin now are ready, and no others', async () => {
  const { boss, pool } = pipeline.context
  await sendJob(boss, pool, 'prune', {})
  await boss.send('sweep', {}, { startAfter: 60 })
  await sendJob(boss, pool, 'reconcile', {})
  await boss.fetch('reconcile')
  expect(await listReadyQueues(pool, QUEUE_NAMES)).toEqual(['prune'])
  expect(await listReadyQueues(pool, ['pack'])).toEqual([])
})

test('past work waits for all that is live, of whatever queue; analyses are live, whoever’s turn it is', async () => {
  const { boss, pool } = pipeline.context
  await sendJob(boss, pool, 'test-chunk', { chunk_id: randomUUID() }, { key: 'a', priority: -10 })
  await sendJob(boss, pool, 'pack', {})
  await sendJob(boss, pool, 'run-analysis', { analysis_job_id: randomUUID() }, { key: 'b', priority: -10_000 })
  expect(await listReadyQueues(pool, QUEUE_NAMES)).toEqual(['run-analysis', 'pack', 'test-chunk'])
  await sendJob(boss, pool, 'test-chunk', { chunk_id: randomUUID() }, { key: 'c' })
  expect(await listReadyQueues(pool, QUEUE_NAMES)).toEqual(['test-chunk', 'run-analysis', 'pack'])
})

test('the loops of a service that has nothing to do share one look', async () => {
  const stop = new AbortController()
  let looks = 0
  const context = watchLooks(pipeline.context, (n) => {
    looks = n
    // When all loops have begun; none looks again before it has rested.
    setImmediate(() => stop.abort())
  })
  await runWorker(context, { mode: 'watch', concurrency: 8, signal: stop.signal })
  expect(looks).toBe(1)
})

test('a service finds what comes while it rests', async () => {
  const stop = new AbortController()
  const context = watchLooks(pipeline.context, (looks) => {
    if (looks === 1) void sendJob(pipeline.context.boss, pipeline.db, 'prune', {})
  })
  const outcome = await runWorker(context, {
    mode: 'watch',
    signal: stop.signal,
    onJob: () => stop.abort(),
  })
  expect(outcome).toMatchObject({ completed: { prune: 1 }, stopped: 'signal' })
})

test('a drain looks less and less often while a sibling’s job goes on', () => {
  const looks = (mode: 'drain' | 'watch', seconds: number) => {
    let count = 0
    for (let quiet = 0; quiet < 1000 * seconds; quiet += pauseMs(mode, quiet)) count++
    return count
  }
  expect(pauseMs('drain', 0)).toBe(100)
  expect(looks('drain', 10)).toBeLessThan(25)
  expect(looks('drain', 3600)).toBeLessThan(2000)
  expect(looks('watch', 3600)).toBeLessThan(400)
})

test('jobs that need much memory are done one at a time; others go on beside them', async () => {
  const { boss } = pipeline.context
  const { db } = pipeline
  for (let n = 0; n < 4; n++) {
    await sendJob(boss, db, 'run-analysis', { analysis_job_id: randomUUID() }, { key: `a${n}` })
    await sendJob(boss, db, 'upload-chunk', { chunk_id: randomUUID() }, { key: `u${n}` })
  }
  const active = { 'run-analysis': 0, 'upload-chunk': 0 }
  const most = { ...active }
  // The first jobs wait until two of those that may be done side by side have begun.
  const beside = Promise.withResolvers<void>()
  // Each job's first query, in the order in which they begin; a job is over when it is completed.
  const queueOf = (text: string) =>
    text.includes('update public.analysis_jobs')
      ? 'run-analysis'
      : text.includes('update public.storj_chunks')
        ? 'upload-chunk'
        : null
  const { pool } = pipeline.context
  const query = async (text: string, values?: unknown[]) => {
    const queue = queueOf(text)
    if (queue === null) return await pool.query(text, values)
    most[queue] = Math.max(most[queue], ++active[queue])
    if (most['upload-chunk'] > 1) beside.resolve()
    await Promise.race([beside.promise, setTimeout(5_000)])
    const answer = await pool.query(text, values)
    active[queue]--
    return answer
  }
  const watched = new Proxy(pool, { get: (it, key) => (key === 'query' ? query : Reflect.get(it, key)) })
  const outcome = await runWorker({ ...pipeline.context, pool: watched }, { mode: 'drain', concurrency: 4 })
  expect(outcome.completed).toEqual({ 'run-analysis': 4, 'upload-chunk': 4 })
  expect(most['run-analysis']).toBe(1)
  expect(most['upload-chunk']).toBeGreaterThan(1)
})

test('a worker tells that it is alive when it looks, and by the heartbeats of a long job', async () => {
  vi.useFakeTimers({ toFake: ['setInterval'] })
  const { boss } = pipeline.context
  const touch = vi.spyOn(boss, 'touch')
  let alive = 0
  const beats: number[] = []
  const context: JobContext = {
    ...pipeline.context,
    checkpoint: async (step) => {
      if (step !== 'claim') return
      beats.push(alive)
      vi.advanceTimersToNextTimer()
      await touch.mock.results[0].value
      await nextTurn()
      beats.push(alive)
      // Of a job that is lost it tells no more.
      await pipeline.expireJobs()
      vi.advanceTimersToNextTimer()
      await touch.mock.results[1].value
      await nextTurn()
      beats.push(alive)
    },
  }
  const [device] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(device, 20))
  await sendJob(boss, pipeline.db, 'pack', {})
  try {
    await runWorker(context, { mode: 'drain', queues: ['pack'], concurrency: 1, onAlive: () => alive++ })
  } finally {
    vi.useRealTimers()
  }
  // The look that found the job; its heartbeat.
  expect(beats.slice(0, 3)).toEqual([1, 2, 2])
  expect(alive).toBeGreaterThan(2)
})

test('a worker that holds too much memory takes no more jobs, and says why it ends', async () => {
  await sendJob(pipeline.context.boss, pipeline.db, 'prune', {})
  const outcome = await runWorker(pipeline.context, { mode: 'watch', memoryBytes: 1024 })
  expect(outcome).toMatchObject({ completed: {}, stopped: 'memory' })
  expect(await listReadyQueues(pipeline.db, ['prune'])).toEqual(['prune'])
})
