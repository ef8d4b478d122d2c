/** Analyses that would keep a worker for minutes or hours. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ActiveJob } from '../../jobs/context.ts'
import { runAnalysis } from '../../jobs/run-analysis.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'

const START = Date.UTC(2026, 5, 1)
const SAMPLES = 16
let pipeline: TestPipeline
beforeEach(async () => {
  pipeline = await openPipeline()
  const [device] = await pipeline.addDevices(1)
  // A counter: no shuffle of it looks like it, so that none of the ten thousand is spared.
  const data = Uint8Array.from({ length: 1024 }, (_, index) => index)
  await pipeline.insert(makeSamples(device, SAMPLES, { start: START }).map((sample) => ({ ...sample, data })))
})
afterEach(() => pipeline.close())

async function ask(tests: string[], parameters: object = {}) {
  const { rows } = await pipeline.db.query<{ id: string }>(
    `insert into public.analysis_jobs (user_id, time_range_start, time_range_end, test_names, parameters)
     values ($1, '2026-06-01', '2026-06-02', $2, $3) returning id`,
    [pipeline.userId, tests, JSON.stringify(parameters)],
  )
  return rows[0].id
}

/** Runs it on so much time; how often this thread came to something else meanwhile. */
async function run(id: string, budgetMs: number) {
  const job = { data: { analysis_job_id: id }, signal: new AbortController().signal } as ActiveJob<'run-analysis'>
  let turns = 0
  const beat = setInterval(() => turns++, 10)
  try {
    const outcome = await runAnalysis(pipeline.context, job, budgetMs)
    const { rows } = await pipeline.db.query('select status, error_message from public.analysis_jobs where id = $1', [
      id,
    ])
    return { outcome, turns, row: rows[0] as { status: string; error_message: string | null } }
  } finally {
    clearInterval(beat)
  }
}

test.each([
  ['a slow test on few samples', ['sp800_90b_permutation'], {}],
  ['a slow test on sequences', ['sp800_90b_permutation'], { sequences: { length_bits: 40_000 } }],
])('%s that takes too long is ended, and the analysis fails with a sentence', async (_, tests, parameters) => {
  const started = performance.now()
  const { outcome, turns, row } = await run(await ask(tests, parameters), 700)
  // Tens of seconds, if it were not ended.
  expect(performance.now() - started).toBeLessThan(10_000)
  expect(turns).toBeGreaterThan(10)
  const message = expect.stringMatching(/^It took longer than 0\.7 seconds\. Ask for .*sp800_90b_permutation\.$/)
  // An output, and no error: the queue has nothing to retry.
  expect(outcome).toEqual({ output: { failed: message } })
  expect(row).toEqual({ status: 'failed', error_message: message })
})
