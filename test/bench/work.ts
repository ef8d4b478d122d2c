import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import type { Config } from '../../infra/config.ts'
import { sendJobs } from '../../jobs/boss.ts'
import type { JobContext } from '../../jobs/context.ts'
import { runPack } from '../../jobs/pack.ts'
import { runWorker } from '../../jobs/work.ts'
import { impatient, loadSamples, withBenchStack } from './bench-stack.ts'
import { type BenchOptions, type Line, type Measured, showProgress, toLine } from './figures.ts'

const CLI = new URL('../../infra/coherence.js', import.meta.url).pathname
const TELL_PEAK = new URL('tell-peak.ts', import.meta.url).href
const run = promisify(execFile)

/** What a worker costs besides its jobs, what it does in a second, and how much memory it takes. */
export async function benchWork({ quick, signal }: BenchOptions): Promise<Measured> {
  const lines: Line[] = []
  await withBenchStack(async (context, config) => {
    lines.push(...(await benchStart(context, config, quick ? 3 : 7)))
    lines.push(...(await benchQueue(context, quick ? 300 : 1000, signal)))
    lines.push(...(await benchVerify(context, quick ? 50_000 : 130_000, signal)))
  })
  lines.push(...(await benchMemory(quick ? [2, 3] : [2, 6], quick ? [100, 200] : [1000, 2000], signal)))
  return { lines }
}

async function benchStart({ pool }: JobContext, config: Config, rounds: number): Promise<Line[]> {
  const environment = environmentOf(config)
  const time = async (args: string[]) => {
    const started = performance.now()
    await run(process.execPath, [CLI, ...args], { env: environment })
    return performance.now() - started
  }
  const counts = async () => {
    const { rows } = await pool.query<{ transactions: number; sessions: number }>(
      `select xact_commit::float8 as transactions, sessions::float8 from pg_stat_database where datname = current_database()`,
    )
    return rows[0]
  }
  const help: number[] = []
  const drain: number[] = []
  const transactions: number[] = []
  const sessions: number[] = []
  for (let round = 0; round < rounds; round++) {
    showProgress(`start: round ${round + 1} of ${rounds}`)
    help.push(await time(['--help']))
    const before = await counts()
    drain.push(await time(['work', '--drain']))
    const after = await counts()
    // The look itself is one.
    transactions.push(after.transactions - before.transactions - 1)
    sessions.push(after.sessions - before.sessions)
  }
  return [
    toLine('coherence --help', 'ms', help),
    toLine('work --drain, nothing ready', 'ms', drain, { goal: 250 }),
    toLine('… transactions', 'count', transactions),
    toLine('… connections', 'count', sessions),
  ]
}

/** Jobs that find nothing to do, through our worker and through bare fetch and complete. */
async function benchQueue(context: JobContext, jobs: number, signal: AbortSignal): Promise<Line[]> {
  showProgress('queue')
  const { pool, boss } = context
  const send = async () => {
    const ids = Array.from({ length: jobs }, () => randomUUID())
    await sendJobs(
      boss,
      pool,
      'upload-chunk',
      ids.map((id) => ({ data: { chunk_id: id }, key: id })),
    )
  }
  const ours: number[] = []
  const bare: number[] = []
  for (let round = 0; round < 3; round++) {
    await send()
    let started = performance.now()
    await runWorker(context, { mode: 'drain', queues: ['upload-chunk'], concurrency: 1, signal })
    ours.push((1000 * jobs) / (performance.now() - started))
    await send()
    started = performance.now()
    for (;;) {
      const [job] = await boss.fetch('upload-chunk')
      if (!job) break
      await boss.complete('upload-chunk', job.id)
    }
    bare.push((1000 * jobs) / (performance.now() - started))
  }
  return [
    toLine('jobs that find nothing to do', 'jobs/s', ours),
    toLine(
      '… to bare fetch and complete',
      'ratio',
      ours.map((rate, round) => rate / bare[round]),
      { ratio_to: 'bare pg-boss' },
    ),
  ]
}

