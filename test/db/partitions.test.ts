import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ensurePartitionOf, ensurePartitions, PARTITION_DAYS_AHEAD } from '../../db/partitions.ts'
import { insertSamples } from '../../db/samples.ts'
import { createDatabase, runAsUser, type TestDatabase } from '../harness/database.ts'

const USER = randomUUID()
const DEVICE = randomUUID()
const PROFILE = randomUUID()

let database: TestDatabase
let client: Client
let others: Client[]
beforeEach(async () => {
  database = await createDatabase()
  others = []
  client = await connect()
  await client.query('insert into auth.users (id, email) values ($1, $2)', [USER, 'a@example.org'])
  await client.query(`insert into devices (id, user_id, name, device_token) values ($1, $2, 'd', gen_random_uuid())`, [
    DEVICE,
    USER,
  ])
  await client.query(
    `insert into sampling_profiles (id, device_id, label, sample_rate_hz, sample_size_bytes) values ($1, $2, 'p', 1, 1)`,
    [PROFILE, DEVICE],
  )
})
afterEach(async () => {
  await Promise.all(others.map((other) => other.end()))
  await database.drop()
})

async function connect(): Promise<Client> {
  const opened = new Client({ connectionString: database.url })
  await opened.connect()
  others.push(opened)
  return opened
}

async function ensure(from: string, to: string, db = client): Promise<number> {
  return (await db.query('select app_private.ensure_partitions($1, $2) as created', [from, to])).rows[0].created
}

async function column<T>(sql: string, values: unknown[] = []): Promise<T[]> {
  return (await client.query({ text: sql, values, rowMode: 'array' })).rows.map(([value]) => value)
}

const listPartitions = () =>
  column<string>(
    `select inhrelid::regclass::text from pg_inherits where inhparent = 'entropy_samples'::regclass order by 1`,
  )

/** Inserts a sample of that time; the name of the partition that it went to. */
async function insert(timestamp: string, db = client): Promise<string> {
  const { rows } = await db.query(
    `insert into entropy_samples (device_id, profile_id, "timestamp", sequence, byte_length, sample_data)
     values ($1, $2, $3, 0, 1, '\\x00') returning tableoid::regclass::text as partition`,
    [DEVICE, PROFILE, timestamp],
  )
  return rows[0].partition
}

const DEFAULT = 'entropy_partitions.entropy_samples_default'

it('makes the days ahead once: today, and as many as are promised', async () => {
  const dropped = await listPartitions()
  for (const name of dropped) if (name !== DEFAULT) await client.query(`drop table ${name}`)
  expect(await ensurePartitions(client)).toBe(PARTITION_DAYS_AHEAD + 1)
  const days = await column<string>(
    `select 'entropy_partitions.entropy_samples_' || to_char((now() at time zone 'utc')::date + n, 'YYYYMMDD')
     from generate_series(0, $1::int) n`,
    [PARTITION_DAYS_AHEAD],
  )
  expect(await listPartitions()).toEqual([...days, DEFAULT])
  expect(await ensurePartitions(client)).toBe(0)
})

it('makes the partition of any day, past or future, with what the table has', async () => {
  await ensurePartitionOf(client, new Date('1999-12-31T23:59:59.999Z'))
  expect(await ensure('2040-02-28', '2040-03-01')).toBe(3)
  expect(await insert('1999-12-31 23:59:59.999999+00')).toBe('entropy_partitions.entropy_samples_19991231')
  expect(await insert('2040-02-29 12:00:00+00')).toBe('entropy_partitions.entropy_samples_20400229')
  const shape = async (table: string) =>
    (
      await column<string>(
        `select pg_get_constraintdef(oid) from pg_constraint where conrelid = $1::regclass
       union all select regexp_replace(pg_get_indexdef(indexrelid), '^.* USING', '') from pg_index where indrelid = $1::regclass
       union all select concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid))
         from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
         where attrelid = $1::regclass and attnum > 0`,
        [table],
      )
    ).toSorted()
  expect(await shape('entropy_partitions.entropy_samples_20400229')).toEqual(await shape('entropy_samples'))
})

it('makes each day once, however many ask at once', async () => {
  const clients = await Promise.all(Array.from({ length: 6 }, connect))
  const created = await Promise.all(clients.map((db) => ensure('2040-01-01', '2040-01-05', db)))
  expect(created.toSorted((a, b) => a - b)).toEqual([0, 0, 0, 0, 0, 5])
  expect((await listPartitions()).filter((name) => name.includes('2040'))).toHaveLength(5)
})

it('leaves a day with strays alone, and makes it once they are gone', async () => {
  expect(await insert('2040-01-02 23:59:59.999999+00')).toBe(DEFAULT)
  expect(await ensure('2040-01-01', '2040-01-03')).toBe(2)
  expect(await insert('2040-01-02 00:00:00+00')).toBe(DEFAULT)
  expect(await column('select count(*)::int from entropy_samples')).toEqual([2])
  await client.query('delete from entropy_samples')
  expect(await ensure('2040-01-01', '2040-01-03')).toBe(1)
})

