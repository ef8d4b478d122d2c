import { setTimeout as sleep } from 'node:timers/promises'
import type { Pool } from 'pg'
import { openPool, type Queryable } from '../../db/pool.ts'
import { countJobs, listDeadLetters } from '../../db/queues.ts'
import { redriveDeadLetters } from '../../jobs/backfill.ts'
import { sendJob, startBoss } from '../../jobs/boss.ts'
import type { JobContext } from '../../jobs/context.ts'
import type { QueueName } from '../../jobs/queues.ts'

/**
 * What is shorter here than in production, so that minutes show what takes hours: seconds between two of a kind. `tick` sends a
 * pack each 30 s, reconcile each 15 min, prune each hour, if they are due; pg-boss looks once a minute for jobs that were lost.
 */
const EVERY_SECONDS = { pack: 1, reconcile: 10, prune: 4, supervise: 2 } as const
/** A job is lost after 10 s without a heartbeat instead of 60 s, and is tried again after 1 to 10 s instead of 5 to 300. */
const QUEUE_SETTINGS = 'heartbeat_seconds = 10, retry_delay = 1, retry_delay_max = 10'

export interface Clock {
  /** What waits still after `ms`; empty as soon as nothing does. */
  drain(ms: number, signal: AbortSignal): Promise<string[]>
  /** What an operator does about dead letters; how many there were, by queue. */
  redrive(context: JobContext): Promise<Record<string, number>>
  countRetried(db: Queryable): Promise<number>
  stop(): Promise<void>
}

/** Sends what is due by a shorter schedule, from beside the workers. A database that is away is no failure here. */
export async function startClock(databaseUrl: string): Promise<Clock> {
  const pool = openPool({ databaseUrl, max: 2, applicationName: 'chaos clock' })
  await pool.query(`update pgboss.queue set ${QUEUE_SETTINGS} where name <> 'dead-letter'`)
  const boss = await startBoss(pool, { onError: () => {} })
  const stopping = new AbortController()
  let periodic = true
  const supervise = () => pool.query('update pgboss.queue set monitor_claim_on = null, monitor_on = null')
  const send = async (name: QueueName) => {
    if (periodic) await sendJob(boss, pool, name, {})
  }
  const loops = Object.entries(EVERY_SECONDS).map(async ([what, seconds]) => {
    while (!stopping.signal.aborted) {
      await (what === 'supervise' ? supervise() : send(what as QueueName)).catch(() => {})
      await sleep(seconds * 1000, undefined, { signal: stopping.signal }).catch(() => {})
    }
  })
  let stopped: Promise<void> | undefined
  const stop = async () => {
    stopping.abort()
    await Promise.all(loops)
    await boss.stop({ graceful: false, close: false }).catch(() => {})
    await pool.end()
  }
  const drain = async (ms: number, signal: AbortSignal) => {
    const until = Date.now() + ms
    for (;;) {
      const waits = await listWaiting(pool)
      // Jobs of the clock would keep it busy for ever: only while samples, chunks or analyses wait.
      periodic = waits.length > 0
      const jobs = (await countJobs(pool)).filter(({ queue }) => queue !== 'dead-letter')
      waits.push(...jobs.map((one) => `${one.jobs} ${one.state} jobs of ${one.queue}`))
      if (waits.length === 0 || Date.now() > until) return waits
      await sleep(250, undefined, { signal })
    }
  }
  const redrive = async (context: JobContext) => {
    const letters = await listDeadLetters(pool, 1000)
    if (letters.length > 0) await redriveDeadLetters(context, false)
    return Object.fromEntries(
      [...Map.groupBy(letters, ({ queue, error }) => `${queue}: ${error}`)].map(([name, all]) => [name, all.length]),
    )
  }
  return { drain, redrive, countRetried, stop: () => (stopped ??= stop()) }
}

/** Not what was given up: that waits for a person, in the dead letters. */
async function listWaiting(pool: Pool): Promise<string[]> {
  const { rows } = await pool.query<{ waits: string }>(
    `with given_up as (select singleton_key as id from pgboss.job where name = 'dead-letter' and state = 'created')
     select waiting_samples || ' samples are in no chunk' as waits from public.pipeline_health where waiting_samples > 0
     union all select 'chunk ' || id || ' is ' || status || ', not verified' from public.storj_chunks
       where verified_at is null and id::text not in (select id from given_up where id is not null)
     union all select 'analysis ' || id || ' is ' || status from public.analysis_jobs where status in ('queued', 'running')`,
  )
  return rows.map(({ waits }) => waits)
}

async function countRetried(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(*)::int as n from pgboss.job where retry_count > 0 and name <> 'dead-letter'`,
  )
  return rows[0].n
}
