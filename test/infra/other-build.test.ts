import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listMigrations } from '../../db/migrate.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { createCli, type Cli } from './run-cli.ts'

let database: TestDatabase
let client: Client
let cli: Cli

beforeAll(async () => {
  database = await createDatabase()
  client = new Client({ connectionString: database.adminUrl })
  await client.connect()
  cli = createCli({ DATABASE_URL: database.url })
  await cli.run(['migrate'])
})

afterAll(async () => {
  await client.end()
  await database.drop()
  cli.remove()
})

test('a worker with --except leaves those queues to others', async () => {
  expect((await cli.run(['tick', '--json'])).json().ready).toEqual({ maintain: 1, sweep: 1 })
  const { completed } = (await cli.run(['work', '--drain', '--except', 'reconcile,maintain', '--json'])).json()
  expect(completed).toMatchObject({ sweep: 1 })
  expect(Object.keys(completed)).not.toContain('maintain')
  const { rows } = await client.query(`select name from pgboss.job where state = 'created' order by name`)
  expect(rows).toEqual([{ name: 'maintain' }])
})

test.each([
  [['--queues', 'pack', '--except', 'prune'], /not both/],
  [['--except', 'nosuch'], /no queue is named nosuch/],
])('work refuses %j', async (flags, message) => {
  const { code, stderr } = await cli.run(['work', '--drain', ...flags])
  expect(code).toBe(2)
  expect(stderr).toMatch(message)
})

const NEWER = '20991231000099'
const WATCH = ['work', '--watch', '--queues', 'pack', '--json']

/** A newer build's `migrate`, as far as the record of migrations tells. */
const migrateFurther = (name: string) =>
  client.query('insert into supabase_migrations.schema_migrations (version, name) values ($1, $2)', [NEWER, name])

describe('a schema that a newer build has migrated', () => {
  beforeAll(() => migrateFurther('coherence_of_the_future'))
  afterAll(() => client.query('delete from supabase_migrations.schema_migrations where version = $1', [NEWER]))

  test.each([['tick'], ['work', '--drain'], ['work', '--watch'], ['status']])(
    '%s %s leaves with 75',
    async (...command) => {
      const finished = await cli.run([...command, '--json'])
      expect(finished.code).toBe(75)
      expect(finished.json().error).toEqual({
        code: 'QUEUE_VERSION',
        message: expect.stringMatching(/newer build's: it has had 20991231000099_coherence_of_the_future/),
      })
    },
  )

  test('and with 0 where a scheduler asks for it', async () => {
    const finished = await cli.run(['work', '--drain', '--other-build-ok', '--json'])
    expect(finished.code).toBe(0)
    expect(finished.json()).toEqual({ stopped: 'other-build' })
  })

  test('doctor says which, and what to do', async () => {
    const { checks } = (await cli.run(['doctor', '--json'])).json()
    const detail = expect.stringMatching(/20991231000099_coherence_of_the_future.* Use that build/)
    expect(checks).toContainEqual({ name: 'schema', ok: false, detail })
  })
})

describe('a worker that is at work', () => {
  /** The command, from its first look on; `then` is what happens to the database. */
  const during = async (args: string[], then: () => Promise<unknown>) => {
    const { finished } = cli.start(args)
    const looked = async () => {
      const { rowCount } = await client.query(
        `select from pg_stat_activity where datname = current_database() and query like '%as queue (name, place)%' and pid <> pg_backend_pid()`,
      )
      return rowCount! > 0
    }
    await expect.poll(looked, { timeout: 20_000 }).toBe(true)
    await then()
    return await finished
  }

  test('leaves when a newer build migrates the schema', async () => {
    const { code, ...finished } = await during(WATCH, () => migrateFurther('coherence_of_the_future'))
    await client.query('delete from supabase_migrations.schema_migrations where version = $1', [NEWER])
    expect(finished.json()).toMatchObject({ completed: {}, stopped: 'other-build' })
    expect(code).toBe(75)
  })

  test('leaves when another build installs its queues', async () => {
    const { code, ...finished } = await during([...WATCH, '--other-build-ok'], () =>
      client.query('update pgboss.version set version = version + 1'),
    )
    await client.query('update pgboss.version set version = version - 1')
    expect(finished.json()).toMatchObject({ completed: {}, stopped: 'other-build' })
    expect(code).toBe(0)
  })

  test('does not mind the migrations of the project it is in', async () => {
    await migrateFurther('of_somebody_else')
    const { code, ...finished } = await cli.run(['work', '--drain', '--queues', 'pack', '--json'])
    await client.query('delete from supabase_migrations.schema_migrations where version = $1', [NEWER])
    expect(finished.json()).toMatchObject({ stopped: 'idle' })
    expect(code).toBe(0)
  })
})

test('migrations from the 15th on bear a name that tells them from those of the project they are in', () => {
  const later = listMigrations().slice(14)
  expect(later.filter(({ name }) => !name.startsWith('coherence_'))).toEqual([])
})

describe('queues of another build', () => {
  beforeAll(() => client.query('update pgboss.version set version = version + 1'))
  const commands = [['tick'], ['work', '--drain'], ['work', '--watch']]

  test.each(commands)('%s %s leaves with 75', async (...command) => {
    const finished = await cli.run([...command, '--json'])
    expect(finished.code).toBe(75)
    expect(finished.json()).toMatchObject({ error: { code: 'QUEUE_VERSION' } })
  })

  test.each(commands)('%s %s leaves with 0 where a scheduler asks for it', async (...command) => {
    const finished = await cli.run([...command, '--other-build-ok', '--json'])
    expect(finished.code).toBe(0)
    expect(finished.json()).toEqual({ stopped: 'other-build' })
  })

  test('any other error stays one', async () => {
    const { code } = await cli.run(['tick', '--other-build-ok'], { env: { DATABASE_URL: 'postgres://127.0.0.1:1/x' } })
    expect(code).toBe(1)
  })
})
