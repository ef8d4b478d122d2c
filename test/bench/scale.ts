import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { listReadyQueues } from '../../db/queues.ts'
import { openContext } from '../../infra/context.ts'
import { createLogger } from '../../infra/logger.ts'
import { formatTable } from '../../infra/table.ts'
import type { JobContext } from '../../jobs/context.ts'
import { packOnce } from '../../jobs/pack.ts'
import { QUEUE_NAMES } from '../../jobs/queues.ts'
import { type Server, startServer } from '../chaos/server.ts'
import { memoryOf } from '../harness/process-memory.ts'
import { type Cli, createCli } from '../infra/run-cli.ts'
import { addBacklog, clearBacklog } from './backlog.ts'
import { type BenchOptions, type Line, type Measured, showProgress, toLine } from './figures.ts'
import { measurePrune } from './inserts.ts'
import { cpuOfEnded, difference, LOAD_SETTINGS, readLoad, type ServerLoad } from './server-load.ts'

const WORKERS = [1, 2, 4, 8] as const
const MEGABYTE = 1e6

interface Bench {
  readonly server: Server
  readonly admin: Pool
  readonly context: JobContext
  readonly cli: Cli
  readonly signal: AbortSignal
  load(): Promise<ServerLoad>
}

/**
 * One backlog drained by 1, 2, 4 and 8 worker processes, and what it costs the server; memory of a worker over a long backlog, all of
 * one day, which is pruned then; a million analyses that wait. On an embedded Postgres with fsync on, everything on this machine.
 */
