import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
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