it('leaves a day alone that a wider partition covers, without locking anything', async () => {
  await client.query(
    `create table entropy_partitions.archive partition of entropy_samples for values from (minvalue) to ('2020-01-02 00:00:00+00')`,
  )
  const reader = await connect()
  await reader.query('begin')
  await reader.query('select from entropy_samples')
  expect(await ensure('2019-12-31', '2020-01-01')).toBe(0)
  await reader.query('commit')
  expect(await ensure('2020-01-01', '2020-01-02')).toBe(1)
})

it('lets inserts go on while it has not committed', async () => {
  await ensure('2040-01-01', '2040-01-01')
  const maker = await connect()
  await maker.query('begin')
  expect(await ensure('2040-01-02', '2040-01-03', maker)).toBe(2)
  await client.query(`set lock_timeout = '2s'`)
  expect(await insert('2040-01-01 12:00:00+00')).toBe('entropy_partitions.entropy_samples_20400101')
  await maker.query('commit')
  expect(await insert('2040-01-02 12:00:00+00')).toBe('entropy_partitions.entropy_samples_20400102')
})

it('waits for no inserter that has not committed', async () => {
  const inserter = await connect()
  await ensure('2040-01-01', '2040-01-01')
  await inserter.query('begin')
  await insert('2040-01-01 12:00:00+00', inserter)
  expect(await ensure('2040-01-02', '2040-01-03')).toBe(2)
  await inserter.query('commit')
  expect(await column('select count(*)::int from entropy_samples')).toEqual([1])
})

it('gives a day up that a long transaction holds, and makes it at the next call', async () => {
  const holder = await connect()
  await holder.query('begin')
  await insertSamples(holder, [
    { deviceId: DEVICE, profileId: PROFILE, timestamp: '2040-06-01T00:00:00Z', sequence: 1n, data: Buffer.of(1) },
  ])
  expect(await ensure('2040-01-01', '2040-01-03')).toBe(0)
  await holder.query('commit')
  expect(await ensure('2040-01-01', '2040-01-03')).toBe(3)
})

it.each(['UTC', 'Pacific/Kiritimati', 'America/Los_Angeles', 'Africa/Cairo'])(
  'cuts the days at midnight UTC for a session in %s',
  async (zone) => {
    await client.query(`select set_config('timezone', $1, false), set_config('datestyle', 'SQL, DMY', false)`, [zone])
    // In Cairo the midnight of 24 April 2026 does not exist.
    expect(await ensure('2026-04-22', '2026-04-24')).toBe(3)
    const times = [
      '2026-04-22 23:59:59.999999+00',
      '2026-04-23 00:00:00+00',
      '2026-04-23 23:59:59.999999+00',
      '2026-04-24 00:00:00+00',
    ]
    const days: string[] = []
    for (const time of times) days.push((await insert(time)).slice(-8))
    expect(days).toEqual(['20260422', '20260423', '20260423', '20260424'])
    expect(await ensure('2026-04-22', '2026-04-24')).toBe(0)
  },
)

it('keeps row security on in every partition, and all of them out of reach', async () => {
  await ensure('2040-01-01', '2040-01-01')
  await insert('2040-01-01 12:00:00+00')
  const partitions = await listPartitions()
  expect(partitions).toContain('entropy_partitions.entropy_samples_20400101')
  expect(
    await column(`select relname from pg_class where relnamespace = 'entropy_partitions'::regnamespace
      and relkind in ('r', 'p') and not relrowsecurity`),
  ).toEqual([])
  for (const role of ['anon', 'authenticated', 'service_role']) {
    for (const table of partitions) {
      await expect(runAsUser(client, USER, () => client.query(`select from ${table}`), role)).rejects.toThrow(
        'permission denied for schema entropy_partitions',
      )
      expect(
        await column(`select has_table_privilege($1, $2, 'select,insert,update,delete,truncate')`, [role, table]),
      ).toEqual([false])
    }
  }
})

it('waits for a device that is sending, and does not close a circle with it', async () => {
  const sender = await connect()
  await sender.query('begin')
  await sender.query('update devices set last_seen_at = now() where id = $1', [DEVICE])
  const outcome: { created?: number } = {}
  const making = ensure('2051-05-05', '2051-05-05', await connect()).then((created) => (outcome.created = created))
  const waits = async () =>
    (await column<number>(`select count(*)::int from pg_locks where relation = 'devices'::regclass and not granted`))[0]
  while (outcome.created === undefined && (await waits()) === 0);
  // A stray: it goes to the default partition, which ATTACH locks.
  expect(await insert('2060-01-01 00:00:00+00', sender)).toBe(DEFAULT)
  await sender.query('commit')
  // On a busy machine it may have given up before: then the next call makes it.
  expect((await making) + (await ensure('2051-05-05', '2051-05-05'))).toBe(1)
})
