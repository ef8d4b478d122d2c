import type pg from 'pg'
import { PgBoss, type Db, type JobInsert, type JobWithMetadata } from 'pg-boss'
import type { Queryable } from '../db/pool.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import type { JobData, QueueName } from './queues.ts'

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

/** Sends one job in the caller's transaction. False if the queue's policy has it already. */
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
  return id !== null
}

/** Sends many jobs of one queue in one statement, in the caller's transaction; those the policy has already are skipped. */
export async function sendJobs<Q extends QueueName>(
  boss: PgBoss,
  db: Queryable,
  queue: Q,
  jobs: readonly { data: JobData[Q]; key: string; priority?: number }[],
): Promise<void> {
  if (jobs.length === 0) return
  const inserts: JobInsert[] = jobs.map(({ data, key, priority }) => ({ data, singletonKey: key, priority }))
  await boss.insert(queue, inserts, { db: bossDb(db) })
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
