/** What a restore can lose beside the schema: doctor names it, migrate restores it. */
import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { type Cli, createCli } from './run-cli.ts'

let database: TestDatabase
let db: Client
let cli: Cli
beforeEach(async () => {
  database = await createDatabase()
  db = new Client({ connectionString: database.adminUrl })
  await db.connect()
  cli = createCli({ DATABASE_URL: database.url, LOCAL_STORAGE_DIR: 'store' })
  await cli.run(['migrate'])
})
afterEach(async () => {
  await db.end()
  cli.remove()
  await database.drop()
})

const links = async () =>
  (await cli.run(['doctor', '--json'])).json().checks.find(({ name }: { name: string }) => name === 'links')

const NAMES = {
  device: 'the role device with its rights',
  users: 'the key of profiles to auth.users',
  trigger: 'the trigger of auth.users that makes profiles',
  realtime: 'tables in the publication of Realtime',
}

test('all are there after migrate', async () => {
  expect(await links()).toMatchObject({ ok: true })
  expect((await cli.run(['migrate', '--check', '--json'])).json()).toMatchObject({ links: [] })
})

test.each([
  [
    NAMES.device,
    'revoke execute on function public.insert_entropy_sample(uuid, uuid, bigint, bytea, timestamptz) from device',
  ],
  [NAMES.users, 'alter table public.profiles drop constraint profiles_id_fkey'],
  [NAMES.trigger, 'drop trigger on_auth_user_created on auth.users'],
  [NAMES.realtime, 'alter publication supabase_realtime drop table public.analysis_jobs, public.sample_exports'],
])('%s: named and restored after "%s"', async (name, loss) => {
  await db.query(loss)
  expect(await links()).toMatchObject({ ok: false, detail: expect.stringMatching(`${name}.*coherence migrate`) })
  expect(await cli.run(['migrate', '--check'])).toMatchObject({ code: 1, stdout: `would restore ${name}\n` })
  expect((await cli.run(['migrate', '--json'])).json()).toEqual({ applied: [], queues: [], mended: [name] })
  expect(await links()).toMatchObject({ ok: true })
  expect((await cli.run(['migrate', '--json'])).json()).toEqual({ applied: [], queues: [], mended: [] })
})

test('profiles whose users were not restored keep their key from coming back, with what to do', async () => {
  await db.query('alter table public.profiles drop constraint profiles_id_fkey')
  await db.query('insert into public.profiles (id, email) values ($1, $2)', [randomUUID(), 'lost@example.org'])
  const outcome = await cli.run(['migrate'])
  expect({ code: outcome.code, stderr: outcome.stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^MIGRATION_BLOCKED: the key of profiles.*restore these first/),
  })
})

test('rights that the project gives by default to what it restores are found', async () => {
  await db.query('grant all on public.entropy_samples to anon')
  expect(await links()).toMatchObject({ ok: false, detail: expect.stringMatching(/rights.*anon/) })
  const outcome = await cli.run(['migrate'])
  expect(outcome.stderr).toMatch(/MIGRATION_BLOCKED.*infra\/backup\/restore\.sh/)
})
