/** Everything but migrations goes through a transaction-mode pooler: real PgBouncer, where it is installed (`.ci/run` installs it). */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { keepsSession } from '../../db/health.ts'
import { openPool } from '../../db/pool.ts'
import { openContext } from '../../infra/context.ts'
import { runTick } from '../../jobs/tick.ts'
import { runWorker } from '../../jobs/work.ts'
import { type Bouncer, NO_PGBOUNCER, PGBOUNCER, startBouncer } from '../harness/pgbouncer.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'
import { createCli } from './run-cli.ts'

const WORKERS = 40
/** Processes take a second of CPU each to start: all forty where nothing is left out. */
const PROCESSES = process.env.COHERENCE_TEST_ALL === '1' ? 40 : 10
const MOST_SERVER_CONNECTIONS = 20
const log = pino({ level: 'silent' })

let pipeline: TestPipeline
let bouncer: Bouncer

/** Server connections that the pooler holds now. */
async function serverConnections(): Promise<number> {
  const client = new Client({ connectionString: bouncer.consoleUrl })
  await client.connect()
  try {
    const { rows } = await client.query('show servers')
    return rows.length
  } finally {
    await client.end()
  }
}

/** Counts them again and again until it is stopped. */
function watchConnections(): { stop: () => Promise<number[]> } {
  const counts: number[] = []
  const watching = new AbortController()
  const watcher = (async () => {
    while (!watching.signal.aborted) {
      counts.push(await serverConnections())
      await sleep(50)
    }
  })()
  return {
    stop: async () => {
      watching.abort()
      await watcher
      return counts
    },
  }
}

