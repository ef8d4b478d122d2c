import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { NewSample } from '../../db/samples.ts'
import { ensurePartitionOf } from '../../db/partitions.ts'
import type { ActiveJob } from '../../jobs/context.ts'
import { runPrune } from '../../jobs/prune.ts'
import { runAnalysis } from '../../jobs/run-analysis.ts'
import { secondLevelRows } from '../../pipeline/second-level.ts'
import { runTests, testNames } from '../../pipeline/tests/registry.ts'
import { createLocalUser } from '../../db/devices.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'

const START = Date.UTC(2026, 5, 1, 12)
let pipeline: TestPipeline
beforeEach(async () => {
  pipeline = await openPipeline()
})
afterEach(() => pipeline.close())

interface Request {
  user?: string
  devices?: (string | null)[]
  from?: string
  to?: string
  tests?: string[]
  parameters?: object
}

async function ask(request: Request): Promise<string> {
  const { rows } = await pipeline.db.query<{ id: string }>(
    `insert into public.analysis_jobs (user_id, device_ids, time_range_start, time_range_end, test_names, parameters)
     values ($1, $2, $3, $4, $5, $6) returning id`,
    [
      request.user ?? pipeline.userId,
      request.devices ?? [],
      request.from ?? new Date(START).toISOString(),
      request.to ?? new Date(START + 86_400_000).toISOString(),
      request.tests ?? ['frequency'],
      JSON.stringify(request.parameters ?? {}),
    ],
  )
  return rows[0].id
}

async function answer(id: string) {
  await pipeline.drain(['run-analysis'])
  const { rows } = await pipeline.db.query('select status, error_message from public.analysis_jobs where id = $1', [id])
  const results = await pipeline.db.query(
    'select test_name, device_id, summary, metrics from public.analysis_results where job_id = $1 order by device_id, test_name',
    [id],
  )
  return { ...rows[0], results: results.rows } as {
    status: string
    error_message: string | null
    results: {
      test_name: string
      device_id: string
      summary: Record<string, unknown>
      metrics: Record<string, unknown>
    }[]
  }
}

const joined = (samples: readonly NewSample[]) => new Uint8Array(Buffer.concat(samples.map((sample) => sample.data)))

describe('an analysis reads each sample exactly once', () => {
  it('from uploaded chunks, claimed rows and unclaimed rows together, as if they were one string', async () => {
    const [device, other] = await pipeline.addDevices(2)
    const samples = makeSamples(device, 90, { start: START })
    // Interleaved over three fates, so that chunks overlap in time and no part is contiguous by itself.
    const fate = (n: number) => samples.filter((_, index) => index % 3 === n)
    await pipeline.insert([...fate(0), ...makeSamples(other, 20, { start: START, seed: 'other' })])
    await pipeline.pack()
    await pipeline.drain(['upload-chunk', 'test-chunk'])
    await pipeline.insert(fate(1))
    await pipeline.pack()
    await pipeline.insert(fate(2))

    const { status, results } = await answer(await ask({ devices: [device.deviceId], tests: [...testNames] }))
    expect(status).toBe('completed')
    const expected = runTests(testNames, [joined(samples)])
    expect(results).toHaveLength(expected.length)
    for (const result of expected) {
      const stored = results.find((row) => row.test_name === result.test)
      expect(stored?.summary).toMatchObject({
        status: result.status,
        p_values: result.p_values,
        statistic: result.statistic,
      })
      expect(stored?.metrics.data).toMatchObject({ samples: 90, bytes: 90 * 64, segments: 1 })
    }
  })

  it('when an uploaded chunk is not yet verified, and when its rows are pruned', async () => {
    const old = Date.UTC(2026, 0, 5, 1)
    await ensurePartitionOf(pipeline.db, new Date(old))
    const [device] = await pipeline.addDevices(1)
    const samples = makeSamples(device, 40, { start: old })
    await pipeline.insert(samples)
    await pipeline.pack()
    await pipeline.drain(['upload-chunk'])
    const range = {
      devices: [device.deviceId],
      from: new Date(old).toISOString(),
      to: new Date(old + 3_600_000).toISOString(),
    }
    const before = await answer(await ask(range))
    await pipeline.drain()
    const pruned = await runPrune(pipeline.context, { signal: new AbortController().signal })
    expect(pruned.output.dropped.map((partition) => partition.rows)).toEqual([40])
    const after = await answer(await ask(range))
    expect(before.results[0].metrics.data).toMatchObject({ samples: 40 })
    expect(after.results).toEqual(before.results)
  })

  it('in [from, to), to the microsecond', async () => {
    const [device] = await pipeline.addDevices(1)
    const times = ['00.000001', '00.000002', '00.000003', '00.000004'].map((second) => `2026-06-01T12:00:${second}Z`)
    const samples = times.map((timestamp, index) => ({
      ...makeSamples(device, 1)[0],
      timestamp,
      sequence: BigInt(index),
    }))
    const range = { devices: [device.deviceId], from: times[1], to: times[3] }
    await pipeline.insert(samples)
    const waiting = await answer(await ask(range))
    await pipeline.pack()
    await pipeline.drain(['upload-chunk'])
    const packed = await answer(await ask(range))
    expect(waiting.results[0].metrics.data).toMatchObject({ samples: 2, segments: 1 })
    expect(packed.results).toEqual(waiting.results)
  })
})

