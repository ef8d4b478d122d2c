import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { type Cli, createCli, type Finished } from './run-cli.ts'

const PASSWORD = 'hunter2-secret'
const DEVICE = '00000000-0000-4000-8000-000000000001'
/** Commands that need a database. */
const DATABASE_COMMANDS = [
  'migrate',
  'migrate --check',
  'doctor',
  `ingest --device ${DEVICE}`,
  'tick',
  'work --drain',
  'status',
  'backfill tests --from 2026-01-01 --to 2026-01-02',
  'backfill redrive',
  'storage sweep',
]
/** Those that need what `migrate` makes. */
const SCHEMA_COMMANDS = DATABASE_COMMANDS.filter((command) => !/^(migrate|doctor)/.test(command))

let cli: Cli
beforeAll(() => {
  cli = createCli()
  mkdirSync(join(cli.directory, 'store', 'entropy-chunks'), { recursive: true })
})

afterAll(() => cli.remove())

function expectNoSecret(outcome: Finished): void {
  expect(outcome.stdout + outcome.stderr).not.toContain('hunter2')
}

describe('a wrong environment', () => {
  test.concurrent('is told with all its problems in one message, without the secrets', async () => {
    const env = {
      DATABASE_URL: `postgres://u:${PASSWORD}@no host/db`,
      STORAGE_BUCKET: 'Not A Bucket',
      CHUNK_TARGET_BYTES: '12',
      RETENTION_DAYS: 'many',
      LOG_LEVEL: 'loud',
    }
    const outcome = await cli.run(['status', '--json'], { env })
    expect(outcome.code).toBe(2)
    expectNoSecret(outcome)
    const { error } = outcome.json()
    expect(error.code).toBe('CONFIG_INVALID')
    for (const name of Object.keys(env)) expect(error.message).toContain(name)
    expect(outcome.stderr).toBe(`CONFIG_INVALID: ${error.message}\n`)
    expect(outcome.stderr).toContain('RETENTION_DAYS must be days from 0 to 36500 (it is "many")')
  })

  test.concurrent.each([
    ['a space in the host', `postgres://u:${PASSWORD}@no host/db`],
    ['another protocol', `mysql://u:${PASSWORD}@127.0.0.1/db`],
    ['no slashes', `postgres:${PASSWORD}`],
    ['a # in the password', `postgres://u:${PASSWORD}#1@127.0.0.1/db`],
    ['a lone % in the password', `postgres://u:${PASSWORD}%@127.0.0.1/db`],
    ['the placeholder of the dashboard', `postgres://u:[YOUR-PASSWORD]@127.0.0.1/hunter2`],
  ])('a DATABASE_URL with %s is refused and not repeated', async (_what, DATABASE_URL) => {
    const outcome = await cli.run(['status'], { env: { DATABASE_URL } })
    expect(outcome).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/CONFIG_INVALID.*\n +DATABASE_URL /),
    })
    expectNoSecret(outcome)
  })

  test.concurrent('a missing DATABASE_URL is told where to take it from', async () => {
    const outcome = await cli.run(['status'])
    expect(outcome).toMatchObject({ code: 2, stderr: expect.stringMatching(/DATABASE_URL is missing.*Supabase.*demo/) })
  })

  test.concurrent('settings of .env are used, and their problems told too', async () => {
    const other = createCli()
    writeFileSync(
      join(other.directory, '.env'),
      `DATABASE_URL=postgres://u:${PASSWORD}@127.0.0.1:1/db\nLOG_LEVEL=loud\n`,
    )
    const outcome = await other.run(['status'])
    other.remove()
    // LOG_LEVEL is given by this test's environment, which comes first.
    expect(outcome).toMatchObject({ code: 1, stderr: expect.stringContaining('DATABASE_UNREACHABLE') })
    expectNoSecret(outcome)
  })
})

describe('a database that cannot be reached', () => {
  test.concurrent.each(DATABASE_COMMANDS)('%s: DATABASE_UNREACHABLE, what to do, exit code 1', async (command) => {
    const env = { DATABASE_URL: `postgres://u:${PASSWORD}@127.0.0.1:1/db`, LOCAL_STORAGE_DIR: 'store' }
    const outcome = await cli.run([...command.split(' '), '--json'], { env, input: 'bytes' })
    expect(outcome.code).toBe(1)
    expectNoSecret(outcome)
    const { error, checks } = outcome.json()
    // The doctor goes on: the store may have something too.
    const message = error === undefined ? checks[0].detail : `${error.code}: ${error.message}`
    expect(message.replace('DATABASE_UNREACHABLE: ', '')).toMatch(
      /^cannot connect to Postgres at 127\.0\.0\.1:1\/db as u: .*ECONNREFUSED.*Check DATABASE_URL/,
    )
    expect(error === undefined).toBe(command === 'doctor')
  })

  test.concurrent('a wrong password is said to be wrong, and not repeated', async () => {
    const url = new URL(inject('databaseServer').url)
    url.password = PASSWORD
    const outcome = await cli.run(['status', '--json'], { env: { DATABASE_URL: url.href, LOG_LEVEL: 'trace' } })
    expect(outcome.code).toBe(1)
    expect(outcome.json().error).toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.stringContaining('password authentication failed for user "postgres"'),
    })
    expectNoSecret(outcome)
  })

  test.concurrent('an unknown database is named', async () => {
    const DATABASE_URL = inject('databaseServer').url.replace(/[^/]+$/, 'nosuch')
    const outcome = await cli.run(['status', '--json'], { env: { DATABASE_URL } })
    expect(outcome.json().error.message).toContain('database "nosuch" does not exist')
  })
})

describe('a database that is not migrated', () => {
  let bare: TestDatabase

  beforeAll(async () => {
    bare = await createDatabase('bare')
  })

  afterAll(() => bare.drop())

  test.concurrent.each(SCHEMA_COMMANDS)('%s: DATABASE_NOT_MIGRATED, what to do, exit code 1', async (command) => {
    const env = { DATABASE_URL: bare.url, LOCAL_STORAGE_DIR: 'store' }
    const outcome = await cli.run([...command.split(' '), '--json'], { env, input: 'bytes' })
    expect(outcome.code).toBe(1)
    expect(outcome.json()).toEqual({
      error: { code: 'DATABASE_NOT_MIGRATED', message: expect.stringContaining('run `coherence migrate`') },
    })
  })
})
