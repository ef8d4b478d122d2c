import { randomUUID } from 'node:crypto'
import { Client, type Pool } from 'pg'
import type { PgBoss } from 'pg-boss'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openPool } from '../../db/pool.ts'
import { startBoss } from '../../jobs/boss.ts'
import { DEAD_LETTER, QUEUE_NAMES, QUEUES } from '../../jobs/queues.ts'
import { asUser, createDatabase, runAsUser, type TestDatabase } from '../harness/database.ts'

const EVERY_QUEUE = [...QUEUE_NAMES, DEAD_LETTER]

let database: TestDatabase
let client: Client
let pool: Pool
let boss: PgBoss
let user: string
beforeEach(async () => {
  database = await createDatabase()
  client = new Client({ connectionString: database.url })
  await client.connect()
  pool = openPool({ databaseUrl: database.url, max: 1 })
  boss = await startBoss(pool, { onError: () => {} })
  user = randomUUID()
  await client.query('insert into auth.users (id, email) values ($1, $2)', [user, 'a@example.org'])
})
afterEach(async () => {
  await boss.stop({ graceful: false, close: false })
  await pool.end()
  await client.end()
  await database.drop()
})

async function sendBySql(queue: string, data: object, key?: string): Promise<string | null> {
  const sql = 'select app_private.send_job($1, $2, $3) as id'
  return (await client.query(sql, [queue, data, key ?? null])).rows[0].id
}

/** The one job of this id, every column of it; times as seconds since it was created. */
async function readJob(id: string | null): Promise<Record<string, unknown>> {
  const { rows: columns } = await client.query<{ name: string; time: boolean }>(
    `select attname as name, atttypid = 'timestamptz'::regtype as time from pg_attribute
     where attrelid = 'pgboss.job'::regclass and attnum > 0 and not attisdropped`,
  )
  expect(columns.length).toBeGreaterThan(20)
  const list = columns.map(({ name, time }) =>
    time ? `extract(epoch from "${name}" - created_on)::float8 as "${name}"` : `"${name}"`,
  )
  const { rows } = await client.query(`select ${list.join(', ')} from pgboss.job where id = $1`, [id])
  expect(rows).toHaveLength(1)
  const { id: _id, ...job } = rows[0]
  return job
}

/** The same job as boss.send and as SQL sends it, but for the key, which this checks. */
async function sendBothWays(queue: string, withKey: boolean): Promise<Record<'boss' | 'sql', Record<string, unknown>>> {
  const data = { chunk_id: randomUUID(), nested: { list: [1, 'two', null] } }
  const keys = withKey ? [randomUUID(), randomUUID()] : []
  const sent = await readJob(await boss.send(queue, data, withKey ? { singletonKey: keys[0] } : {}))
  // Under these policies the next job without a key would be refused.
  if (!withKey) await client.query('delete from pgboss.job')
  const sql = await readJob(await sendBySql(queue, data, keys[1]))
  expect([sent.singleton_key, sql.singleton_key]).toEqual(withKey ? keys : [null, null])
  expect(sql).toMatchObject({ name: queue, data, start_after: 0, state: 'created' })
  return { boss: { ...sent, singleton_key: '' }, sql: { ...sql, singleton_key: '' } }
}

