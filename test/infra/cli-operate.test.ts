import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDevice, createLocalUser } from '../../db/devices.ts'
import { insertSamples } from '../../db/samples.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { type Cli, createCli, ENTRY, type Finished, refusing } from './run-cli.ts'

const hasScript = String(spawnSync('script', ['--version']).stdout).includes('util-linux')

let database: TestDatabase
let db: Client
let cli: Cli
let bucket: string

/** Takes connections and never says a word, as a firewall that drops packets does. */
let silent: Server
let impatient: Cli
let silence: Promise<Finished>

beforeAll(async () => {
  database = await createDatabase()
  db = new Client({ connectionString: database.adminUrl })
  await db.connect()
  cli = createCli({ DATABASE_URL: database.url, LOCAL_STORAGE_DIR: 'store', CHUNK_MAX_AGE: '0.001' })
  bucket = join(cli.directory, 'store', 'entropy-chunks')
  mkdirSync(bucket, { recursive: true })
  silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  impatient = createCli({ DATABASE_URL: `postgres://u:hunter2@127.0.0.1:${port}/db?connect_timeout=2` })
  // It takes as long as the connection timeout: meanwhile the others run.
  silence = impatient.start(['status', '--json'], { input: '' }).finished
})

afterAll(async () => {
  silent.close()
  impatient.remove()
  await db.end()
  await database.drop()
  cli.remove()
})

const from = new Date(Date.now() - 60_000)