describe.skipIf(PGBOUNCER === undefined)(`through PgBouncer${PGBOUNCER ? '' : ` (${NO_PGBOUNCER})`}`, () => {
  beforeEach(async () => {
    pipeline = await openPipeline({ chunkTargetBytes: 4096 })
    bouncer = await startBouncer(pipeline.config.databaseUrl, { connections: MOST_SERVER_CONNECTIONS })
  })
  afterEach(async () => {
    await bouncer.close()
    await pipeline.close()
  })

  it(`${WORKERS} workers at once, on ${MOST_SERVER_CONNECTIONS} server connections, do all the work once`, async () => {
    const devices = await pipeline.addDevices(8)
    await pipeline.insert(
      devices.flatMap((device, n) => makeSamples(device, 160, { seed: String(n), start: Date.UTC(2026, 5, 1) })),
    )
    await pipeline.db.query(
      `insert into public.analysis_jobs (user_id, time_range_start, time_range_end, test_names)
       select $1, '2026-06-01', '2026-06-02', '{frequency,runs,network}' from generate_series(1, 20)`,
      [pipeline.userId],
    )
    const config = { ...pipeline.config, databaseUrl: bouncer.url }
    let counts: number[]
    const workers = await Promise.all(Array.from({ length: WORKERS }, () => openContext(config, log, { poolSize: 2 })))
    const watched = watchConnections()
    try {
      await Promise.all(workers.slice(0, 10).map(({ context }) => runTick(context)))
      const outcomes = await Promise.all(
        workers.map(({ context }) => runWorker(context, { mode: 'drain', concurrency: 1 })),
      )
      expect(outcomes.map(({ failed }) => failed).filter((failed) => Object.keys(failed).length > 0)).toEqual([])
    } finally {
      counts = await watched.stop()
      await Promise.all(workers.map(({ close }) => close()))
    }
    await pipeline.drain()
    expect(Math.max(...counts)).toBeLessThanOrEqual(MOST_SERVER_CONNECTIONS)
    // The pooler was what held them back, or this shows nothing.
    expect(Math.max(...counts)).toBeGreaterThan(MOST_SERVER_CONNECTIONS / 2)
    const { rows } = await pipeline.db.query(
      `select (select count(*)::int from public.entropy_samples) as samples,
         (select count(*)::int from public.entropy_samples s join public.storj_chunks c on c.id = s.storj_chunk_id
          where c.verified_at is not null) as verified,
         (select sum(sample_count)::int from public.storj_chunks where verified_at is not null) as in_chunks,
         (select sum(sample_count)::int from public.device_timeslice_stats
          where bucket_end - bucket_start = interval '1 hour') as in_slices,
         (select (sums ->> 'sum_n')::int from public.network_stats
          where bucket_end - bucket_start = interval '1 hour' and profile = 'all_bits') as trials,
         (select count(*)::int from public.analysis_jobs where status = 'completed') as analyses`,
    )
    const all = 8 * 160
    expect(rows).toEqual([{ samples: all, verified: all, in_chunks: all, in_slices: all, trials: all, analyses: 20 }])
  }, 120_000)

  it(`${PROCESSES} processes of \`work --drain\` at once do every job once, and all end well`, async () => {
    const devices = await pipeline.addDevices(4)
    await pipeline.insert(
      devices.flatMap((device, n) => makeSamples(device, 400, { seed: String(n), start: Date.UTC(2026, 5, 1) })),
    )
    const env = {
      LOCAL_STORAGE_DIR: pipeline.config.localStorageDir,
      WORK_CONCURRENCY: '1',
      CHUNK_TARGET_BYTES: '16384',
    }
    const cli = createCli({ DATABASE_URL: bouncer.url, ...env })
    const watched = watchConnections()
    let counts: number[]
    try {
      expect(await cli.run(['tick'])).toMatchObject({ code: 0, stderr: '' })
      const workers = Array.from({ length: PROCESSES }, () => cli.start(['work', '--drain', '--json'], { input: '' }))
      const ended = await Promise.all(workers.map(({ finished }) => finished))
      expect(ended.filter(({ code }) => code !== 0)).toEqual([])
      const outcomes = ended.map((one) => one.json() as { completed: Record<string, number>; failed: object })
      expect(outcomes.filter(({ failed }) => Object.keys(failed).length > 0)).toEqual([])
      const done: Record<string, number> = {}
      for (const { completed } of outcomes) {
        for (const [queue, jobs] of Object.entries(completed)) done[queue] = (done[queue] ?? 0) + jobs
      }
      const { rows } = await pipeline.db.query<{ queue: string; jobs: number }>(
        `select name as queue, count(*)::int as jobs from pgboss.job where state = 'completed' and retry_count = 0 group by name`,
      )
      expect(done).toEqual(Object.fromEntries(rows.map(({ queue, jobs }) => [queue, jobs])))
      expect(done['upload-chunk']).toBeGreaterThan(4)
      expect((await pipeline.db.query(`select from pgboss.job where state <> 'completed'`)).rowCount).toBe(0)
      const { rows: samples } = await pipeline.db.query(
        `select sum(sample_count)::int as proved from public.storj_chunks where verified_at is not null`,
      )
      expect(samples).toEqual([{ proved: 4 * 400 }])
    } finally {
      counts = await watched.stop()
      cli.remove()
    }
    expect(Math.max(...counts)).toBeLessThanOrEqual(MOST_SERVER_CONNECTIONS)
  }, 120_000)

  it.each([
    ['idle', 20, 0],
    ['with ten others busy', 20, 10],
    ['with more others busy than it has connections', 4, 10],
  ])('a transaction pooler is never taken for a session, %s', async (_name, connections, busy) => {
    const pooler = await startBouncer(pipeline.config.databaseUrl, { connections })
    const others = openPool({ databaseUrl: pooler.url, max: Math.max(busy, 1) })
    const pool = openPool({ databaseUrl: pooler.url, max: 2 })
    const asked = new AbortController()
    try {
      const loads = Array.from({ length: busy }, async () => {
        while (!asked.signal.aborted) await others.query('select pg_sleep(random() * 0.002)')
      })
      const answers: boolean[] = []
      for (let n = 0; n < 50; n++) answers.push(await keepsSession(pool))
      asked.abort()
      await Promise.all(loads)
      expect(answers).toEqual(Array(50).fill(false))
    } finally {
      asked.abort()
      await Promise.all([pool.end(), others.end()])
      await pooler.close()
    }
  })

  it('a session pooler and a direct connection are sessions, also while others are busy', async () => {
    const pooler = await startBouncer(pipeline.config.databaseUrl, { connections: 20, mode: 'session' })
    try {
      for (const databaseUrl of [pooler.url, pipeline.config.databaseUrl]) {
        const others = openPool({ databaseUrl, max: 8 })
        const pool = openPool({ databaseUrl, max: 2 })
        try {
          const load = Promise.all(Array.from({ length: 200 }, () => others.query('select pg_sleep(0.005)')))
          for (let n = 0; n < 10; n++) expect(await keepsSession(pool)).toBe(true)
          await load
        } finally {
          await Promise.all([pool.end(), others.end()])
        }
      }
    } finally {
      await pooler.close()
    }
  })

  it('every command that needs the database works', async () => {
    const [device] = await pipeline.addDevices(1)
    const cli = createCli({ DATABASE_URL: bouncer.url, LOCAL_STORAGE_DIR: pipeline.config.localStorageDir })
    const run = async (args: string, input?: Uint8Array) => {
      const finished = await cli.run([...args.split(' '), '--json'], { input: input ?? '' })
      const { code, stderr } = finished
      expect({ args, code, stderr: code === 0 ? '' : stderr }).toEqual({ args, code: 0, stderr: '' })
      return finished.json()
    }
    try {
      expect(await run(`ingest --device ${device.deviceId}`, Buffer.alloc(640, 'x'))).toMatchObject({ samples: 10 })
      await pipeline.pack()
      await run('work --drain')
      const archived = makeSamples(device, 3, { start: Date.UTC(2019, 5, 1) }).map((sample) => ({
        device_id: sample.deviceId,
        profile_id: sample.profileId,
        timestamp: sample.timestamp,
        sequence: String(sample.sequence),
        sample_data: `\\x${Buffer.from(sample.data).toString('hex')}`,
      }))
      await writeFile(join(cli.directory, 'archive.json'), JSON.stringify(archived))
      expect(await run('import archive.json')).toMatchObject({ accepted: 3, rejected: 0 })
      const ever = '--from 2020-01-01 --to 2100-01-01'
      for (const kind of ['chunks', 'tests', 'slices', 'coherence']) await run(`backfill ${kind} ${ever}`)
      await run('backfill redrive')
      await run('tick')
      await run('work --drain')
      expect(await run('storage verify')).toMatchObject({ checked: 2, bad: [] })
      await run('storage sweep')
      await run('event list')
      expect(await run('status')).toMatchObject({ troubledChunks: [], problems: [] })
      await run('status --check')
    } finally {
      cli.remove()
    }
  }, 120_000)

  it('doctor says so, and migrate asks for another connection', async () => {
    const cli = createCli({ DATABASE_URL: bouncer.url, LOCAL_STORAGE_DIR: pipeline.config.localStorageDir })
    try {
      const { stdout } = await cli.run(['doctor'])
      expect(stdout).toMatch(/transaction pooler: all but\s+`migrate` works/)
      const { code, stderr } = await cli.run(['migrate'])
      expect(code).toBe(1)
      expect(stderr).toMatch(/MIGRATION_BLOCKED: .*transaction pooler.*session pooler \(port 5432/)
    } finally {
      cli.remove()
    }
  })
})
