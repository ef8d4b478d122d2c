import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Pool } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDevice, createLocalUser } from '../../db/devices.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { type Cli, createCli } from './run-cli.ts'

const SAMPLE_BYTES = 100

let database: TestDatabase
let db: Pool
let cli: Cli
let userId: string

beforeAll(async () => {
  database = await createDatabase()
  db = new Pool({ connectionString: database.adminUrl, max: 4 })
  cli = createCli({ DATABASE_URL: database.url })
  userId = await createLocalUser(db, 'someone@example.org')
})

afterAll(async () => {
  await db.end()
  await database.drop()
  cli.remove()
})

async function addDevice(): Promise<string> {
  const kind = { name: 'pi', description: '', clientType: 'linux', sampleRateHz: 1, sampleSizeBytes: SAMPLE_BYTES }
  return (await createDevice(db, { userId, ...kind })).deviceId
}

/** What is stored of the device, in the order of its sequence. */
async function readStored(device: string) {
  const { rows } = await db.query<{ sequence: string; timestamp: string; length: number; data: Buffer }>(
    `select sequence, "timestamp"::text, byte_length as length, sample_data as data
     from public.entropy_samples where device_id = $1 order by sequence`,
    [device],
  )
  return {
    bytes: Buffer.concat(rows.map((row) => row.data)),
    sequences: rows.map((row) => Number(row.sequence)),
    lengths: rows.map((row) => row.length),
    times: rows.map((row) => row.timestamp),
  }
}

const range = (end: number) => Array.from({ length: end }, (_, i) => i)

test.concurrent('a pipe becomes samples, byte for byte, the last one shorter, and again the sequence goes on', async () => {
  const device = await addDevice()
  const first = randomBytes(25 * SAMPLE_BYTES + 7)
  const outcome = await cli.run(['ingest', '--device', device, '--json'], { input: first })
  expect(outcome).toMatchObject({ code: 0, stderr: '' })
  expect(outcome.json()).toEqual({ device, samples: 26, bytes: first.length })
  const stored = await readStored(device)
  expect(stored.bytes.equals(first)).toBe(true)
  expect(stored.sequences).toEqual(range(26))
  expect(stored.lengths).toEqual([...Array.from({ length: 25 }, () => SAMPLE_BYTES), 7])

  const second = randomBytes(SAMPLE_BYTES)
  const again = await cli.run(['ingest', '--device', device], { input: second })
  expect(again).toMatchObject({ code: 0, stdout: '1 samples, 100 B ingested.\n', stderr: '' })
  const both = await readStored(device)
  expect(both.bytes.equals(Buffer.concat([first, second]))).toBe(true)
  expect(both.sequences).toEqual(range(27))
})

test.concurrent('a file of thousands of samples keeps its bytes, and its times rise strictly', async () => {
  const device = await addDevice()
  const bytes = randomBytes(5000 * SAMPLE_BYTES)
  writeFileSync(join(cli.directory, 'bytes'), bytes)
  const outcome = await cli.run(['ingest', '--device', device.toUpperCase(), '--file', 'bytes', '--json'])
  expect(outcome.json()).toEqual({ device, samples: 5000, bytes: bytes.length })
  const stored = await readStored(device)
  expect(stored.bytes.equals(bytes)).toBe(true)
  expect(stored.sequences).toEqual(range(5000))
  const { rows } = await db.query(
    `select count(*)::int as falls from (
       select "timestamp" - lag("timestamp") over (order by sequence) as step
       from public.entropy_samples where device_id = $1) s where step <= interval '0'`,
    [device],
  )
  expect(rows[0].falls).toBe(0)
})

test.concurrent('an empty pipe stores nothing', async () => {
  const device = await addDevice()
  const outcome = await cli.run(['ingest', '--device', device, '--json'])
  expect(outcome.json()).toEqual({ device, samples: 0, bytes: 0 })
  expect((await readStored(device)).sequences).toEqual([])
})