test('an empty queue is drained at once', async () => {
  const { code, stdout, stderr } = await cli.run(['work', '--drain'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^completed {2}none\nfailed {5}none\nended {6}nothing is ready, after \d\.\d s\n$/)
})

test('a drain that finds nothing ready does with one connection, without a store, and loads nothing that jobs need', async () => {
  const count = async () => {
    const { rows } = await db.query(
      'select sessions::int from pg_stat_database where datname = current_database() and pg_stat_clear_snapshot() is not null',
    )
    return rows[0].sessions as number
  }
  const env = refusing(/^(pg-boss|pino|apache-arrow)$|storage/)
  // Those of the tests before are counted once they are gone.
  const others = async () => {
    const { rowCount } = await db.query(
      'select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    )
    return rowCount
  }
  await expect.poll(others).toBe(0)
  const before = await count()
  const { code, stderr } = await cli.run(['work', '--drain'], { env })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  await expect.poll(count).toBe(before + 1)
  expect((await cli.run(['tick'], { env })).code).toBe(1)
})

test('tick sends what is due once, and says how much is ready', async () => {
  const { sent, ready, readyTotal, deadLetters } = (await cli.run(['tick', '--json'])).json()
  expect({ sent, ready, readyTotal, deadLetters }).toEqual({
    sent: ['maintain', 'sweep'],
    ready: { maintain: 1, sweep: 1 },
    readyTotal: 2,
    deadLetters: 0,
  })
  const { stdout } = await cli.run(['tick'])
  expect(stdout).toMatch(/^sent {3}.*\nready {2}maintain 1, sweep 1\n$/)
})

test('work without its store leaves the jobs alone', async () => {
  const env = { LOCAL_STORAGE_DIR: 'unmounted' }
  const outcome = await cli.run(['work', '--drain', '--json'], { env })
  expect(outcome.code).toBe(1)
  expect(outcome.json().error).toMatchObject({
    code: 'STORE_NOT_FOUND',
    message: expect.stringMatching(/unmounted.*create it/),
  })
  expect((await cli.run(['storage', 'sweep', '--json'], { env })).json().error.code).toBe('STORE_NOT_FOUND')
  const { rows } = await db.query(`select count(*)::int as ready from pgboss.job where state = 'created'`)
  expect(rows[0].ready).toBe(2)
})

test('work packs, proves and rolls up the samples that wait, and the chunk is there', async () => {
  const { deviceId, profileId } = await addDevice()
  const data = Buffer.alloc(64, 'x')
  await insertSamples(
    db,
    Array.from({ length: 50 }, (_, i) => {
      return { deviceId, profileId, timestamp: new Date(from.getTime() + i), sequence: BigInt(i), data }
    }),
  )
  expect((await cli.run(['status', '--json'])).json()).toMatchObject({ waitingSamples: 50, troubledChunks: [] })

  expect((await cli.run(['tick', '--json'])).json().sent).toEqual(['pack'])
  const drained = await cli.run(['work', '--drain', '--json'])
  expect(drained.code).toBe(0)
  expect(drained.json()).toMatchObject({
    failed: {},
    stopped: 'idle',
    completed: { 'upload-chunk': 1, 'test-chunk': 1 },
  })
  const { waitingSamples, chunks } = (await cli.run(['status', '--json'])).json()
  expect({ waitingSamples, chunks }).toEqual({
    waitingSamples: 0,
    chunks: { pending: 0, uploading: 0, unverified: 0, verified: 1, failed: 0 },
  })
  const { rows } = await db.query('select object_key from public.storj_chunks')
  expect(existsSync(join(bucket, rows[0].object_key))).toBe(true)
})

test('status tells of failures and what to do about them', async () => {
  const why = 'the disk did not do as told '.repeat(10)
  await db.query(`update public.storj_chunks set status = 'failed', last_error = $1`, [why])
  const { code, stdout, stderr } = await cli.run(['status'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/\n {2}chunks {6}1 failed\n/)
  expect(stdout).toMatch(/\nChunks that need a look\n {2}[\da-f-]{36} {2}failed\n {4}the disk/)
  expect(stdout.replaceAll(/\s+/g, ' ')).toContain('then run `coherence backfill chunks`.')
  for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
  // Nothing in a pipe but text.
  expect(stdout).not.toContain('\u001b')
})

test('status --watch says it again and again, until it is stopped', async () => {
  const { child, finished, seen } = cli.start(['status', '--watch', '0.2'])
  await seen(/waiting [^]*waiting [^]*waiting /)
  child.kill('SIGINT')
  expect((await finished).code).toBe(0)
})

test('backfill --dry-run says what it would send, and sends nothing', async () => {
  const range = ['--from', from.toISOString(), '--to', new Date().toISOString()]
  await db.query(`update public.storj_chunks set status = 'uploaded', last_error = null`)
  const outcome = await cli.run(['backfill', 'tests', ...range, '--again', '--dry-run', '--json'])
  expect(outcome.code).toBe(0)
  expect(outcome.json()).toMatchObject({ jobs: 1, sent: 0 })
  const { rows } = await db.query(
    `select count(*)::int as jobs from pgboss.job where state < 'active' and name = 'test-chunk'`,
  )
  expect(rows[0].jobs).toBe(0)
  expect((await cli.run(['backfill', 'tests', ...range, '--again', '--json'])).json()).toMatchObject({
    jobs: 1,
    sent: 1,
  })
})

test('work --queues does only these', async () => {
  const other = await cli.run(['work', '--drain', '--queues', 'prune', '--json'])
  expect(other.json().completed).toEqual({})
  const named = await cli.run(['work', '--drain', '--queues', 'test-chunk', '--json'])
  expect(named.json().completed).toEqual({ 'test-chunk': 1 })
})

test('work --watch ends by itself after --max-seconds', async () => {
  const outcome = await cli.run(['work', '--watch', '--max-seconds', '0.1', '--json'])
  expect(outcome.code).toBe(0)
  expect(outcome.json()).toMatchObject({ stopped: 'deadline' })
})

test('work --watch ends with exit code 0 on SIGTERM, as a container is stopped', async () => {
  const { child, finished } = cli.start(['work', '--watch', '--json'], { env: { LOG_LEVEL: 'debug' } })
  await untilConnected()
  child.kill('SIGTERM')
  const outcome = await finished
  expect(outcome.code).toBe(0)
  expect(outcome.json()).toMatchObject({ stopped: 'signal' })
})

test.skipIf(!hasScript)('on a terminal progress ends with the work, also in an error, and heeds NO_COLOR', () => {
  const colour = new RegExp(`${String.fromCharCode(27)}\\[[\\d;]*m`)
  const run = (env: Record<string, string>, columns = 100) => {
    const { status, stdout } = runOnTerminal('storage sweep', columns, env)
    return { status, coloured: colour.test(stdout), spins: stdout.includes('sweeping'), stdout: stdout.slice(-500) }
  }
  const done = expect.stringContaining('0 removed')
  expect(run({})).toEqual({ status: 0, coloured: true, spins: true, stdout: done })
  expect(run({ NO_COLOR: '1' })).toEqual({ status: 0, coloured: false, spins: true, stdout: done })
  const lost = expect.stringContaining('STORE_NOT_FOUND')
  expect(run({ LOCAL_STORAGE_DIR: 'unmounted' })).toEqual({ status: 1, coloured: true, spins: true, stdout: lost })
  // As the terminals of some containers are.
  expect(run({}, 0)).toEqual({ status: 0, coloured: false, spins: false, stdout: done })
})

test('storage sweep finds old strangers, removes none until told to', async () => {
  const outcome = await cli.run(['storage', 'sweep', '--json'])
  const [place, ...others] = outcome.json().places
  expect(place).toMatchObject({ place: { backend: 'local' }, orphans: [], deleted: 0, deletes: false })
  expect(place.objects).toBeGreaterThan(0)
  expect(others).toEqual([])
  expect(outcome.code).toBe(0)
})

test('a server that never answers is given up at the connection timeout', async () => {
  const outcome = await silence
  expect(outcome.code).toBe(1)
  expect(outcome.json().error.code).toBe('DATABASE_UNREACHABLE')
  expect(outcome.seconds).toBeGreaterThan(1.9)
  expect(outcome.stdout + outcome.stderr).not.toContain('hunter2')
})

/** script gives the command a terminal; what would be seen there is its stdout. */
function runOnTerminal(command: string, columns: number, env: Record<string, string>) {
  return spawnSync(
    'script',
    ['-qec', `stty cols ${columns}; "${process.execPath}" "${ENTRY}" ${command}`, '/dev/null'],
    {
      cwd: cli.directory,
      env: {
        PATH: process.env.PATH,
        TERM: 'xterm-256color',
        DATABASE_URL: database.url,
        LOCAL_STORAGE_DIR: 'store',
        ...env,
      },
      encoding: 'utf8',
      timeout: 15_000,
    },
  )
}

async function addDevice(): Promise<{ deviceId: string; profileId: string }> {
  const userId = await createLocalUser(db, 'someone@example.org')
  const device = { name: 'pi', description: '', clientType: 'linux', sampleRateHz: 1, sampleSizeBytes: 64 }
  return await createDevice(db, { userId, ...device })
}

/** Until a worker looks for jobs. */
async function untilConnected(): Promise<void> {
  for (;;) {
    const { rows } = await db.query(
      `select from pg_stat_activity where application_name = 'coherence' and datname = current_database() and query ~ 'pgboss'`,
    )
    if (rows.length > 0) return
  }
}
