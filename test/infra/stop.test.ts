import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { type Cli, createCli } from './run-cli.ts'

let database: TestDatabase
let client: Client
let locker: Client
let cli: Cli

beforeAll(async () => {
  database = await createDatabase()
  client = new Client({ connectionString: database.adminUrl })
  locker = new Client({ connectionString: database.adminUrl })
  await Promise.all([client.connect(), locker.connect()])
  cli = createCli({ DATABASE_URL: database.url })
  await cli.run(['migrate'])
})

afterAll(async () => {
  await Promise.all([client.end(), locker.end()])
  await database.drop()
  cli.remove()
})

const isBlocked = async () => {
  const { rowCount } = await client.query(
    `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  )
  return rowCount! > 0
}

test('work writes the file that a probe looks at, while it runs', async () => {
  const file = join(cli.directory, 'alive')
  const { child, finished } = cli.start(['work', '--watch', '--queues', 'pack', '--alive-file', file])
  await expect.poll(() => existsSync(file), { timeout: 20_000 }).toBe(true)
  // Written again at the next look.
  rmSync(file)
  await expect.poll(() => existsSync(file), { timeout: 20_000 }).toBe(true)
  child.kill('SIGTERM')
  expect((await finished).code).toBe(0)
  const unwritable = await cli.run(['work', '--drain', '--alive-file', join(cli.directory, 'none', 'alive'), '--json'])
  expect(unwritable.code).toBe(2)
  expect(unwritable.json().error.message).toMatch(/--alive-file: ENOENT/)
})

test.each(['--watch', '--drain'])(
  'SIGTERM ends work %s in the midst of a job that the database blocks',
  async (mode) => {
    await client.query(`delete from pgboss.job`)
    await cli.run(['tick'])
    await locker.query('begin; lock table maintenance_log in access exclusive mode')
    const args = ['work', mode, '--queues', 'maintain', '--grace-seconds', '0.2', '--json']
    const { child, finished } = cli.start(args, { env: { LOG_LEVEL: 'info' } })
    await expect.poll(isBlocked, { timeout: 20_000 }).toBe(true)
    const stopped = performance.now()
    child.kill('SIGTERM')
    const outcome = await finished
    // 0.2 s of grace, and what the pool gives to statements that are under way.
    expect(performance.now() - stopped).toBeLessThan(5000)
    expect(outcome.code).toBe(0)
    expect(outcome.json()).toMatchObject({ completed: {}, failed: {}, handedBack: { maintain: 1 }, stopped: 'signal' })
    expect(outcome.stderr).toContain('"level":30')
    expect(outcome.stderr).toContain('handed back')
    expect(outcome.stderr).not.toContain('"level":50')
    await locker.query('rollback')
    const { rows } = await client.query(`select state, retry_count from pgboss.job where name = 'maintain'`)
    expect(rows).toEqual([{ state: 'retry', retry_count: 0 }])
    const next = await cli.run(['work', '--drain', '--queues', 'maintain', '--json'])
    expect(next.json().completed).toEqual({ maintain: 1 })
  },
)
