import { randomUUID } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { listTroubledChunks } from '../db/health.ts'
import { inTransaction } from '../db/pool.ts'
import { sendJob } from '../jobs/boss.ts'
import type { JobContext } from '../jobs/context.ts'
import { packOnce } from '../jobs/pack.ts'
import { collectReport } from '../jobs/report-data.ts'
import { QUEUE_NAMES } from '../jobs/queues.ts'
import { renderReport } from '../jobs/report.ts'
import { HOUR } from '../jobs/test-chunk.ts'
import { runTick } from '../jobs/tick.ts'
import { runWorker } from '../jobs/work.ts'
import type { ReportData } from '../pipeline/report/report-data.ts'
import { testNames } from '../pipeline/tests/registry.ts'
import { openContext } from './context.ts'
import { libraryVersion } from './version.ts'
import { followDrain } from './drain-progress.ts'
import { readFindings, type DeviceFinding, type Findings } from './findings.ts'
import { type LiveDevice, loadArchive, registerLiveDevices, sampleLive } from './live-devices.ts'
import { createLogger } from './logger.ts'
import type { Output } from './output.ts'
import { startStack } from './stack.ts'

/** The archive is this old; RETENTION_DAYS is 30. */
const ARCHIVE_DAYS = 40

/** What the live devices are put through: all but the one test that may take most of a minute on 70 KiB. */
export const DEMO_TESTS: readonly string[] = testNames.filter((name) => name !== 'sp800_90b_permutation')

export interface DemoReport {
  readonly samples: number
  readonly bytes: number
  /** The page of `coherence report`, of the hours in which the devices were live. */
  readonly report: string
  readonly chunks: { path: string; sha256: string; rows: number }[]
  readonly devices: DeviceFinding[]
  readonly findings: Findings['findings']
  readonly pairs: Findings['pairs']
  readonly network: Findings['network']
  readonly pruned: { rows: number; bytes: number; partitions: string[] }
  /** Samples that were stored and are in no verified chunk, and what was said of that; 0 and nothing in a run that went well. */
  readonly unproved: { samples: number; reasons: string[] }
  readonly seconds: number
  readonly version: string
}

interface Stage {
  readonly output: Output
  readonly signal: AbortSignal
}

/**
 * The main job, end to end, on this machine alone: live devices sample while a worker packs, proves, tests and rolls up;
 * then an analysis is asked for as a user would, and an expired archive is pruned.
 */
export async function runDemo(options: Stage & { seconds: number; directory: string }): Promise<DemoReport> {
  const started = performance.now()
  const { output, signal } = options
  const setup = output.progress('starting Postgres')
  const storageDirectory = join(options.directory, new Date().toISOString().replaceAll(/[:.]/g, '-'))
  const stack = await startStack({
    databaseDirectory: join(tmpdir(), `coherence-demo-${randomUUID()}`),
    storageDirectory,
    persistent: false,
    environment: { CHUNK_MAX_AGE: '8', RETENTION_DAYS: '30', LOG_LEVEL: 'error' },
    signal,
  })
  try {
    signal.throwIfAborted()
    const { context, close } = await openContext(stack.config, createLogger(stack.config.logLevel))
    setup.end('PostgreSQL 17, schema, queues and a store on disk are ready')
    try {
      const { userId, devices } = await registerLiveDevices(context.pool)
      const archive = await loadArchive(context.pool, userId, ARCHIVE_DAYS)
      const from = new Date()
      const live = await sampleAndWork(context, devices, options)
      const to = new Date(Date.now() + 1)

      await packAndProve(context, options)
      await testDevices(context, userId, devices, { from, to }, options)
      const finish = output.progress('pruning, and writing the report')
      await sendJob(context.boss, context.pool, 'prune', {})
      await runWorker(context, { mode: 'drain', signal })
      signal.throwIfAborted()
      const findings = await readFindings(context, devices, from, to)
      const report = join(storageDirectory, 'report.html')
      await writeFile(report, await renderReport(await reportOf(context, from, to, signal)))
      finish.end(`${findings.pruned.rows} old rows gone, their chunk kept`)
      const samples = live.samples + archive.samples
      const root = join(storageDirectory, context.store.bucket)
      return {
        samples,
        bytes: live.bytes + archive.bytes,
        report: relative(process.cwd(), report),
        chunks: findings.chunks.map(({ objectKey, ...chunk }) => ({
          path: relative(process.cwd(), join(root, objectKey)),
          ...chunk,
        })),
        devices: findings.devices,
        findings: findings.findings,
        pairs: findings.pairs,
        network: findings.network,
        pruned: findings.pruned,
        unproved: {
          samples: samples - findings.chunks.reduce((rows, chunk) => rows + chunk.rows, 0),
          reasons: await listReasons(context),
        },
        seconds: (performance.now() - started) / 1000,
        version: libraryVersion(),
      }
    } finally {
      await close()
    }
  } catch (error) {
    // Half a run is of no use to anyone; the folder is this run's own.
    await rm(storageDirectory, { recursive: true, force: true })
    throw error
  } finally {
    await stack.stop()
  }
}

