import type pg from 'pg'
import type { Db, JobInsert, JobWithMetadata, PgBoss } from 'pg-boss'
import type { Queryable } from '../db/pool.ts'
import { raiseQueuedJobs, readJobPriority } from '../db/priorities.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import { type JobData, QUEUES, type QueueName } from './queues.ts'

/** pg-boss's view of a pool or of the client of a transaction. */
export function bossDb(db: Queryable): Db {
  return { executeSql: (text, values) => db.query(text, values) }
}

/**
 * pg-boss on our own pool, for a worker that comes and goes: it never migrates, supervises or schedules by itself (the
 * tick does). Throws QUEUE_VERSION if the database's queues belong to another build, DATABASE_NOT_MIGRATED if there are none.
 */
export async function startBoss(
  pool: pg.Pool,
  options: { monitorIntervalSeconds?: number; onError: (error: Error) => void },
): Promise<PgBoss> {
  // It brings parsers of schedules along. A worker that finds nothing to do goes without.
  const { PgBoss } = await import('pg-boss')
  const boss = new PgBoss({
    db: bossDb(pool),
    schema: 'pgboss',
    migrate: false,
    createSchema: false,
    supervise: false,
    schedule: false,
    monitorVacuum: false,
    ...(options.monitorIntervalSeconds ? { monitorIntervalSeconds: options.monitorIntervalSeconds } : {}),
  })
  // Without a listener an error event ends the process.
  boss.on('error', options.onError)
  try {
    await boss.start()
  } catch (cause) {
    const { message } = cause as Error
    if (/not installed/i.test(message)) {
      throw new CoherenceError('DATABASE_NOT_MIGRATED', 'the queues are not installed: run `coherence migrate`.', {
        cause,
      })
    }
    if (/requires migrations/i.test(message)) {
      throw new CoherenceError(
        'QUEUE_VERSION',
        `the queues were installed by another build; this worker leaves them to it. If this build is the newer one, run "coherence migrate".`,
        {
          cause,
        },
      )
    }
    throw cause
  }
  return boss
}

/** Sends one job in the caller's transaction. False if the queue's policy has it already; if queued, it has no less priority now. */
export async function sendJob<Q extends QueueName>(
  boss: PgBoss,
  db: Queryable,
  queue: Q,
  data: JobData[Q],
  options: { key?: string; everySeconds?: number; priority?: number } = {},
): Promise<boolean> {
  const id = await boss.send(queue, data, {
    db: bossDb(db),
    ...(options.key === undefined ? {} : { singletonKey: options.key }),
    ...(options.everySeconds === undefined ? {} : { singletonSeconds: options.everySeconds }),
    ...(options.priority === undefined ? {} : { priority: options.priority }),
  })
  if (id === null && options.key !== undefined) {
    await raiseQueuedJobs(db, queue, policyOf(queue), [{ key: options.key, priority: options.priority ?? 0 }])
  }
  return id !== null
}

/**
 * Sends many jobs of one queue in one statement, in the caller's transaction; those the policy has already are skipped, and if
 * queued have no less priority from then on.
 */
export async function sendJobs<Q extends QueueName>(
  boss: PgBoss,
  db: Queryable,
  queue: Q,
  jobs: readonly { data: JobData[Q]; key: string; priority?: number }[],
): Promise<void> {
  if (jobs.length === 0) return
  const inserts: JobInsert[] = jobs.map(({ data, key, priority }) => ({ data, singletonKey: key, priority }))
  const sent = await boss.insert(queue, inserts, { db: bossDb(db), returnId: true })
  if (sent?.length === jobs.length) return
  const asked = jobs.map(({ key, priority = 0 }) => ({ key, priority }))
  await raiseQueuedJobs(db, queue, policyOf(queue), asked)
}

function policyOf(queue: QueueName): 'exclusive' | 'short' {
  return QUEUES[queue].options.policy === 'short' ? 'short' : 'exclusive'
}

/**
 * The priority of what a job sends on: live work sends live work. What a backfill has begun comes before what it has not begun, and
 * after all that is live.
 */
export async function followUpPriority(db: Queryable, job: { name: QueueName; id: string }): Promise<number> {
  const priority = await readJobPriority(db, job.name, job.id)
  return priority < 0 ? Math.min(priority + 1, -1) : 0
}

/**
 * Completes a fetched job in the caller's transaction, fenced to the attempt that was fetched. False if that attempt has
 * expired and the job is someone else's: the caller must roll back.
 */
export async function completeJob(
  boss: PgBoss,
  db: Queryable,
  job: Pick<JobWithMetadata, 'id' | 'name' | 'retryCount'>,
  output?: object,
): Promise<boolean> {
  const response = await boss.complete(job.name, { id: job.id, retryCount: job.retryCount }, output, { db: bossDb(db) })
  return affected(response) === 1
}

/** Rows that a pg-boss command changed; its type does not say so, its value does. */
export function affected(response: object): number {
  return (response as { affected: number }).affected
}
