import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openPool } from '../../db/pool.ts'
import { startBoss } from '../../jobs/boss.ts'
import { installQueues, missingQueues } from '../../jobs/install.ts'
import { DEAD_LETTER, DEAD_LETTER_OPTIONS, QUEUE_NAMES, QUEUES } from '../../jobs/queues.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'

const EVERY_QUEUE = [DEAD_LETTER, ...QUEUE_NAMES]

let database: TestDatabase
let client: Client
const open = async (template: 'bare' | 'migrated') => {
  database = await createDatabase(template)
  client = new Client({ connectionString: database.url })
  await client.connect()
}
afterEach(async () => {
  await client.end()
  await database.drop()
})

const install = () => installQueues({ databaseUrl: database.url })
const missing = () => missingQueues({ databaseUrl: database.url })

/** What pg-boss says of the queues, as the worker's build reads it. */
async function readQueues(): Promise<Record<string, Record<string, unknown>>> {
  const { result } = await startWorker(async (boss) => await boss.getQueues())
  return Object.fromEntries((result ?? []).map((queue) => [queue.name, { ...queue }]))
}

/** Starts and stops a worker's side of pg-boss. */
async function startWorker<T>(
  use: (boss: Awaited<ReturnType<typeof startBoss>>) => Promise<T> = async () => undefined as T,
): Promise<{ result: T }> {
  const pool = openPool({ databaseUrl: database.url, max: 2 })
  try {
    const boss = await startBoss(pool, { onError: () => {} })
    try {
      return { result: await use(boss) }
    } finally {
      await boss.stop({ graceful: false, close: false })
    }
  } finally {
    await pool.end()
  }
}

describe('in a new database', () => {
  beforeEach(() => open('bare'))

  it('makes every queue, and the second time nothing', async () => {
    expect(await missing()).toEqual(EVERY_QUEUE)
    expect(await install()).toEqual(EVERY_QUEUE)
    expect(await missing()).toEqual([])
    const before = await client.query('select * from pgboss.queue order by name')
    expect(await install()).toEqual([])
    expect((await client.query('select * from pgboss.queue order by name')).rows).toEqual(before.rows)
  })

  it('a worker is told to migrate first', async () => {
    await expect(startWorker()).rejects.toMatchObject({
      code: 'DATABASE_NOT_MIGRATED',
      message: expect.stringContaining('run `coherence migrate`'),
    })
    expect((await client.query(`select to_regnamespace('pgboss') as schema`)).rows).toEqual([{ schema: null }])
  })
})

describe('in a database that has the queues', () => {
  beforeEach(() => open('migrated'))

  it('every queue is as the table has it', async () => {
    const queues = await readQueues()
    expect(Object.keys(queues).toSorted()).toEqual(EVERY_QUEUE.toSorted())
    for (const name of QUEUE_NAMES) expect(queues[name]).toMatchObject({ name, ...QUEUES[name].options })
    expect(queues[DEAD_LETTER]).toMatchObject(DEAD_LETTER_OPTIONS)
  })

  it('settings that have changed are brought back, and the jobs that wait stay', async () => {
    const id = randomUUID()
    await client.query(`select app_private.send_job('pack', jsonb_build_object('id', $1::text))`, [id])
    await client.query(
      `update pgboss.queue set retry_limit = 1, heartbeat_seconds = null, expire_seconds = 60, dead_letter = null where name = 'pack'`,
    )
    await client.query(`update pgboss.queue set retention_seconds = 60 where name = $1`, [DEAD_LETTER])
    expect((await install()).toSorted()).toEqual([DEAD_LETTER, 'pack'])
    const queues = await readQueues()
    expect(queues.pack).toMatchObject(QUEUES.pack.options)
    expect(queues[DEAD_LETTER]).toMatchObject(DEAD_LETTER_OPTIONS)
    expect((await client.query('select data from pgboss.job')).rows).toEqual([{ data: { id } }])
    expect(await install()).toEqual([])
  })

  it('a queue that is gone is missing, and comes back', async () => {
    await startWorker((boss) => boss.deleteQueue('sweep'))
    expect(await missing()).toEqual(['sweep'])
    expect(await install()).toEqual(['sweep'])
    expect((await readQueues()).sweep).toMatchObject(QUEUES.sweep.options)
  })

  it('queues of others are left alone', async () => {
    await startWorker((boss) => boss.createQueue('theirs', { retryLimit: 3 }))
    expect(await install()).toEqual([])
    expect((await readQueues()).theirs).toMatchObject({ retryLimit: 3 })
  })

  it.each(['version - 1', 'version + 1'])('a worker leaves queues of another build alone (%s)', async (version) => {
    await client.query(`update pgboss.version set version = ${version}`)
    const before = await client.query('select * from pgboss.version')
    await expect(startWorker()).rejects.toMatchObject({
      code: 'QUEUE_VERSION',
      message: expect.stringContaining('coherence migrate'),
    })
    expect((await client.query('select * from pgboss.version')).rows).toEqual(before.rows)
  })

  it('two installations at once do not collide', async () => {
    await client.query('drop schema pgboss cascade')
    const outcomes = await Promise.allSettled([install(), install()])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
    expect(await missing()).toEqual([])
  })
})
