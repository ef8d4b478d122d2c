/** Analyses as somebody would ask who means harm. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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

  it('over ten thousand years takes what there is', async () => {
    expect(await ask({ to: '9999-12-31' })).toEqual({ status: 'completed', message: null, results: 1 })
    expect(await ask({ to: 'infinity' })).toMatchObject({
      status: 'failed',
      message: expect.stringMatching(/years 1 to 9999/),
    })
    expect(await ask({ tests: ['network'], to: '9999-12-31' })).toMatchObject({
      status: 'failed',
      message: expect.stringMatching(/Ask for a shorter range/),
    })
  })
})
