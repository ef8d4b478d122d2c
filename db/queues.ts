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
export async function listReadyQueues(db: Queryable, names: readonly string[]): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>(
    `select queue.name from unnest($1::text[]) with ordinality as queue (name, place) cross join lateral (
       select j.priority from pgboss.job j
       where j.name = queue.name and j.state < 'active' and not j.blocked and j.start_after <= now()
       order by j.priority desc, j.created_on limit 1) ready
     order by ready.priority < 0 and queue.name <> 'run-analysis', queue.place`,
    [names],
  )
  return rows.map((row) => row.name)
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
