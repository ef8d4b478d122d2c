import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDevice, createLocalUser } from '../../db/devices.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { type Cli, createCli } from './run-cli.ts'

const ROWS = 100
const SAMPLE_BYTES = 4096

let database: TestDatabase
let db: Client
let cli: Cli
let disk: string
let mounted: boolean

beforeAll(async () => {
  database = await createDatabase()
  db = new Client({ connectionString: database.adminUrl })
  await db.connect()
  // Everything is old enough: what stays, stays because it is not safe elsewhere.
  const env = { LOCAL_STORAGE_DIR: 'disk', CHUNK_MAX_AGE: '0.001', RETENTION_DAYS: '0', LOG_LEVEL: 'silent' }
  cli = createCli({ DATABASE_URL: database.url, ...env })
  disk = join(cli.directory, 'disk')
  mkdirSync(disk)
  mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk]).status === 0
  mkdirSync(join(disk, 'entropy-chunks'))
})

afterAll(async () => {
  if (mounted) spawnSync('umount', [disk])
  await db.end()
  await database.drop()
  cli.remove()
})

/** Samples of two days ago, whose partition retention would drop. */
async function ingestOldSamples(): Promise<void> {
  const kind = { name: 'pi', description: '', clientType: 'linux', sampleRateHz: 1, sampleSizeBytes: SAMPLE_BYTES }
  const { deviceId, profileId } = await createDevice(db, {
    userId: await createLocalUser(db, 'a@example.org'),
    ...kind,
  })
  await db.query(`select app_private.ensure_partitions(d, d) from (select (now() at time zone 'utc')::date - 2 as d) t`)
  await db.query(
    `insert into public.entropy_samples (device_id, profile_id, "timestamp", sequence, byte_length, sample_data)
     select $1, $2, date_trunc('day', now()) - interval '1 day 12 hours' + n * interval '1 second', n, $4, data
     from unnest($3::bytea[]) with ordinality as given (data, n)`,
    [deviceId, profileId, Array.from({ length: ROWS }, () => randomBytes(SAMPLE_BYTES)), SAMPLE_BYTES],
  )
}

async function readState() {
  const { rows } = await db.query(
    `select (select count(*)::int from public.entropy_samples) as rows,
            (select count(*)::int from public.entropy_samples s join public.storj_chunks c on c.id = s.storj_chunk_id) as claimed,
            (select count(*)::int from public.maintenance_log where operation_type = 'prune' and rows_affected > 0) as prunes,
            status::text, verified_at is not null as verified, last_error as error
     from public.storj_chunks`,
  )
  expect(rows).toHaveLength(1)
  return rows[0]
}

/** Prune is sent by the tick, once an hour; here it is asked for. */
async function work(): Promise<{ completed: Record<string, number>; failed: Record<string, number> }> {
  await db.query(`insert into pgboss.job (name, data, policy) select 'prune', '{}', 'exclusive' on conflict do nothing`)
  const outcome = await cli.run(['work', '--drain', '--json'])
  expect(outcome.code).toBe(0)
  return outcome.json()
}

test('a full disk loses nothing and prunes nothing, and the upload goes on when there is room', async ({ skip }) => {
  if (!mounted) skip('needs the right to mount a small tmpfs (root)')
  await ingestOldSamples()
  writeFileSync(join(disk, 'ballast'), Buffer.alloc(900 * 1024))
  await cli.run(['tick'])

  const full = await work()
  expect(full).toMatchObject({ completed: { pack: 1, prune: 1 }, failed: { 'upload-chunk': 1 } })
  expect(await readState()).toEqual({
    rows: ROWS,
    claimed: ROWS,
    prunes: 0,
    status: 'uploading',
    verified: false,
    error: expect.stringMatching(/no room for \d+ bytes; free some or raise the quota of .*disk\/entropy-chunks/),
  })
  const status = (await cli.run(['status', '--json'])).json()
  expect(status.troubledChunks).toMatchObject([{ error: expect.stringContaining('no room') }])
  const { rows: jobs } = await db.query(
    `select output ->> 'code' as code, state::text from pgboss.job where name = 'upload-chunk'`,
  )
  expect(jobs).toEqual([{ code: 'STORE_FULL', state: 'retry' }])
  expect((await cli.run(['doctor', '--json'])).json().checks.at(-1)).toMatchObject({ name: 'object store' })

  rmSync(join(disk, 'ballast'))
  // The retry is due in some seconds; nobody waits for it here.
  await db.query(`update pgboss.job set start_after = now() where state = 'retry'`)
  const freed = await work()
  expect(freed).toMatchObject({ failed: {}, completed: { 'upload-chunk': 1, 'test-chunk': 1 } })
  expect(await readState()).toMatchObject({ status: 'uploaded', verified: true, error: null })
  // Only now may they go.
  await work()
  expect(await readState()).toMatchObject({ rows: 0, prunes: 1 })
})
