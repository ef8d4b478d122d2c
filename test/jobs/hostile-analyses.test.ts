/** Analyses as somebody would ask who means harm. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { runAsUser } from '../harness/database.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'

let pipeline: TestPipeline
let device: TestDevice
beforeEach(async () => {
  pipeline = await openPipeline()
  ;[device] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(device, 5, { start: Date.UTC(2026, 5, 1) }))
})
afterEach(() => pipeline.close())

async function ask(request: { tests?: string[]; devices?: string[]; parameters?: string; to?: string }) {
  const { tests = ['frequency'], devices = [], parameters = '{}', to = '2026-06-02' } = request
  const insert = () =>
    pipeline.db.query(
      `insert into public.analysis_jobs (user_id, device_ids, time_range_start, time_range_end, test_names, parameters)
       values ($1, $2, '2026-06-01', $3, $4, $5) returning id`,
      [pipeline.userId, devices, to, tests, parameters],
    )
  const { rows } = await runAsUser(pipeline.db, pipeline.userId, insert)
  await pipeline.drain(['run-analysis'])
  const { rows: jobs } = await pipeline.db.query(
    `select status, error_message as message, (select count(*)::int from public.analysis_results where job_id = j.id) as results
     from public.analysis_jobs j where id = $1`,
    [rows[0].id],
  )
  return jobs[0] as { status: string; message: string | null; results: number }
}

describe('an analysis that means harm', () => {
  it.each([
    ['a million devices', { devices: Array.from({ length: 1_000_000 }, () => 'x') }],
    ['a hundred thousand tests', { tests: Array.from({ length: 100_000 }, () => 'frequency') }],
    ['a megabyte of parameters', { parameters: JSON.stringify({ frequency: { x: 'y'.repeat(1e6) } }) }],
    ['parameters that unfold', { parameters: `{"a":[${'"a",'.repeat(50_000)}1]}` }],
  ])('of %s is refused at the door', async (_, request) => {
    await expect(ask(request)).rejects.toMatchObject({
      code: '22023',
      message: 'an analysis has at most 1000 devices, 100 tests and 64 KB of parameters',
    })
  })

  it('of parameters nested without end is refused by the database', async () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    await expect(ask({ parameters: deep })).rejects.toMatchObject({ code: '54001' })
  })

  it('of the same test a hundred times answers it once', async () => {
    expect(await ask({ tests: Array.from({ length: 100 }, () => 'frequency') })).toEqual({
      status: 'completed',
      message: null,
      results: 1,
    })
  })

  it.each([
    ['SQL for a name', { tests: [`frequency'; drop table devices; --`] }, /No test is named/],
    ['lines and escapes for a name', { tests: ['a\n{"level":60}\u001b[2J'] }, /No test is named/],
    ['the name of a method', { tests: ['constructor'] }, /No test is named "constructor"/],
    ['a prototype for parameters', { parameters: '{"__proto__": {"x": 1}}' }, /parameters/],
    ['methods for parameters', { parameters: '{"constructor": {"x": 1}}' }, /parameters/],
    ['numbers there are not', { parameters: '{"block_frequency": {"m": 1e400}}' }, /parameters/],
    ['huge numbers', { parameters: '{"block_frequency": {"m": 1e308}}' }, /parameters/],
    ['numbers below 0', { parameters: '{"serial": {"m": -5}}' }, /parameters/],
    ['a text for a number', { parameters: '{"serial": {"m": "5; drop table devices"}}' }, /parameters/],
    ['lengths without end', { parameters: '{"sequences": {"length_bits": 1e18}}' }, /parameters/],
    [
      'many names at once',
      { tests: Array.from({ length: 100 }, (_, i) => `${i}`.padStart(500, 'x')) },
      /No test is named/,
    ],
  ])('with %s fails with a sentence, and changes nothing', async (_, request, message) => {
    const found = await ask(request).catch((error: Error) => ({ status: 'failed', message: error.message, results: 0 }))
    expect(found).toMatchObject({ status: 'failed', results: 0 })
    expect(found.message).toMatch(/parameters|No test is named|out of range/)
    expect(found.message!.length).toBeLessThanOrEqual(2000)
    expect(message.test(found.message!) || /out of range/.test(found.message!)).toBe(true)
    expect((await pipeline.db.query('select from public.devices')).rowCount).toBe(1)
  })

  it('over ninety-nine years takes what there is', async () => {
    expect(await ask({ to: '2125-06-01' })).toEqual({ status: 'completed', message: null, results: 1 })
    expect(await ask({ tests: ['network'], to: '2125-06-01' })).toMatchObject({
      status: 'failed',
      message: expect.stringMatching(/Ask for a shorter range/),
    })
  })

  it.each([
    ['over a hundred years', '2026-06-01', '2126-06-01'],
    ['over the shortest hundred years', '1900-01-01', '2000-01-01'],
    ['over all years', '-4700-01-01', '294000-01-01'],
    ['without an end', '2026-06-01', 'infinity'],
    ['without a beginning', '-infinity', '2026-06-01'],
    ['of all time', '-infinity', 'infinity'],
    ['that ends before time', '2026-06-01', '-infinity'],
    ['after all time', 'infinity', 'infinity'],
  ])('%s is refused at the door, whoever asks, and not let in by a change', async (_, from, to) => {
    const range = [from.replace(/^-(\d+)(.*)$/, '$1$2 BC'), to]
    const refused = {
      code: '22023',
      message: 'an analysis is of less than 100 years, from time_range_start to time_range_end',
      hint: 'Ask for a shorter range.',
    }
    const insert = `insert into public.analysis_jobs (user_id, time_range_start, time_range_end, test_names)
      values ($3, $1, $2, '{frequency}')`
    const update = 'update public.analysis_jobs set time_range_start = $1, time_range_end = $2'
    const asPerson = (sql: string, values: unknown[]) =>
      runAsUser(pipeline.db, pipeline.userId, () => pipeline.db.query(sql, values))
    await expect(asPerson(insert, [...range, pipeline.userId])).rejects.toMatchObject(refused)
    await expect(pipeline.db.query(insert, [...range, pipeline.userId])).rejects.toMatchObject(refused)
    await asPerson(insert, ['2026-06-01', '2026-06-02', pipeline.userId])
    await expect(asPerson(update, range)).rejects.toMatchObject(refused)
  })

  it('of more chunks than a job can read fails with a sentence, before it reads any', async () => {
    await pipeline.pack()
    await pipeline.drain()
    await pipeline.db.query('update public.storj_chunks set size_bytes = 40::bigint << 30')
    const reads = vi.spyOn(pipeline.context.store, 'get')
    for (const tests of [['frequency'], ['network']]) {
      expect(await ask({ tests })).toEqual({
        status: 'failed',
        message:
          '40 GiB of chunks would have to be read for this; 32 GiB are the most. Ask for a shorter range or fewer devices.',
        results: 0,
      })
    }
    // Each of many devices reads them anew.
    await pipeline.db.query('update public.storj_chunks set size_bytes = 12::bigint << 30, device_ids = $1', [
      [device.deviceId, ...(await pipeline.addDevices(2)).map(({ deviceId }) => deviceId)],
    ])
    expect((await ask({})).message).toMatch(/^36 GiB of chunks/)
    expect(reads).not.toHaveBeenCalled()
    expect(await ask({ devices: [device.deviceId] })).toMatchObject({ status: 'completed' })
  })
})