describe('an analysis over sequences', () => {
  it('cuts the unbroken parts, tests each, and says what they say together', async () => {
    const [device] = await pipeline.addDevices(1)
    const first = makeSamples(device, 45, { start: START })
    // A gap in the sequence: nothing is read across it.
    const second = makeSamples(device, 30, { start: START + 60_000, sequence: 100n })
    await pipeline.insert([...first, ...second])
    await pipeline.pack()
    const tests = ['frequency', 'runs', 'dft']
    const parameters = { sequences: { length_bits: 20 * 64 * 8 } }
    const { status, results } = await answer(await ask({ tests, parameters }))
    expect(status).toBe('completed')
    expect(results.map((row) => row.test_name)).toEqual(['dft', 'frequency', 'runs'])
    const parts = [first.slice(0, 20), first.slice(20, 40), second.slice(0, 20)].map(joined)
    for (const { test_name, summary } of results) {
      const rows = secondLevelRows(parts.flatMap((part) => runTests([test_name], [part])))
      const facts = { sequences: 3, length_bits: 10_240, left_out_bytes: 15 * 64 }
      expect(summary).toEqual(JSON.parse(JSON.stringify({ status: 'ok', ...facts, second_level: rows })))
    }
  })

  it('too short for one is insufficient', async () => {
    const [device] = await pipeline.addDevices(1)
    await pipeline.insert(makeSamples(device, 3, { start: START }))
    const { results } = await answer(await ask({ parameters: { sequences: { length_bits: 1_000_000 } } }))
    expect(results[0].summary).toMatchObject({ status: 'insufficient', sequences: 0, second_level: [] })
  })
})

it('a long test runs in a thread: the worker goes on with its heartbeats, and a stop ends it at once', async () => {
  const [device] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(device, 1000, { start: START, bytes: 2000 }))
  const id = await ask({ tests: ['sp800_90b_non_iid'] })
  const stop = new AbortController()
  let turns = 0
  const beat = setInterval(() => turns++, 10)
  const job = { data: { analysis_job_id: id }, signal: stop.signal } as ActiveJob<'run-analysis'>
  const started = performance.now()
  setTimeout(() => stop.abort(new Error('cancelled')), 700)
  await expect(runAnalysis(pipeline.context, job)).rejects.toThrow('cancelled')
  clearInterval(beat)
  // Alone on this thread it would have let none through.
  expect(turns).toBeGreaterThan(10)
  expect(performance.now() - started).toBeLessThan(5000)
})