test.concurrent('a sample of a pipe that falls silent is stored without waiting for more', async () => {
  const device = await addDevice()
  const { child, finished } = cli.start(['ingest', '--device', device, '--json'])
  child.stdin.write(randomBytes(SAMPLE_BYTES))
  while ((await readStored(device)).sequences.length === 0) expect(child.exitCode).toBeNull()
  child.stdin.end()
  expect((await finished).json().samples).toBe(1)
})

test.concurrent.each(['SIGINT', 'SIGTERM'] as const)(
  '%s stores all that was read and tells the shell',
  async (signal) => {
    const device = await addDevice()
    const bytes = randomBytes(3 * SAMPLE_BYTES + 31)
    const { child, finished } = cli.start(['ingest', '--device', device, '--json'])
    child.stdin.write(bytes)
    // Whole samples are stored when the pipe falls silent; the rest is only in the command's hands.
    while ((await readStored(device)).sequences.length < 3) expect(child.exitCode).toBeNull()
    child.kill(signal)
    const outcome = await finished
    expect(outcome.code).toBe(signal === 'SIGINT' ? 130 : 143)
    expect(outcome.json()).toEqual({ device, samples: 4, bytes: bytes.length })
    expect((await readStored(device)).bytes.equals(bytes)).toBe(true)
  },
)

test.concurrent('an unknown device, and one that is not active, are DEVICE_UNKNOWN', async () => {
  const device = await addDevice()
  const unknown = await cli.run(['ingest', '--device', userId, '--json'], { input: 'bytes' })
  expect(unknown.code).toBe(1)
  expect(unknown.json()).toEqual({ error: { code: 'DEVICE_UNKNOWN', message: expect.stringContaining(userId) } })
  await db.query(`update public.devices set status = 'inactive' where id = $1`, [device])
  const inactive = await cli.run(['ingest', '--device', device, '--json'], { input: 'bytes' })
  expect(inactive.json().error.code).toBe('DEVICE_UNKNOWN')
})

test.concurrent('a file that is missing, or a folder, is INPUT_INVALID and exit code 2', async () => {
  const device = await addDevice()
  mkdirSync(join(cli.directory, 'folder'))
  for (const file of ['missing', 'folder']) {
    const outcome = await cli.run(['ingest', '--device', device, '--file', file, '--json'])
    expect(outcome.code).toBe(2)
    expect(outcome.json().error).toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringMatching(`cannot read ${file}: (ENOENT|EISDIR)`),
    })
  }
})

test.concurrent('bytes that the database refuses are told, and nothing of their batch is stored', async () => {
  const device = await addDevice()
  await db.query(`alter table public.entropy_samples add constraint test_refuses check (byte_length <> 13) not valid`)
  try {
    const outcome = await cli.run(['ingest', '--device', device, '--json'], { input: randomBytes(SAMPLE_BYTES + 13) })
    expect(outcome.code).toBe(1)
    expect(outcome.json().error).toMatchObject({
      code: 'SAMPLES_REJECTED',
      message: expect.stringContaining('test_refuses'),
    })
    expect((await readStored(device)).sequences).toEqual([])
  } finally {
    await db.query('alter table public.entropy_samples drop constraint test_refuses')
  }
})

test.concurrent('a database that goes away is told, with what is stored already', async () => {
  const device = await addDevice()
  const { child, finished } = cli.start(['ingest', '--device', device, '--json'])
  child.stdin.write(randomBytes(SAMPLE_BYTES))
  while ((await readStored(device)).sequences.length === 0) expect(child.exitCode).toBeNull()
  await db.query(`create or replace function app_private.test_refuse() returns trigger language plpgsql as
    $$ begin raise exception 'ending' using errcode = '57P01'; end $$`)
  await db.query(
    `create trigger test_ends before insert on public.entropy_samples for each row
     when (new.device_id = '${device}') execute function app_private.test_refuse()`,
  )
  child.stdin.end(randomBytes(SAMPLE_BYTES))
  const outcome = await finished
  expect(outcome.code).toBe(1)
  expect(outcome.json().error).toMatchObject({
    code: 'DATABASE_UNREACHABLE',
    message: expect.stringMatching(/connection to Postgres was lost .*What came before is stored: 1 samples, 100 B/),
  })
})
