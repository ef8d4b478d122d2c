import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { QUEUE_NAMES } from '../../jobs/queues.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { type Cli, createCli } from './run-cli.ts'

let database: TestDatabase
let db: Client
let cli: Cli
let bucket: string

async function open(template: 'bare' | 'migrated'): Promise<void> {
  database = await createDatabase(template)
  db = new Client({ connectionString: database.adminUrl })
  await db.connect()
  cli = createCli({ DATABASE_URL: database.url, LOCAL_STORAGE_DIR: 'store', CHUNK_MAX_AGE: '0.001' })
  bucket = join(cli.directory, 'store', 'entropy-chunks')
}

async function close(): Promise<void> {
  await db.end()
  await database.drop()
  cli.remove()
}

describe('migrate', () => {
  beforeAll(() => open('bare'))
  afterAll(close)

  test('--check lists what is to be done, does nothing and exits with 1; then migrate does it; then it is all done', async () => {
    const before = await cli.run(['migrate', '--check', '--json'])
    expect(before.code).toBe(1)
    expect(before.json().pending[0]).toMatch(/^\d{14}_seed_schema$/)
    expect(before.json().queues).toEqual(expect.arrayContaining(QUEUE_NAMES))
    const { rows } = await db.query(
      `select to_regclass('public.devices') as devices, to_regnamespace('pgboss') as boss`,
    )
    expect(rows[0]).toEqual({ devices: null, boss: null })
    expect(existsSync(bucket)).toBe(false)

    const done = await cli.run(['migrate'])
    expect(done).toMatchObject({ code: 0, stderr: '' })
    expect(done.stdout).toMatch(
      /migration \d{14} seed_schema\n[^]*\d+ migrations applied, \d+ queues created or changed\.\n$/,
    )
    // With the queue of dead letters.
    expect(done.stdout).toContain(` ${QUEUE_NAMES.length + 1} queues`)
    expect(existsSync(bucket)).toBe(true)

    const after = await cli.run(['migrate', '--check'])
    expect(after).toMatchObject({ code: 0, stdout: 'Up to date: nothing would run.\n', stderr: '' })
    const again = await cli.run(['migrate', '--json'])
    expect(again.json()).toEqual({ applied: [], queues: [], mended: [] })
    expect(again.code).toBe(0)
  })
})

describe('doctor', () => {
  beforeEach(async () => {
    await open('migrated')
    mkdirSync(bucket, { recursive: true })
  })
  afterEach(close)

  /** The only check that failed. */
  async function diagnose(): Promise<{ code: number | null; ok: boolean; name: string; detail: string }> {
    const outcome = await cli.run(['doctor', '--json'])
    const { ok, checks } = outcome.json()
    const failed = checks.filter((check: { ok: boolean }) => !check.ok)
    expect(failed).toHaveLength(1)
    return { code: outcome.code, ...failed[0], ok }
  }

  test('finds nothing wrong with what migrate made, in lines that fit', async () => {
    const { code, stdout, stderr } = await cli.run(['doctor'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.match(/^\S+/gm)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'])
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(100)
    expect(readdirSync(join(bucket, 'health'))).toEqual([])
  })

  test('names a missing queue', async () => {
    await db.query(`delete from pgboss.queue where name = 'pack'`)
    expect(await diagnose()).toMatchObject({
      code: 1,
      ok: false,
      name: 'queues',
      detail: expect.stringMatching(/^pack missing: run `coherence migrate`/),
    })
  })

  test('misses the partitions of the coming days', async () => {
    await db.query(
      `do $$ declare name text; begin
         for name in select relname from pg_class where relname ~ '^entropy_samples_\\d{8}$'
           and relname > 'entropy_samples_' || to_char(now() at time zone 'utc', 'YYYYMMDD')
         loop execute format('drop table entropy_partitions.%I', name); end loop; end $$`,
    )
    expect(await diagnose()).toMatchObject({
      code: 1,
      ok: false,
      name: 'partitions',
      detail: expect.stringMatching(/run `coherence tick`/),
    })
    expect((await cli.run(['tick', '--json'])).json().partitionsCreated).toBe(7)
    expect((await cli.run(['doctor'])).code).toBe(0)
  })

  test('tells a migration that is not applied', async () => {
    await db.query(
      'delete from supabase_migrations.schema_migrations where version = (select max(version) from supabase_migrations.schema_migrations)',
    )
    expect(await diagnose()).toMatchObject({
      code: 1,
      ok: false,
      name: 'schema',
      detail: expect.stringMatching(/^pending migrations: 1; run `coherence migrate`/),
    })
    // Workers of a newer build wait for the schema.
    const { error } = (await cli.run(['work', '--drain', '--json'])).json()
    expect(error).toMatchObject({
      code: 'DATABASE_NOT_MIGRATED',
      message: expect.stringContaining('older than this build'),
    })
    expect((await cli.run(['ingest', '--device', crypto.randomUUID(), '--json'])).json().error.code).toBe(
      'DATABASE_NOT_MIGRATED',
    )
  })

  test('misses the folder of the store', async () => {
    rmSync(bucket, { recursive: true })
    expect(await diagnose()).toMatchObject({
      code: 1,
      ok: false,
      name: 'object store',
      detail: expect.stringMatching(/store\/entropy-chunks does not exist.*`coherence migrate`/),
    })
  })

  test('finds a store that may not be written to', async ({ skip }) => {
    const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'ro,size=64k', 'tmpfs', bucket])
    if (status !== 0) skip('needs the right to mount a folder read-only (root): file modes do not bind root')
    try {
      expect(await diagnose()).toMatchObject({
        code: 1,
        name: 'object store',
        detail: expect.stringMatching(/let this process write there, or set another folder.*read-only/),
      })
    } finally {
      spawnSync('umount', [bucket])
    }
  })
})
