/** The chaos test's proof finds what it is there to find. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { NewSample } from '../../db/samples.ts'
import { sendJob } from '../../jobs/boss.ts'
import { runPrune } from '../../jobs/prune.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'
import { type Ledger, ledgerKey } from './devices.ts'
import { countOrphans, proveAnalyses, proveChunks, provePrunes, proveQueues } from './proof.ts'
import { createRandom } from './random.ts'
import { proveRollups } from './recompute.ts'
import type { Asked } from './requests.ts'
import { recoveries } from './report.ts'

const START = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 40 * 86_400_000
const signal = new AbortController().signal
let pipeline: TestPipeline
let ledger: Ledger
let samples: NewSample[]

beforeEach(async () => {
  pipeline = await openPipeline({ chunkTargetBytes: 1024 })
  await pipeline.db.query('select app_private.ensure_partitions(current_date - 41, current_date - 38)')
  const devices = await pipeline.addDevices(2)
  samples = devices.flatMap((device) => makeSamples(device, 40, { start: START }))
  ledger = new Map(samples.map((sample) => [keyOf(sample), { sample, acknowledgedAt: 1 }]))
  await store(samples)
})
afterEach(() => pipeline.close())

const keyOf = ({ deviceId, profileId, timestamp, sequence }: NewSample) =>
  ledgerKey(deviceId, profileId, BigInt((timestamp as Date).getTime()) * 1000n, sequence)

async function store(batch: readonly NewSample[]): Promise<void> {
  await pipeline.insert(batch)
  await pipeline.pack()
  await pipeline.drain()
}

async function prove(): Promise<string[]> {
  const problems: string[] = []
  await proveQueues(pipeline.context.pool, problems)
  const chunks = await proveChunks(pipeline.context, ledger, problems)
  await provePrunes(pipeline.context.pool, chunks, problems)
  await proveRollups(pipeline.context, chunks, problems)
  return problems
}

test('a pipeline that did what it should has no problems, before its days are pruned and after', async () => {
  expect(await prove()).toEqual([])
  await runPrune(pipeline.context, { signal })
  expect((await pipeline.db.query('select from public.entropy_samples')).rowCount).toBe(0)
  expect(await prove()).toEqual([])
  expect(await countOrphans(pipeline.context)).toBe(0)
})

test('a sample without an answer may be stored or not', async () => {
  for (const sent of ledger.values()) sent.acknowledgedAt = null
  const [first] = samples
  ledger.set('never stored', { sample: first, acknowledgedAt: null })
  expect(await prove()).toEqual([])
})

const WRONGS: Record<string, [wrong: () => unknown, found: RegExp]> = {
  'an acknowledged sample in no chunk': [
    () => ledger.set('lost', { sample: samples[0], acknowledgedAt: 1 }),
    /^1 acknowledged samples are in no chunk, lost the first$/,
  ],
  'a sample in two chunks': [() => store([samples[0]]), / is in chunk .* and in chunk /],
  'a sample that nobody sent': [() => ledger.delete(keyOf(samples[3])), /holds a sample that was never sent/],
  'other bytes': [
    () => ledger.set(keyOf(samples[3]), { sample: { ...samples[3], data: new Uint8Array(64) }, acknowledgedAt: 1 }),
    /holds other bytes of/,
  ],
  'a chunk that is not verified': [
    () => pipeline.db.query('update public.storj_chunks set verified_at = null'),
    /is uploaded, not verified/,
  ],
  'a damaged object': [
    async () => {
      for await (const { key } of pipeline.store.list('v1/')) await writeFile(join(pipeline.store.root, key), 'x')
    },
    /was written with \d+ bytes/,
  ],
  'a sidecar that is missing': [
    () => pipeline.db.query(`delete from public.chunk_replicas where kind = 'slices'`),
    /has the objects chunk$/,
  ],
  'rows that left unlogged': [
    () => pipeline.db.query('delete from public.entropy_samples where sequence = 3'),
    /80 samples are stored and 78 left in Postgres; maintenance_log says 0 were pruned/,
  ],
  'rows in no chunk': [
    () => pipeline.db.query('update public.entropy_samples set storj_chunk_id = null where sequence = 3'),
    /^2 rows in Postgres are in no verified chunk$/,
  ],
  'a slice row that counts wrongly': [
    () => pipeline.db.query('update public.device_timeslice_stats set sample_count = sample_count + 1'),
    /rows of device_timeslice_stats are missing or not what/,
  ],
  'an hour that is missing': [
    () => pipeline.db.query(`delete from public.device_timeslice_stats where bucket_end - bucket_start = '1 hour'`),
    /^2 rows of device_timeslice_stats are missing/,
  ],
  'a row of the network that is of nothing': [
    () =>
      pipeline.db.query(
        `update public.network_stats set bucket_start = bucket_start - interval '1 day', bucket_end = bucket_end - interval '1 day'`,
      ),
    /rows of network_stats are of nothing/,
  ],
  'a pair that differs': [
    () => pipeline.db.query(`update public.coherence_stats set tests = '{}'`),
    /^1 rows of coherence_stats are missing or not what/,
  ],
  'a job that is left': [
    () => sendJob(pipeline.context.boss, pipeline.db, 'sweep', {}),
    /^1 jobs of sweep are created$/,
  ],
}

test.each(Object.entries(WRONGS))('%s is found', async (_name, [wrong, found]) => {
  await wrong()
  expect(await prove()).toContainEqual(expect.stringMatching(found))
})

const IDS = [1, 2].map((n) => `00000000-0000-4000-8000-00000000000${n}`)

/** One analysis that is answered, and one of another's device. */
async function askAnalyses(): Promise<Asked> {
  for (const [n, id] of IDS.entries()) {
    await pipeline.db.query(
      `insert into public.analysis_jobs (id, user_id, time_range_start, time_range_end, test_names, device_ids)
       values ($1, $2, $3, $4, '{frequency,network}', $5)`,
      [id, pipeline.userId, new Date(START), new Date(START + 3_600_000), n === 0 ? [] : [IDS[1]]],
    )
  }
  await pipeline.drain()
  const names = ['frequency', 'network']
  return new Map(IDS.map((id, n) => [id, { names, refused: n === 1 }]))
}