describe('an analysis answers only for devices its user may read', () => {
  it('all of the user’s when none is named; another’s is refused with a sentence; an admin’s are everybody’s', async () => {
    const mine = await pipeline.addDevices(2)
    const stranger = await createLocalUser(pipeline.db, 'stranger@example.test')
    await pipeline.insert(makeSamples(mine[0], 5, { start: START }))

    const all = await answer(await ask({}))
    expect(new Set(all.results.map((row) => row.device_id))).toEqual(new Set(mine.map((device) => device.deviceId)))

    const refused = await answer(await ask({ user: stranger, devices: [mine[0].deviceId] }))
    expect(refused).toMatchObject({ status: 'failed', results: [] })
    expect(refused.error_message).toContain(mine[0].deviceId)
    expect(await answer(await ask({ user: stranger }))).toMatchObject({
      status: 'failed',
      error_message: 'You have no devices to analyze.',
    })

    await pipeline.db.query(`update public.profiles set role = 'admin' where id = $1`, [stranger])
    expect(await answer(await ask({ user: stranger, devices: [mine[0].deviceId] }))).toMatchObject({
      status: 'completed',
    })
  })
})

describe('an analysis that cannot be done fails with a sentence and is not retried', () => {
  const faults: [string, Request, RegExp][] = [
    [
      'an unknown test',
      { tests: ['frequency', 'nosuch'] },
      /No test is named "nosuch"\. The tests are: frequency, block_frequency/,
    ],
    ['no test', { tests: [] }, /test_names is empty/],
    ['a range that ends before it begins', { from: '2026-06-02', to: '2026-06-01' }, /time_range_start must be before/],
    ['a range of the far future', { from: '12000-01-01', to: '12000-01-02' }, /years 1 to 9999/],
    ['a null device', { devices: [null] }, /not devices of yours/],
    ['something that is no uuid', { devices: ['my-device'] }, /not devices of yours: my-device/],
    ['a parameter of no test', { parameters: { nosuch: {} } }, /parameters/],
    ['a parameter the test has not', { parameters: { frequency: { nosuch: 1 } } }, /has no parameter "nosuch"/],
    ['sequences of no whole bytes', { parameters: { sequences: { length_bits: 1001 } } }, /parameters/],
    ['a parameter out of range', { tests: ['serial'], parameters: { serial: { m: 99 } } }, /must be an integer/],
  ]
  it.each(faults)('%s', async (_, request, message) => {
    await pipeline.addDevices(1)
    const id = await ask(request)
    const { status, error_message, results } = await answer(id)
    expect({ status, results }).toEqual({ status: 'failed', results: [] })
    expect(error_message).toMatch(message)
    const { rows } = await pipeline.db.query(`select state, retry_count from pgboss.job where singleton_key = $1`, [id])
    expect(rows).toEqual([{ state: 'completed', retry_count: 0 }])
  })
})

describe('an analysis whose row goes away', () => {
  it('takes its job with it', async () => {
    const [device] = await pipeline.addDevices(1)
    const id = await ask({ devices: [device.deviceId] })
    await pipeline.db.query('delete from public.analysis_jobs where id = $1', [id])
    const { completed, failed } = await pipeline.drain(['run-analysis'])
    expect({ completed, failed }).toEqual({ completed: {}, failed: {} })
  })

  it('of a job that does not exist is not an error either', async () => {
    const missing = randomUUID()
    await pipeline.context.boss.send('run-analysis', { analysis_job_id: missing }, { singletonKey: missing })
    expect((await pipeline.drain(['run-analysis'])).failed).toEqual({})
  })
})

describe('a worker that dies in the middle of an analysis', () => {
  it('leaves a row that the next worker completes, its results there once', async () => {
    const [device]: TestDevice[] = await pipeline.addDevices(1)
    await pipeline.insert(makeSamples(device, 10, { start: START }))
    const id = await ask({ devices: [device.deviceId] })
    await pipeline.context.boss.fetch('run-analysis')
    await pipeline.db.query(`update public.analysis_jobs set status = 'running' where id = $1`, [id])
    await pipeline.expireJobs()
    const { status, results } = await answer(id)
    expect(status).toBe('completed')
    expect(results).toHaveLength(1)
  })
})
