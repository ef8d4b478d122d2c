import pgBoss from 'pg-boss/package.json' with { type: 'json' }
import { listVersions, newerMigrations } from './migrate.ts'
import type { Queryable } from './pool.ts'

/** Jobs that could be taken now, by queue (the dead letter queue among them). */
export async function countReadyJobs(db: Queryable): Promise<Record<string, number>> {
  const { rows } = await db.query<{ name: string; ready: number }>(
    `select name, count(*)::int as ready from pgboss.job
     where state < 'active' and start_after <= now() group by name order by name`,
  )
  return Object.fromEntries(rows.map((row) => [row.name, row.ready]))
}

/**
 * Those of these queues that have a job which could be taken now, in the order of `names`; those that have only past work (of
 * priority below 0, but that analyses take turns by theirs) after all others. Ordered within as the index is that a fetch uses:
 * without that the planner reads all jobs for each queue that has none.
 */
const READY_QUEUES = `select queue.name from unnest($1::text[]) with ordinality as queue (name, place) cross join lateral (
       select j.priority from pgboss.job j
       where j.name = queue.name and j.state < 'active' and not j.blocked and j.start_after <= now()
       order by j.priority desc, j.created_on limit 1) ready
     order by ready.priority < 0 and queue.name <> 'run-analysis', queue.place`

/** As above. */
export async function listReadyQueues(db: Queryable, names: readonly string[]): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>(READY_QUEUES, [names])
  return rows.map((row) => row.name)
}

/** What a worker asks before it takes a job, in one query. */
export interface Look {
  /** As `listReadyQueues` has it. */
  readonly ready: string[]
  /** The schema has had migrations that this build does not know, or its queues are another pg-boss's. */
  readonly isOtherBuilds: boolean
}

/** The queues that have work, and whether the database is this build's to work on. */
export async function lookForWork(db: Queryable, names: readonly string[]): Promise<Look> {
  const { rows } = await db.query<Look>(
    `select array(${READY_QUEUES}) as ready,
       (select version from pgboss.version) is distinct from $3 or exists (select from ${newerMigrations('$2')}) as "isOtherBuilds"`,
    [names, listVersions(), pgBoss.pgboss.schema],
  )
  return rows[0]
}

/**
 * Puts jobs that a worker must leave back among those that are ready, without an attempt spent; the ids of those that were still
 * this attempt's. As pg-boss fails a job for another try, but that the limit of tries is raised with the count of them. Its own
 * `restore` forgets when the job was begun, so that the next attempt would have the number of this one, whose handler may still be
 * running: that one could then complete the other's job. State `retry`, not `created`, which the policy `short` has once a key.
 */
export async function handBackJobs(
  db: Queryable,
  queue: string,
  jobs: readonly { id: string; retryCount: number }[],
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `update pgboss.job j set state = 'retry', retry_limit = j.retry_limit + 1, heartbeat_on = null
     from unnest($2::uuid[], $3::int[]) as mine (id, retry_count)
     where j.name = $1 and j.id = mine.id and j.retry_count = mine.retry_count and j.state = 'active' returning j.id`,
    [queue, jobs.map(({ id }) => id), jobs.map(({ retryCount }) => retryCount)],
  )
  return rows.map(({ id }) => id)
}

/** Jobs by queue and state, those that ended left out. */
export async function countJobs(db: Queryable): Promise<{ queue: string; state: string; jobs: number }[]> {
  const { rows } = await db.query<{ queue: string; state: string; jobs: number }>(
    `select name as queue, state::text as state, count(*)::int as jobs from pgboss.job
     where state < 'completed' group by 1, 2 order by 1, 2`,
  )
  return rows
}

export interface QueueHealth {
  readonly queue: string
  /** Jobs that could be taken now. */
  readonly ready: number
  readonly active: number
  /** How long the oldest of those has been ready, in seconds; null if there is none. */
  readonly oldestReadySeconds: number | null
}

/** Depth and age of the queues that have any job, the dead letter queue among them. */
export async function measureQueues(db: Queryable): Promise<QueueHealth[]> {
  const { rows } = await db.query<QueueHealth>(
    `select name as queue, count(*) filter (where ready)::int as ready,
       count(*) filter (where state = 'active')::int as active,
       extract(epoch from now() - min(start_after) filter (where ready))::float8 as "oldestReadySeconds"
     from (select name, state, start_after, state < 'active' and start_after <= now() as ready
           from pgboss.job where state < 'completed') jobs
     group by name order by name`,
  )
  return rows
}

/** The newest dead letters: what failed, on what, why. */
export async function listDeadLetters(
  db: Queryable,
  limit: number,
): Promise<{ id: string; queue: string; data: object; error: string | null; failedAt: Date }[]> {
  const { rows } = await db.query(
    `select id, source_name as queue, data, coalesce(source_output ->> 'message', source_output #>> '{value,message}') as error,
            created_on as "failedAt"
     from pgboss.job where name = 'dead-letter' and state = 'created' order by created_on desc limit $1`,
    [limit],
  )
  return rows
}
