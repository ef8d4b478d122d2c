import { chmodSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cli, createCli } from './run-cli.ts'

let cli: Cli

beforeAll(() => {
  cli = createCli()
  // The server's account has to get through.
  chmodSync(cli.directory, 0o755)
})

afterAll(() => cli.remove())

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

test('dev keeps its data over a restart, ends cleanly on SIGTERM, and does not share its folder', async () => {
  const first = cli.start(['dev', '--dir', 'data'])
  const [, url] = await first.seen(/export DATABASE_URL='(.*)'\n/)
  const [, store] = await first.seen(/export LOCAL_STORAGE_DIR='(.*)'\n/)
  expect(store).toBe(join(cli.directory, 'data', 'storage'))

  const env = { DATABASE_URL: url, LOCAL_STORAGE_DIR: store }
  const doctor = await cli.run(['doctor', '--json'], { env })
  expect(doctor.json()).toMatchObject({ ok: true })
  await query(url, 'create table public.kept as select 7 as value')

  const second = await cli.run(['dev', '--dir', 'data', '--json'])
  expect(second.code).toBe(1)
  expect(second.json().error).toMatchObject({
    code: 'EMBEDDED_POSTGRES',
    message: expect.stringMatching(
      new RegExp(`already in use by process ${first.child.pid} .*Stop that one first.*or choose another directory`),
    ),
  })

  first.child.kill('SIGTERM')
  const ended = await first.finished
  expect(ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/stopped\n$/) })
  expect(existsSync(join(cli.directory, 'data', 'postgres', 'data', 'postmaster.pid'))).toBe(false)

  const third = cli.start(['dev', '--dir', 'data', '--json'])
  const [document] = await third.seen(/^\{.*\}\n/)
  expect(await query(JSON.parse(document).DATABASE_URL, 'select value from public.kept')).toEqual([{ value: 7 }])
  third.child.kill('SIGTERM')
  const outcome = await third.finished
  expect(outcome.code).toBe(0)
  expect(outcome.json()).toEqual(JSON.parse(document))
})