/** Makes chunks of all that waits, and does what that entails. */
async function packAndProve(context: JobContext, { output, signal }: Stage): Promise<void> {
  const progress = output.progress('packing and proving')
  while (await packOnce(context, true)) signal.throwIfAborted()
  const { completed } = await runWorker(context, {
    mode: 'drain',
    signal,
    onJob: followDrain(context.pool, progress, QUEUE_NAMES),
  })
  signal.throwIfAborted()
  progress.end(`${Object.values(completed).reduce((sum, jobs) => sum + jobs, 0)} jobs`)
}

/** Asks for an analysis of each device as its user's web app does, by a row in analysis_jobs and nothing else, and has it answered. */
async function testDevices(
  context: JobContext,
  userId: string,
  devices: readonly LiveDevice[],
  { from, to }: { from: Date; to: Date },
  { output, signal }: Stage,
): Promise<void> {
  const progress = output.progress(`${DEMO_TESTS.length} tests on each device`)
  await inTransaction(context.pool, async (tx) => {
    await tx.query(`select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)`, [
      JSON.stringify({ sub: userId, role: 'authenticated' }),
    ])
    await tx.query(
      `insert into public.analysis_jobs (user_id, device_ids, time_range_start, time_range_end, test_names)
       select $1, array[id], $3, $4, $5 from unnest($2::uuid[]) as id`,
      [userId, devices.map((device) => device.id), from, to, DEMO_TESTS],
    )
  })
  const show = (done: number) => progress.update(`${done} of ${devices.length}`, done, devices.length)
  let done = 0
  show(done)
  const onJob = ({ queue }: { queue: string }) => queue === 'run-analysis' && show(++done)
  await runWorker(context, { mode: 'drain', signal, onJob })
  signal.throwIfAborted()
  progress.end(`${done} of ${devices.length}`)
}

/** Why chunks are not proved, each reason once. */
async function listReasons({ pool }: JobContext): Promise<string[]> {
  const troubled = await listTroubledChunks(pool, 100)
  return [...new Set(troubled.map(({ error }) => error ?? 'no reason is known'))]
}

async function reportOf(context: JobContext, from: Date, to: Date, signal: AbortSignal): Promise<ReportData> {
  const window = {
    from: Math.floor(from.getTime() / 1000 / HOUR) * HOUR,
    to: Math.ceil(to.getTime() / 1000 / HOUR) * HOUR,
    deviceIds: null,
  }
  return await collectReport(context, window, { now: new Date(), signal })
}

async function sampleAndWork(
  context: JobContext,
  devices: readonly LiveDevice[],
  options: Stage & { seconds: number },
): Promise<{ samples: number; bytes: number }> {
  const progress = options.output.progress(`${devices.length} devices live`)
  const sampling = new AbortController()
  const worker = runWorker(context, { mode: 'watch', signal: sampling.signal })
  const ticking = tickUntil(context, sampling.signal)
  try {
    const stored = await sampleLive(context.pool, devices, {
      seconds: options.seconds,
      signal: options.signal,
      onSecond: (elapsed) =>
        progress.update(`${Math.floor(elapsed)} of ${options.seconds} s`, elapsed, options.seconds),
    })
    options.signal.throwIfAborted()
    progress.end(`${stored.samples} samples in ${options.seconds} s`)
    return stored
  } finally {
    sampling.abort()
    await worker
    await ticking
  }
}

async function tickUntil(context: JobContext, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await runTick(context)
    await sendJob(context.boss, context.pool, 'pack', {})
    await sleep(2_000, undefined, { signal }).catch(() => {})
  }
}
