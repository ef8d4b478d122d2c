import { afterEach, beforeEach, expect, test } from 'vitest'
import type { PipelineSettings } from '../../jobs/context.ts'
import { drain, makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'

let pipeline: TestPipeline
beforeEach(async () => {
  pipeline = await openPipeline()
  const [device] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(device, 16, { start: Date.UTC(2026, 5, 1), bytes: 1024 }))
})
afterEach(() => pipeline.close())

/** Asks a worker that has so much memory for analyses. */
async function ask(analysisMemoryBytes: number, name: string, parameters: object = {}) {
  const { rows } = await pipeline.db.query<{ id: string }>(
    `insert into public.analysis_jobs (user_id, time_range_start, time_range_end, test_names, parameters)
     values ($1, '2026-06-01', '2026-06-02', $2, $3) returning id`,
    [pipeline.userId, [name], JSON.stringify(parameters)],
  )
  const settings: PipelineSettings = { ...pipeline.context.settings, analysisMemoryBytes }
  await drain({ ...pipeline.context, settings }, ['run-analysis'])
  const found = await pipeline.db.query('select status, error_message from public.analysis_jobs where id = $1', [
    rows[0].id,
  ])
  return found.rows[0] as { status: string; error_message: string | null }
}

const MIB = 1024 ** 2
const DONE = { status: 'completed', error_message: null }

test('more samples than a worker has memory for are refused with a sentence, as they are read', async () => {
  expect(await ask(MIB, 'frequency')).toEqual(DONE)
  expect(await ask(MIB / 16, 'frequency')).toEqual({
    status: 'failed',
    error_message: 'This takes 1 MiB of memory or more; a worker has 0 for it. Ask for a shorter range.',
  })
})

test('a test that needs a hundred times the memory of its data is refused where there is less, but not on sequences', async () => {
  expect(await ask(2 * MIB, 'dft')).toEqual(DONE)
  expect(await ask(MIB, 'dft')).toEqual({
    status: 'failed',
    error_message: expect.stringMatching(/^This takes 2 MiB of memory .* a worker has 1 for it.*`sequences`/),
  })
  expect(await ask(MIB, 'dft', { sequences: { length_bits: 8 * 1024 } })).toEqual(DONE)
})
