import { afterEach, beforeEach, expect, test } from 'vitest'
import { Client, Pool } from 'pg'
import { isConnectionLost } from '../../db/connection-lost.ts'
import { freePort } from '../harness/pgbouncer.ts'
import { createDatabase, runAsAdmin, type TestDatabase } from '../harness/database.ts'

let database: TestDatabase
beforeEach(async () => {
  database = await createDatabase('bare')
})
afterEach(() => database.drop())

const errorOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )

test('a connection that the server ends is lost, for the query that runs and for the next one', async () => {
  const client = new Client({ connectionString: database.url })
  client.on('error', () => {})
  await client.connect()
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  const running = errorOf(client.query('select pg_sleep(60)'))
  await runAsAdmin(`select pg_terminate_backend(${rows[0].pid}, 10000)`)
  const [first, next] = [await running, await errorOf(client.query('select 1'))]
  expect(next).toMatchObject({ message: expect.stringMatching(/terminated|not queryable/) })
  expect([first, next].map(isConnectionLost)).toEqual([true, true])
})

test('a connection that is not to be had is lost, and an error of a statement is not', async () => {
  const nobody = Object.assign(new URL(database.url), { port: String(await freePort()) }).href
  expect(isConnectionLost(await errorOf(new Client({ connectionString: nobody }).connect()))).toBe(true)
  const pool = new Pool({ connectionString: database.url, max: 1, connectionTimeoutMillis: 100 })
  const client = await pool.connect()
  expect(isConnectionLost(await errorOf(pool.connect()))).toBe(true)
  expect(isConnectionLost(await errorOf(client.query('select 1/0')))).toBe(false)
  client.release()
  await pool.end()
})
