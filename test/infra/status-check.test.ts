import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDevice, createLocalUser } from '../../db/devices.ts'
import { insertSamples } from '../../db/samples.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { type Cli, createCli } from './run-cli.ts'

let database: TestDatabase
let db: Client
let cli: Cli

beforeAll(async () => {
  database = await createDatabase()
  db = new Client({ connectionString: database.adminUrl })
  await db.connect()
  cli = createCli({ DATABASE_URL: database.url, LOCAL_STORAGE_DIR: 'store' })
  mkdirSync(join(cli.directory, 'store', 'entropy-chunks'), { recursive: true })
})

afterAll(async () => {
  await db.end()
  await database.drop()
  cli.remove()
})

const CHUNK = 'aaaaaaaa-0000-4000-8000-000000000001'

const page = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
const alerts = /```sql\n(.*?)```/s.exec(page)![1]

/** What `status --check` says; the SQL of docs/operations.md says the same, as long as its limits are the default ones. */
async function check(...flags: string[]): Promise<{ code: number | null; problems: string[] }> {
  const outcome = await cli.run(['status', '--check', '--json', ...flags])
  const problems = outcome.json().problems.map((problem: { code: string }) => problem.code)
  const { rows } = await db.query(alerts)
  const told = rows.map((row) => row.alert).join()
  if (flags.length === 0 && told !== problems.join()) throw new Error(`the page's SQL says ${told}`)
  return { code: outcome.code, problems }
}

test('a system that never ticked needs a person', async () => {
  expect(await check()).toEqual({ code: 1, problems: ['tick_missing'] })
  const { code, stdout } = await cli.run(['status'])
  expect(code).toBe(0)
  expect(stdout).toMatch(
    /\nWhat needs a person:\n {2}no tick has ever run: schedule `coherence tick` every few minutes\.\n/,
  )
})

test('one that ticks needs none, until the last tick is too long ago', async () => {
  await cli.run(['tick'])
  expect(await check()).toEqual({ code: 0, problems: [] })
  await db.query(`update pgboss.queue set monitor_claim_on = now() - interval '16 minutes'`)
  expect(await check()).toEqual({ code: 1, problems: ['tick_missing'] })
  expect(await check('--max-tick-age', '1000')).toEqual({ code: 0, problems: [] })
  await db.query('update pgboss.queue set monitor_claim_on = now()')
})

test('a sample that waits too long is a lag, by CHUNK_MAX_AGE or by --max-lag', async () => {
  const userId = await createLocalUser(db, 'someone@example.org')
  const pi = { name: 'pi', description: '', clientType: 'linux', sampleRateHz: 1, sampleSizeBytes: 64 }
  const device = await createDevice(db, { userId, ...pi })
  await insertSamples(db, [{ ...device, timestamp: new Date(), sequence: 1n, data: Buffer.alloc(64) }])
  expect(await check()).toEqual({ code: 0, problems: [] })
  await db.query(`update public.entropy_samples set created_at = now() - interval '2000 s'`)
  expect(await check()).toEqual({ code: 0, problems: [] })
  expect(await check('--max-lag', '1900')).toEqual({ code: 1, problems: ['lag'] })
  await db.query(`update public.entropy_samples set created_at = now() - interval '2200 s'`)
  expect(await check()).toEqual({ code: 1, problems: ['lag'] })
  await db.query('delete from public.entropy_samples')
})

test('a chunk that is not proved for long is a lag, a failed one a failure', async () => {
  const set = (change: string) => db.query(`update public.storj_chunks set ${change}`)
  await db.query(
    `insert into public.storj_chunks (id, bucket, object_key, size_bytes, byte_count, sample_count, min_timestamp,
       max_timestamp, device_ids, status, created_at)
     values ($1, 'b', 'k', 1, 1, 1, now(), now(), '{}', 'uploaded', now() - interval '1 day')`,
    [CHUNK],
  )
  // Stored before this pipeline was installed.
  expect(await check()).toEqual({ code: 0, problems: [] })
  await set(`sha256 = repeat('0', 64)`)
  expect(await check()).toEqual({ code: 1, problems: ['lag'] })
  await set('verified_at = now()')
  expect(await check()).toEqual({ code: 0, problems: [] })
  await set(`verified_at = null, status = 'pending'`)
  expect(await check()).toEqual({ code: 1, problems: ['lag'] })
  await set(`status = 'failed'`)
  expect(await check()).toEqual({ code: 1, problems: ['failed_chunks'] })
  await db.query('delete from public.storj_chunks')
})

test('a dead letter needs a person, and is told of in words', async () => {
  await db.query(`insert into pgboss.job (name) values ('dead-letter'), ('dead-letter')`)
  expect(await check()).toEqual({ code: 1, problems: ['dead_letters'] })
  const { code, stdout } = await cli.run(['status', '--check'])
  expect(code).toBe(1)
  expect(stdout.replaceAll(/\s+/g, ' ')).toMatch(/ 2 dead letters: .*`coherence backfill redrive`\. $/)
})

test.each(['--max-lag', '--max-tick-age'])('%s takes seconds', async (flag) => {
  const outcome = await cli.run(['status', '--check', '--json', flag, 'soon'])
  expect(outcome.code).toBe(2)
  expect(outcome.json().error).toMatchObject({ code: 'USAGE', message: expect.stringContaining('"soon"') })
})
