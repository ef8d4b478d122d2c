import { Client } from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readCopy } from '../../db/copy-out.ts'
import { createDatabase, runAsAdmin, type TestDatabase } from '../harness/database.ts'

let database: TestDatabase
let client: Client
beforeEach(async () => {
  database = await createDatabase('bare')
  client = new Client({ connectionString: database.url })
  client.on('error', () => {})
  await client.connect()
})
afterEach(async () => {
  await client.end()
  await database.drop()
})

const NUMBERS = 'copy (select n, repeat(chr(65 + n % 26), n) from generate_series(0, 2000) n) to stdout'

test('every byte of a COPY comes, in order', async () => {
  let text = ''
  await readCopy(client, NUMBERS, (data) => (text += data.toString()))
  const lines = Array.from({ length: 2001 }, (_, n) => `${n}\t${String.fromCharCode(65 + (n % 26)).repeat(n)}\n`)
  expect(text === lines.join('')).toBe(true)
})

test('what the reader throws ends the reading, and the connection goes on', async () => {
  let calls = 0
  const reading = readCopy(client, NUMBERS, () => {
    calls++
    throw new RangeError('enough')
  })
  await expect(reading).rejects.toThrow(new RangeError('enough'))
  expect(calls).toBe(1)
  expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
})

test('an error of the server comes as its own, before the data or amid them', async () => {
  await expect(readCopy(client, 'copy nothing to stdout', () => {})).rejects.toMatchObject({ code: '42P01' })
  const amid = 'copy (select 1 / (1000 - n) from generate_series(0, 2000) n) to stdout'
  await expect(readCopy(client, amid, () => {})).rejects.toMatchObject({ code: '22012' })
  expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
})

test('a connection that is lost amid the data rejects', async () => {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  let terminated: Promise<void> | undefined
  const endless = 'copy (select n, pg_sleep(0.001) from generate_series(0, 1000000) n) to stdout'
  await expect(
    readCopy(client, endless, () => {
      terminated ??= runAsAdmin(`select pg_terminate_backend(${rows[0].pid}, 10000)`)
    }),
  ).rejects.toThrow(/terminat/)
  await terminated
})
