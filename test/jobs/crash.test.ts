import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, readFileSync } from 'node:fs'
import { truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { planBackfill } from '../../jobs/backfill.ts'
import { sendJob } from '../../jobs/boss.ts'
import { runReconcile } from '../../jobs/reconcile.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'
import { expectEverySampleOnce, keepLedger } from './invariant.ts'

const WORKER = new URL('crash-worker.ts', import.meta.url).pathname
const SAMPLES = 40

/** What a killed worker leaves: in the tables, in the store, and which queues have jobs in hand or waiting. */
interface Left {
  readonly chunk: 'none' | 'pending' | 'uploading' | 'uploaded' | 'verified'
  readonly claimed: number
  /** Objects in the store, and those of them that a row names. */
  readonly objects: number
  readonly named: number
  readonly active: string[]
  readonly waiting: string[]
}
/** pack: the next claim. work: any worker. supervise: a worker once the supervisor has expired the job. */
type Recovery = 'pack' | 'work' | 'supervise'

const NOTHING: Left = { chunk: 'none', claimed: 0, objects: 0, named: 0, active: [], waiting: ['prune'] }
const CLAIMED: Left = { ...NOTHING, chunk: 'pending', claimed: SAMPLES, waiting: ['prune', 'upload-chunk'] }
const BEGUN: Left = { ...CLAIMED, chunk: 'uploading', active: ['upload-chunk'], waiting: ['prune'] }
const PUT: Left = { ...BEGUN, objects: 1 }
const MARKED: Left = { ...PUT, chunk: 'uploaded', named: 1, active: [], waiting: ['prune', 'test-chunk'] }
const TESTING: Left = { ...MARKED, active: ['test-chunk'], waiting: ['prune'] }
const SIDECAR: Left = { ...TESTING, objects: 2 }
const ROLLUPS = ['rollup-coherence', 'rollup-slice']
const VERIFIED: Left = { ...SIDECAR, chunk: 'verified', named: 2, active: [], waiting: ['prune', ...ROLLUPS] }
const ROLLING: Left = { ...VERIFIED, active: ['rollup-slice'], waiting: ['prune', 'rollup-coherence'] }
const PRUNING: Left = { ...VERIFIED, active: ['prune'], waiting: [] }

/** Past work: the prune, which is live, came first. */
const REPLACING: Left = { ...PUT, named: 1, waiting: [] }

const CRASHES: Record<string, [left: Left, recovery: Recovery]> = {
  seal: [NOTHING, 'pack'],
  claim: [NOTHING, 'pack'],
  'claim: before commit': [NOTHING, 'pack'],
  'claim: after commit': [CLAIMED, 'work'],
  begin: [BEGUN, 'supervise'],
  put: [BEGUN, 'supervise'],
  replace: [REPLACING, 'supervise'],
  'replace: deleted': [{ ...REPLACING, objects: 0 }, 'supervise'],
  'put: done': [PUT, 'supervise'],
  'mark: before commit': [PUT, 'supervise'],
  'mark: after commit': [MARKED, 'work'],
  'verify: read': [TESTING, 'supervise'],
  'verify: sidecar put': [SIDECAR, 'supervise'],
  'verify: before commit': [SIDECAR, 'supervise'],
  'verify: after commit': [VERIFIED, 'work'],
  'rollup: restored': [ROLLING, 'supervise'],
  'prune: before commit': [PRUNING, 'supervise'],
}

test('the crash points below are the checkpoints of the source', () => {
  const jobs = new URL('../../jobs/', import.meta.url).pathname
  const source = globSync(`${jobs}/*.ts`).map((file) => readFileSync(file, 'utf8'))
  const names = source.flatMap((file) => [...file.matchAll(/checkpoint\('([^']+)'\)/g)].map(([, name]) => name))
  // Copies to another store, events, exports and reports have tests of their own.
  const chunkSteps = new Set(names.filter((name) => !/^(copy|event|export|report):/.test(name)))
  expect([...chunkSteps].toSorted()).toEqual(Object.keys(CRASHES).toSorted())
  // None with a name that is not a plain literal.
  const calls = source.flatMap((file) => [...file.matchAll(/context\.checkpoint\(/g)])
  expect(names).toHaveLength(calls.length)
})

describe('a worker killed at', () => {
  let pipeline: TestPipeline

  beforeEach(async () => {
    pipeline = await openPipeline({ retentionDays: 30 })
    await keepLedger(pipeline)
    await pipeline.db.query('select app_private.ensure_partitions(current_date - 40, current_date - 40)')
    const day = new Date(Date.now() - 40 * 86_400_000).setUTCHours(12, 0, 0, 0)
    for (const device of await pipeline.addDevices(2)) {
      await pipeline.insert(makeSamples(device, SAMPLES / 2, { start: day }))
    }
  })
  afterEach(() => pipeline.close())

  test.each(Object.entries(CRASHES))(
    '%s leaves what the table says, and loses nothing',
    async (step, [left, recovery]) => {
      if (step.startsWith('replace')) await reviveDamaged(pipeline)
      await sendJob(pipeline.context.boss, pipeline.db, 'prune', {})
      await killAt(pipeline, step)
      expect(await lookAround(pipeline)).toEqual(left)

      if (recovery === 'pack') await pipeline.pack()
      if (recovery === 'supervise') await pipeline.expireJobs()
      await pipeline.drain()
      expect(await expectEverySampleOnce(pipeline)).toEqual([])
      expect(await readRollups(pipeline)).toEqual({ samples: SAMPLES, pairs: 1, networks: 1 })
      // The whole day is pruned, which is logged once, and everything is still in the store.
      await sendJob(pipeline.context.boss, pipeline.db, 'prune', {})
      await pipeline.drain()
      expect(await readPrunes(pipeline)).toEqual([{ rows: SAMPLES, left: 0 }])
      expect(await expectEverySampleOnce(pipeline)).toEqual([])
      expect((await runReconcile(pipeline.context)).output).toEqual({
        failedChunks: 0,
        failedAnalyses: 0,
        failedExports: 0,
        uploads: 0,
        tests: 0,
        analyses: 0,
        exports: 0,
      })
    },
  )
})

async function killAt({ config, db }: TestPipeline, step: string): Promise<void> {
  const url = new URL(config.databaseUrl)
  url.searchParams.set('application_name', 'crash')
  const child = spawn(process.execPath, [WORKER, url.href, config.localStorageDir, step], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [said, [, signal]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  expect({ said, signal }).toEqual({ said: '', signal: 'SIGKILL' })
  // The server may not have noticed yet; what the worker had open is rolled back when this returns.
  await db.query(`select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'crash'`)
}

/** The chunk's object is damaged, its proof has failed, and a backfill has asked for it anew. */
async function reviveDamaged({ context, store, pack, drain }: TestPipeline): Promise<void> {
  await pack()
  await drain(['upload-chunk'])
  for await (const { key } of store.list('v1/')) await truncate(join(store.root, key), 100)
  await drain()
  const backfill = await planBackfill(context, 'chunks', { from: new Date(0), to: new Date(), deviceId: null })
  expect(await backfill.send({})).toBe(1)
}

async function lookAround({ db, store }: TestPipeline): Promise<Left> {
  const { rows } = await db.query<Omit<Left, 'objects'>>(
    `select
       coalesce((select case when verified_at is null then status::text else 'verified' end from public.storj_chunks), 'none') as chunk,
       (select count(*)::int from public.entropy_samples join public.storj_chunks c on c.id = storj_chunk_id) as claimed,
       (select count(*)::int from public.chunk_replicas) as named,
       array(select distinct name from pgboss.job where state = 'active' order by 1) as active,
       array(select distinct name from pgboss.job where state < 'active' and name <> 'dead-letter' order by 1) as waiting`,
  )
  const objects: string[] = []
  for await (const { key } of store.list('v1/')) objects.push(key)
  return { ...rows[0], objects: objects.length }
}

async function readRollups({ db }: TestPipeline) {
  const { rows } = await db.query(
    `select (select sum(sample_count)::int from public.device_timeslice_stats
             where bucket_end - bucket_start = interval '1 hour') as samples,
       (select count(*)::int from public.coherence_stats) as pairs,
       (select count(*)::int from public.network_stats
        where bucket_end - bucket_start = interval '1 hour' and profile = 'all_bits') as networks`,
  )
  return rows[0]
}

async function readPrunes({ db }: TestPipeline) {
  const { rows } = await db.query(
    `select rows_affected::int as rows, (select count(*)::int from public.entropy_samples) as left
     from public.maintenance_log where operation_type = 'prune'`,
  )
  return rows
}
