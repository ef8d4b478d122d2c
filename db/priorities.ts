import type { Queryable } from './pool.ts'

/** The states in which a queue's policy lets a job keep another of its key out, and no worker has it yet; as pg-boss's indexes have them. */
const QUEUED = {
  short: `j.state = 'created' and j.policy = 'short'`,
  exclusive: `j.state < 'active' and j.policy = 'exclusive'`,
} as const

/**
 * Raises queued jobs to the priority of those that they have kept out of their queue: what is sent as live work must not wait
 * behind past work. In order of the keys, so that two who send the same jobs wait for each other one way only.
 */
export async function raiseQueuedJobs(
  db: Queryable,
  queue: string,
  policy: keyof typeof QUEUED,
  jobs: readonly { key: string; priority: number }[],
): Promise<void> {
  await db.query(
    `with queued as materialized (
       select j.id, sent.priority
       from unnest($2::text[], $3::int[]) as sent (key, priority)
       join pgboss.job j on j.name = $1 and coalesce(j.singleton_key, '') = sent.key and ${QUEUED[policy]}
       where j.priority < sent.priority order by sent.key for update of j
     )
     update pgboss.job j set priority = queued.priority from queued where j.name = $1 and j.id = queued.id`,
    [queue, jobs.map(({ key }) => key), jobs.map(({ priority }) => priority)],
  )
}

/** The priority of a job; 0, that of live work, if there is no such job. */
export async function readJobPriority(db: Queryable, queue: string, id: string): Promise<number> {
  const { rows } = await db.query<{ priority: number }>('select priority from pgboss.job where name = $1 and id = $2', [
    queue,
    id,
  ])
  return rows[0]?.priority ?? 0
}
