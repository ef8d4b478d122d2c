import type { Queryable } from './pool.ts'

/** What jobs of a queue have cost, those it still remembers. */
export interface JobCost {
  readonly jobs: number
  readonly seconds: number
  /** Payload of the chunks they were about; 0 if they were about none. */
  readonly bytes: number
}

/** The last 1000 jobs that ended well. Jobs that were taken together count from there to the end of the last: each began after another. */
export async function measureJobCost(db: Queryable, queue: string): Promise<JobCost> {
  const { rows } = await db.query<JobCost>(
    `select coalesce(sum(jobs), 0)::int as jobs, coalesce(sum(seconds), 0)::float8 as seconds,
       coalesce(sum(bytes), 0)::float8 as bytes
     from (
       select count(*) as jobs, extract(epoch from max(completed_on) - started_on) as seconds, sum(c.byte_count) as bytes
       from (select started_on, completed_on, (data ->> 'chunk_id')::uuid as chunk_id from pgboss.job
             where name = $1 and state = 'completed' order by completed_on desc limit 1000) recent
         left join public.storj_chunks c on c.id = recent.chunk_id
       group by started_on) taken`,
    [queue],
  )
  return rows[0]
}

/**
 * Takes jobs of this priority back that no worker has; how many of each queue. A chunk whose upload is among them is `failed`, as it
 * was before, or would be sent to the queue again as live work.
 */
export async function deleteQueuedJobs(
  db: Queryable,
  queues: readonly string[],
  priority: number,
  options: { dryRun: boolean },
): Promise<Record<string, number>> {
  const { rows } = await db.query<{ name: string; jobs: number }>(
    `with queued as materialized (
       select name, id, data from pgboss.job
       where name = any ($1) and priority = $2 and state < 'active' for update skip locked
     ), taken as (
       delete from pgboss.job j using queued q where not $3 and j.name = q.name and j.id = q.id
     ), failed as (
       update public.storj_chunks c set status = 'failed', last_error = coalesce(c.last_error, 'its backfill was stopped')
       from queued q
       where not $3 and q.name = 'upload-chunk' and c.id = (q.data ->> 'chunk_id')::uuid
         and c.status in ('pending', 'uploading')
     )
     select name, count(*)::int as jobs from queued group by name order by name`,
    [queues, priority, options.dryRun],
  )
  return Object.fromEntries(rows.map(({ name, jobs }) => [name, jobs]))
}

/** How far past work is: jobs of these queues and priorities that are left, and that have ended since a time. */
export interface PastWork {
  readonly left: number
  readonly completed: number
  /** For good: they are dead letters. */
  readonly failed: number
}

export async function countPastWork(
  db: Queryable,
  queues: readonly string[],
  priorities: { from: number; to: number },
  since: Date,
): Promise<PastWork> {
  const { rows } = await db.query<PastWork>(
    `select count(*) filter (where state < 'completed')::int as left,
       count(*) filter (where state = 'completed' and completed_on >= $4)::int as completed,
       count(*) filter (where state = 'failed' and completed_on >= $4)::int as failed
     from pgboss.job where name = any ($1) and priority between $2 and $3`,
    [queues, priorities.from, priorities.to, since],
  )
  return rows[0]
}

/** The server's clock. */
export async function readClock(db: Queryable): Promise<Date> {
  return (await db.query<{ now: Date }>('select clock_timestamp() as now')).rows[0].now
}