describe('a job that SQL sends', () => {
  it.each(EVERY_QUEUE)('equals one that boss.send sends, in every column: %s', async (queue) => {
    for (const withKey of [true, false]) {
      const job = await sendBothWays(queue, withKey)
      expect(job.sql).toEqual(job.boss)
    }
  })

  it('has the settings that its queue has by now', async () => {
    await sendBothWays('run-analysis', true)
    await boss.updateQueue('run-analysis', {
      retryLimit: 9,
      retryDelay: 77,
      retryBackoff: false,
      expireInSeconds: 1234,
      heartbeatSeconds: 99,
      deleteAfterSeconds: 4321,
      retentionSeconds: 86_400,
    })
    const job = await sendBothWays('run-analysis', true)
    expect(job.sql).toEqual(job.boss)
    expect(job.sql).toMatchObject({
      retry_limit: 9,
      retry_delay: 77,
      retry_backoff: false,
      expire_seconds: 1234,
      heartbeat_seconds: 99,
      deletion_seconds: 4321,
      keep_until: 86_400,
    })
  })

  it('is one that a worker can fetch', async () => {
    const id = await sendBySql('run-analysis', { analysis_job_id: 'x' }, 'key')
    expect(await boss.fetch('run-analysis')).toMatchObject([{ id, data: { analysis_job_id: 'x' } }])
  })

  it.each(QUEUE_NAMES)('is refused quietly while its key has one already: %s', async (queue) => {
    expect(await sendBySql(queue, {}, 'one')).not.toBeNull()
    expect(await sendBySql(queue, {}, 'one')).toBeNull()
    expect(await sendBySql(queue, {}, 'two')).not.toBeNull()
    await boss.fetch(queue, { batchSize: 2 })
    // `short` guards what waits, `exclusive` also what runs.
    const refused = QUEUES[queue].options.policy === 'exclusive'
    expect((await sendBySql(queue, {}, 'one')) === null).toBe(refused)
  })

  it('to a queue that does not exist fails, with what to do', async () => {
    await expect(sendBySql('no-such-queue', {})).rejects.toMatchObject({
      message: 'queue no-such-queue does not exist',
      hint: expect.stringContaining('coherence migrate'),
    })
  })
})

describe('an INSERT into analysis_jobs', () => {
  const insert = (id: string, status = 'queued') =>
    client.query(
      `insert into analysis_jobs (id, user_id, time_range_start, time_range_end, test_names, status)
       values ($1, $2, '2026-01-01', '2026-01-02', '{frequency}', $3)`,
      [id, user, status],
    )
  const listJobs = async () =>
    (await client.query('select name, data, singleton_key, state, policy from pgboss.job')).rows
  const jobOf = (id: string) => ({
    name: 'run-analysis',
    data: { analysis_job_id: id },
    singleton_key: id,
    state: 'created',
    policy: 'exclusive',
  })

  it('by a user makes exactly one job', async () => {
    const id = randomUUID()
    await runAsUser(client, user, () => insert(id))
    expect(await listJobs()).toEqual([jobOf(id)])
  })

  it('of several rows makes a job for each', async () => {
    await runAsUser(client, user, () =>
      client.query(
        `insert into analysis_jobs (user_id, time_range_start, time_range_end, test_names)
         select $1, '2026-01-01', '2026-01-02', '{frequency}' from generate_series(1, 3)`,
        [user],
      ),
    )
    const { rows } = await client.query<{ id: string }>('select id from analysis_jobs')
    const jobs = await listJobs()
    expect(jobs).toHaveLength(3)
    expect(jobs).toEqual(expect.arrayContaining(rows.map(({ id }) => jobOf(id))))
  })

  it.each(['completed', 'failed', 'running'])(
    'by a user who claims it is %s makes a job all the same',
    async (status) => {
      const id = randomUUID()
      await runAsUser(client, user, () => insert(id, status))
      expect(await listJobs()).toEqual([jobOf(id)])
    },
  )

  it('of a finished job by the backend makes none', async () => {
    await insert(randomUUID(), 'completed')
    expect(await listJobs()).toEqual([])
  })

  it('that is rolled back leaves no job', async () => {
    await asUser(client, user)
    await insert(randomUUID())
    await client.query('rollback')
    expect(await listJobs()).toEqual([])
  })

  it('that row security refuses leaves no job', async () => {
    await expect(runAsUser(client, randomUUID(), () => insert(randomUUID()))).rejects.toThrow('row-level security')
    expect(await listJobs()).toEqual([])
  })

  it('is all that makes a job: an UPDATE makes none', async () => {
    await insert(randomUUID())
    await client.query('delete from pgboss.job')
    await runAsUser(client, user, () => client.query(`update analysis_jobs set parameters = '{"lag": 2}'`))
    await client.query(`update analysis_jobs set status = 'queued'`)
    expect(await listJobs()).toEqual([])
  })
})