/** Download, sha256, decode, the chunk's battery, slices; then the rollups of what it touched. */
async function benchVerify(context: JobContext, rows: number, signal: AbortSignal): Promise<Line[]> {
  showProgress('verify')
  const bytes = 256
  await loadSamples(
    context.pool,
    { bytes, rows, start: Math.floor(Date.now() / 3_600_000) * 3_600_000 - 86_400_000 },
    signal,
  )
  const packer = impatient(context)
  await runPack(packer, { signal })
  const time = async (queues: Parameters<typeof runWorker>[1]['queues']) => {
    const started = performance.now()
    await runWorker(context, { mode: 'drain', queues, signal })
    return (performance.now() - started) / 1000
  }
  await time(['upload-chunk'])
  const verify = await time(['test-chunk'])
  const rollup = await time(['rollup-slice'])
  const { rows: slices } = await context.pool.query<{ slices: number; buckets: number }>(
    `select (select count(*) from public.chunk_slices)::float8 as slices,
            (select count(*) from public.device_timeslice_stats)::float8 as buckets`,
  )
  return [
    toLine('verify, 256 B: payload', 'MB/s', [(rows * bytes) / verify / 1e6]),
    toLine('rollup: slices read', '1/s', [slices[0].slices / rollup]),
    toLine('rollup: minutes and hours written', '1/s', [slices[0].buckets / rollup]),
  ]
}

/** Highest resident memory of worker processes: by the size of their chunks, and by how many of 256 KiB they did. */
async function benchMemory(
  ofLarge: readonly [few: number, many: number],
  ofSmall: readonly [few: number, many: number],
  signal: AbortSignal,
): Promise<Line[]> {
  const large = await peaksOver(32, ofLarge, signal)
  // Two at a time, as a worker does them.
  const [larger] = await peaksOver(256, [2], signal)
  const small = await peaksOver(0.25, ofSmall, signal)
  const line = (mebibytes: number, count: number, bytes: number) =>
    toLine(`memory of a worker, chunks of ${mebibytes} MiB: ${count}`, 'MiB', [bytes / 1024 ** 2])
  return [
    ...ofLarge.map((count, i) => line(32, count, large[i])),
    line(256, 2, larger),
    toLine('… more, to the bytes more of a chunk', 'times', [(larger - large[1]) / (224 * 1024 ** 2)], { goal: 8 }),
    ...ofSmall.map((count, i) => line(0.25, count, small[i])),
    toLine('… to one another', 'times', [small[1] / small[0]], { goal: 1.25 }),
  ]
}

/** What a worker process that packs, uploads and verifies so many chunks of this size takes at most, in bytes. */
async function peaksOver(mebibytes: number, counts: readonly number[], signal: AbortSignal): Promise<number[]> {
  const target = mebibytes * 1024 ** 2
  const bytes = 4096
  const settings = { CHUNK_TARGET_BYTES: String(target), CHUNK_MAX_AGE: '1' }
  const args = ['--import', TELL_PEAK, CLI, 'work', '--drain', '--queues', 'pack,upload-chunk,test-chunk']
  return await withBenchStack(
    async ({ pool }, config) => {
      const peaks: number[] = []
      for (const count of counts) {
        showProgress(`memory: ${count} chunks of ${mebibytes} MiB`)
        const start = Date.now() - 86_400_000
        await loadSamples(pool, { bytes, rows: (count * target) / bytes, start, chunkBytes: target }, signal)
        await pool.query(`select app_private.send_job('pack', '{}')`)
        const { stderr } = await run(process.execPath, args, { env: environmentOf(config, settings), maxBuffer: 1e8 })
        peaks.push(Number(/^peak (\d+)$/m.exec(stderr)?.[1]))
      }
      return peaks
    },
    { settings },
  )
}

function environmentOf(config: Config, more: Record<string, string> = {}): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR } = process.env
  return {
    PATH,
    HOME,
    TMPDIR,
    DATABASE_URL: config.databaseUrl,
    LOCAL_STORAGE_DIR: config.localStorageDir,
    LOG_LEVEL: 'error',
    ...more,
  }
}