test('analyses that were answered, or refused, have no problems', async () => {
  const problems: string[] = []
  expect(await proveAnalyses(pipeline.context.pool, await askAnalyses(), problems)).toEqual({ completed: 1, failed: 1 })
  expect(problems).toEqual([])
})

const WRONG_ANALYSES: Record<string, [sql: string, found: RegExp]> = {
  'one that is lost': [`delete from public.analysis_jobs where status = 'failed'`, /^analysis .*2 is lost$/],
  'one that waits': [`update public.analysis_jobs set status = 'queued' where status = 'failed'`, /2 is queued$/],
  'one that failed without a sentence': [
    `update public.analysis_jobs set error_message = null where status = 'failed'`,
    /2 failed without a sentence: null$/,
  ],
  'one that failed and has results': [
    `update public.analysis_jobs set status = 'failed', error_message = 'No.'`,
    /1 failed and has \d results$/,
  ],
  'an answer about what is not the user’s': [
    `update public.analysis_jobs set status = 'completed'`,
    /2 of another's device was answered$/,
  ],
  'a result that is missing': [
    `delete from public.analysis_results where test_name = 'network'`,
    /1 has no result of network$/,
  ],
  'results that are there twice': [
    `insert into public.analysis_results (job_id, test_name, device_id, summary, metrics)
     select job_id, test_name, device_id, summary, metrics from public.analysis_results where test_name = 'network'`,
    /^1 results of analyses are there more than once$/,
  ],
  'a chunk that was analysed twice': [
    `alter table public.chunk_analysis drop constraint if exists chunk_analysis_chunk_id_key;
     insert into public.chunk_analysis select (jsonb_populate_record(a, '{"id": "${IDS[0]}"}')).* from public.chunk_analysis a limit 1`,
    /^1 chunks have more than one analysis$/,
  ],
}

test.each(Object.entries(WRONG_ANALYSES))('of analyses, %s is found', async (_name, [sql, found]) => {
  const asked = await askAnalyses()
  await pipeline.db.query(sql)
  const problems: string[] = []
  await proveAnalyses(pipeline.context.pool, asked, problems)
  expect(problems).toContainEqual(expect.stringMatching(found))
})

test('the seed makes the schedule, and a fork does not depend on what else was drawn', () => {
  const [one, same, other] = [createRandom('a'), createRandom('a'), createRandom('b')]
  expect(one.bytes(40)).toEqual(same.bytes(40))
  expect(one.bytes(40)).not.toEqual(other.bytes(40))
  expect(createRandom('a').fork('x').next()).toBe(one.fork('x').next())
  expect(one.shuffle([1, 2, 3, 4]).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4])
})

test('recovery is counted from the end of a fault to the next verified chunk', () => {
  const chunks = [1000, 5000, 9000].map((verifiedAt) => ({ verifiedAt })) as unknown as Parameters<typeof recoveries>[1]
  const events = [
    { kind: 'a', began: 0, ended: 500 },
    { kind: 'a', began: 0, ended: 1000 },
    { kind: 'b', began: 0, ended: 9000 },
  ]
  expect(recoveries(events, chunks)).toEqual([
    { kind: 'a', times: 2, recovery: { median: 4, worst: 4 } },
    { kind: 'b', times: 1, recovery: { median: 0, worst: 0 } },
  ])
})