export async function benchScale({ quick, signal }: BenchOptions): Promise<Measured> {
  const directory = join(tmpdir(), `coherence-bench-${randomUUID()}`)
  try {
    const server = await startServer(directory, LOAD_SETTINGS)
    const admin = new Pool({
      connectionString: Object.assign(new URL(server.adminUrl), { pathname: '/postgres' }).href,
      max: 1,
    })
    const cli = createCli()
    try {
      await admin.query('create extension if not exists pg_stat_statements')
      const { context, close } = await openContext(
        { ...server.config, chunkTargetBytes: 1 << 18 },
        createLogger('error'),
      )
      try {
        const database = new URL(server.config.databaseUrl).pathname.slice(1)
        const pid = Number(readFileSync(join(directory, 'postgres', 'data', 'postmaster.pid'), 'utf8').split('\n')[0])
        const bench: Bench = { server, admin, context, cli, signal, load: () => readLoad(admin, database, pid) }
        const workers = await measureWorkers(bench, quick ? 100_000 : 400_000)
        const memory = await measureMemory(bench, quick ? 1_000_000 : 10_000_000)
        showProgress('scale: prune')
        const prune = await measurePrune(context, server.config.databaseUrl, quick ? 1_000_000 : 10_000_000, signal)
        const analyses = await measureAnalyses(bench, quick ? 100_000 : 1_000_000)
        return {
          lines: [...workers.lines, ...memory.lines, ...prune, ...analyses],
          more: [workers.more, memory.more].join('\n'),
        }
      } finally {
        await close()
      }
    } finally {
      await admin.end()
      await server.end('fast')
      cli.remove()
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function environmentOf({ config }: Server, changes: Record<string, string> = {}): Record<string, string> {
  return { DATABASE_URL: config.databaseUrl, LOCAL_STORAGE_DIR: config.localStorageDir, LOG_LEVEL: 'error', ...changes }
}

/** Chunks of 8,192 samples of 32 bytes, claimed already: to upload, to prove and to roll up. */
async function measureWorkers(bench: Bench, rows: number): Promise<Measured> {
  const lines: Line[] = []
  const table: (string | number)[][] = []
  for (const workers of WORKERS) {
    showProgress(`scale: ${workers} workers`)
    await clearBacklog(bench.context.pool)
    await addBacklog(bench.context.pool, { rows, devices: 32, bytes: 32 }, bench.signal)
    while (await packOnce(bench.context, true)) bench.signal.throwIfAborted()
    const before = await bench.load()
    const cpuBefore = cpuOfEnded()
    const runs = Array.from({ length: workers }, () =>
      bench.cli.start(['work', '--drain'], { env: environmentOf(bench.server) }),
    )
    for (const { child } of runs) child.stdin.end()
    const ended = await Promise.all(runs.map(({ finished }) => finished))
    const failed = ended.find(({ code }) => code !== 0)
    if (failed) throw new Error(`a worker failed: ${failed.stderr}`)
    const load = difference(await bench.load(), before)
    const workerCpu = cpuOfEnded() - cpuBefore
    const { jobs, seconds } = await readJobs(bench.context.pool)
    lines.push(toLine(`drain, workers: ${workers}`, 'rows/s', [rows / seconds]))
    const per = (value: number) => (value / jobs).toFixed(1)
    table.push([
      workers,
      jobs,
      seconds.toFixed(1),
      Math.round(rows / seconds),
      per(load.transactions),
      per(load.walBytes / 1000),
      per(load.cpuSeconds * 1000),
      per(workerCpu * 1000),
    ])
  }
  const head = [
    'workers',
    'jobs',
    's',
    'rows/s',
    'transactions a job',
    'WAL kB a job',
    'server CPU ms a job',
    'workers’ CPU ms a job',
  ]
  return { lines, more: formatTable(head, table, 'rrrrrrrr') }
}

/** From the first job that was begun to the last that was done; the workers' start is not in it. All must be done. */
async function readJobs(pool: Pool): Promise<{ jobs: number; seconds: number }> {
  const { rows } = await pool.query<{ jobs: number; open: number; seconds: number }>(
    `select count(*)::int as jobs, count(*) filter (where state <> 'completed')::int as open,
       extract(epoch from max(completed_on) - min(started_on))::float8 as seconds from pgboss.job`,
  )
  if (rows[0].open > 0) throw new Error(`${rows[0].open} jobs were not done`)
  return rows[0]
}

/** One process does everything about the backlog, from the claim on, with the settings as they come; but its end is due at once too. */
async function measureMemory(bench: Bench, rows: number): Promise<Measured> {
  const { pool } = bench.context
  await clearBacklog(pool)
  const devices = Math.ceil(rows / 86_400)
  await addBacklog(pool, { rows, devices, bytes: 32, daysAgo: 40 }, bench.signal, (done) =>
    showProgress(`scale: ${done} of ${rows} rows inserted`),
  )
  await pool.query(`insert into pgboss.job (name, policy) values ('pack', 'short')`)
  const started = performance.now()
  const environment = environmentOf(bench.server, { CHUNK_MAX_AGE: '1' })
  const { child, finished } = bench.cli.start(['work', '--drain'], { env: environment })
  child.stdin.end()
  const seen: { share: number; bytes: number; most: number }[] = []
  const ended = new AbortController()
  void finished.then(() => ended.abort())
  while (!ended.signal.aborted) {
    await sleep(1000, undefined, { signal: ended.signal }).catch(() => {})
    bench.signal.throwIfAborted()
    const memory = memoryOf(child.pid ?? 0)
    const { rows: verified } = await pool.query<{ n: number }>(
      'select coalesce(sum(sample_count), 0)::float8 as n from public.storj_chunks where verified_at is not null',
    )
    const share = verified[0].n / rows
    if (memory) seen.push({ share, bytes: memory.now, most: memory.most })
    showProgress(`scale: ${(100 * share).toFixed(0)} % of ${rows} rows drained`)
  }
  const { code, stderr } = await finished
  if (code !== 0) throw new Error(`the worker failed: ${stderr}`)
  const seconds = (performance.now() - started) / 1000
  const marks = [0.01, 0.1, 0.25, 0.5, 0.75, 1]
  const at = (mark: number) => seen.find(({ share }) => share >= mark) ?? seen.at(-1)
  const line = (name: string, value: number | undefined) =>
    toLine(`${name}, ${rows} rows`, 'MB', [(value ?? Number.NaN) / MEGABYTE])
  return {
    lines: [
      toLine(`claim to rollup, one worker, ${rows} rows`, 'rows/s', [rows / seconds]),
      line('RSS at 1 %', at(0.01)?.bytes),
      line('RSS at 100 %', at(1)?.bytes),
      line('RSS at most', seen.at(-1)?.most),
    ],
    more: formatTable(
      ['proved', 'RSS MB', 'so far at most'],
      marks.map((mark) => [
        `${100 * mark} %`,
        Math.round((at(mark)?.bytes ?? 0) / MEGABYTE),
        Math.round((at(mark)?.most ?? 0) / MEGABYTE),
      ]),
      'rrr',
    ),
  }
}

const USERS = 1000

/** Analyses of many users that wait; then one of a user who comes last, whose turn must come among the first. */
async function measureAnalyses(bench: Bench, jobs: number): Promise<Line[]> {
  const { pool, boss } = bench.context
  await clearBacklog(pool)
  await pool.query(
    `insert into auth.users (id, email) select gen_random_uuid(), 'user-' || n || '@bench' from generate_series(0, $1) n`,
    [USERS],
  )
  const { rows: users } = await pool.query<{ id: string }>(
    `select id from auth.users where email like '%@bench' order by email`,
  )
  const [late, ...others] = users.map(({ id }) => id)
  const ask = (ids: readonly string[], each: number) =>
    pool.query(
      `insert into public.analysis_jobs (user_id, time_range_start, time_range_end, test_names)
       select id, '2026-06-01', '2026-06-02', '{frequency}' from unnest($1::uuid[]) id, generate_series(1, $2)`,
      [ids, each],
    )
  const inserts: number[] = []
  const each = 10
  for (let sent = 0; sent < jobs; sent += others.length * each) {
    bench.signal.throwIfAborted()
    showProgress(`scale: ${sent} of ${jobs} analyses`)
    const started = performance.now()
    await ask(others, each)
    inserts.push((others.length * each) / ((performance.now() - started) / 1000))
  }
  await pool.query('analyze pgboss.job')
  const looks: number[] = []
  const fetches: number[] = []
  for (let n = 0; n < 50; n++) {
    const started = performance.now()
    const ready = await listReadyQueues(pool, QUEUE_NAMES)
    const looked = performance.now()
    if (!ready.includes('run-analysis')) throw new Error('no analysis is ready')
    await boss.fetch('run-analysis')
    looks.push(looked - started)
    fetches.push(performance.now() - looked)
  }
  await ask([late], 1)
  const turn = await turnOf(bench, late)
  return [
    toLine(`insert of analyses, first 10,000 of ${jobs}`, 'rows/s', inserts.slice(0, 1)),
    toLine(`insert of analyses, last 10,000 of ${jobs}`, 'rows/s', inserts.slice(-1)),
    toLine(`which queues have jobs, ${jobs} waiting`, 'ms', looks),
    toLine(`next fetch, ${jobs} waiting`, 'ms', fetches),
    toLine(`a new user’s turn, of ${USERS} others with ${jobs / USERS} each`, 'th', [turn]),
  ]
}

/** Fetches until a job of this user comes; the how-manieth it was. */
async function turnOf({ context: { boss, pool } }: Bench, user: string): Promise<number> {
  for (let turn = 1; ; turn++) {
    const [job] = await boss.fetch<{ analysis_job_id: string }>('run-analysis')
    const { rowCount } = await pool.query('select from public.analysis_jobs where id = $1 and user_id = $2', [
      job.data.analysis_job_id,
      user,
    ])
    if (rowCount === 1) return turn
  }
}
