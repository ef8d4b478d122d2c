import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDatabase, runAsUser, type TestDatabase } from '../harness/database.ts'
import { addPerson, insertRow, type Person } from '../harness/people.ts'

let database: TestDatabase
let client: Client
let alice: Person
let bob: Person
beforeEach(async () => {
  database = await createDatabase()
  client = new Client({ connectionString: database.url })
  await client.connect()
  alice = await addPerson(client)
  bob = await addPerson(client)
})
afterEach(async () => {
  await client.end()
  await database.drop()
})

const as = ({ user }: Person, sql: string, values: unknown[] = [], by: Client = client) =>
  runAsUser(by, user, () => by.query(sql, values))

const codeOf = (error: { code?: string }) => error.code

/** What the value meets that is written into the rows that are there, by their user and by the owner of the table. */
async function write(table: string, column: string, value: unknown): Promise<unknown[]> {
  const sql = `update ${table} set ${column} = $1`
  const byUser = await as(alice, sql, [value]).then(() => 'written', codeOf)
  return [byUser, await client.query(sql, [value]).then(() => 'written', codeOf)]
}
const REFUSED = ['23514', '23514']
const WRITTEN = ['written', 'written']

describe('a sampling profile', () => {
  it.each([
    ['sample_rate_hz', ['NaN', '-1', '0'], ['0.000001', '9999.999999']],
    ['sample_size_bytes', [0, -1, 1_048_577, 2_147_483_647], [1, 1_048_576]],
    ['label', ['x'.repeat(201), 'x'.repeat(10_000_000)], ['x'.repeat(200), '']],
    ['metadata', [{ a: 'x'.repeat(16_384) }, { a: 'x'.repeat(10_000_000) }], [{ a: 'x'.repeat(16_000) }, {}]],
    ['created_at', ['infinity', '-infinity'], ['2026-01-01Z']],
  ])('has a %s within bounds', async (column, bad, good) => {
    for (const value of bad) expect(await write('sampling_profiles', column, value)).toEqual(REFUSED)
    for (const value of good) expect(await write('sampling_profiles', column, value)).toEqual(WRITTEN)
  })
})

describe('a device', () => {
  it.each([
    ['name', 200],
    ['description', 2000],
  ])('has a %s of at most %i characters', async (column, most) => {
    for (const length of [most + 1, 10_000_000]) {
      expect(await write('devices', column, 'x'.repeat(length))).toEqual(REFUSED)
    }
    const row = { user_id: alice.user, name: 'n', device_token: 'x'.repeat(16), [column]: 'x'.repeat(most + 1) }
    await expect(insertRow(client, 'devices', row)).rejects.toMatchObject({ code: '23514' })
    expect(await write('devices', column, 'ü'.repeat(most))).toEqual(WRITTEN)
  })

  it('whose text was longer before goes on sending, and being written back', async () => {
    await client.query('alter table devices disable trigger user')
    await client.query(`update devices set name = repeat('x', 300) where id = $1`, [alice.device])
    await client.query('alter table devices enable trigger user')
    const sample = [alice.device, alice.profile, 2, Buffer.alloc(1)]
    await runAsUser(
      client,
      null,
      () => client.query('select insert_entropy_sample($1, $2, $3, $4)', sample),
      'service_role',
    )
    await as(alice, `update devices set name = name, description = 'new'`)
    await as(alice, 'select rotate_device_token($1)', [alice.device])
    const { rows } = await client.query(
      'select length(name), description, last_seen_at is not null as seen from devices where id = $1',
      [alice.device],
    )
    expect(rows).toEqual([{ length: 300, description: 'new', seen: true }])
  })

  it('keeps the times that the pipeline gives it, whatever its user writes', async () => {
    const times = async () =>
      (await client.query('select id, created_at, last_seen_at from devices order by id')).rows.map((row) =>
        JSON.stringify(row),
      )
    await client.query('update devices set last_seen_at = now()')
    const before = await times()
    for (const time of ['infinity', '-infinity', '2000-01-01Z', '9999-01-01Z']) {
      await as(alice, 'update devices set last_seen_at = $1, created_at = $1', [time])
    }
    await as(alice, 'update devices set last_seen_at = null')
    expect(await times()).toEqual(before)
    const { rows } = await as(
      alice,
      `insert into devices (user_id, name, device_token, created_at, last_seen_at)
       values ($1, 'n', gen_random_uuid(), 'infinity', 'infinity') returning created_at = now() as now, last_seen_at`,
      [alice.user],
    )
    expect(rows).toEqual([{ now: true, last_seen_at: null }])
  })
})

it('a user has an e-mail address of at most 320 characters', async () => {
  expect(await write('profiles', 'email', 'x'.repeat(321))).toEqual(REFUSED)
  expect(await write('profiles', 'email', 'x'.repeat(320))).toEqual(WRITTEN)
})

it('every bound holds for what is written from now on, and asks nothing of rows that are there', async () => {
  const { rows } = await client.query(
    `select conrelid::regclass || '.' || conname as name, convalidated from pg_constraint
     where contype = 'c' and conrelid in ('public.sampling_profiles'::regclass, 'public.profiles'::regclass) order by 1`,
  )
  expect(rows.map(({ name }) => name)).toEqual([
    'profiles.email_of_at_most_320_characters',
    'sampling_profiles.label_of_at_most_200_characters',
    'sampling_profiles.metadata_of_at_most_16_kib',
    'sampling_profiles.sample_rate_above_0',
    'sampling_profiles.sample_size_of_1_byte_to_1_mib',
    'sampling_profiles.times_are_finite',
  ])
  expect(rows.filter(({ convalidated }) => convalidated)).toEqual([])
})

describe('the devices of one user', () => {
  const ADD = `insert into devices (user_id, name, device_token) select $1, 'n', gen_random_uuid() from generate_series(1, $2)`
  const TOO_MANY = {
    code: 'PT429',
    message: 'a user has at most 10 devices',
    hint: 'Delete some, or ask the maintainer for more.',
  }
  const countOf = async ({ user }: Person) =>
    (await client.query('select count(*)::int from devices where user_id = $1', [user])).rows[0].count

  it('are a thousand, unless the maintainer says otherwise', async () => {
    await expect(as(alice, ADD, [alice.user, 3000])).rejects.toMatchObject({
      code: 'PT429',
      message: 'a user has at most 1000 devices',
    })
    expect(await countOf(alice)).toBe(1)
  })

  it('are limited for users alone, not for admins, nor for the service', async () => {
    await client.query('update app_private.user_limits set devices = 10')
    await expect(as(alice, ADD, [alice.user, 10])).rejects.toMatchObject(TOO_MANY)
    await as(alice, ADD, [alice.user, 9])
    await expect(as(alice, ADD, [alice.user, 1])).rejects.toMatchObject(TOO_MANY)
    // One that is there is no new one; and one that is deleted makes room.
    await as(
      alice,
      `insert into devices (id, user_id, name, device_token) values ($1, $2, 'renamed', $3)
       on conflict (id) do update set name = excluded.name`,
      [alice.device, alice.user, alice.token],
    )
    await as(alice, 'delete from devices where id = $1', [alice.device])
    await as(alice, ADD, [alice.user, 1])
    await as(bob, ADD, [bob.user, 9])
    await runAsUser(client, null, () => client.query(ADD, [alice.user, 5]), 'service_role')
    await client.query(`update profiles set role = 'admin' where id = $1`, [bob.user])
    await as(bob, ADD, [bob.user, 20])
    expect([await countOf(alice), await countOf(bob)]).toEqual([15, 30])
  })

  it('are no more when several connections add them at once', async () => {
    await client.query('update app_private.user_limits set devices = 10')
    const clients = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const another = new Client({ connectionString: database.url })
        await another.connect()
        return another
      }),
    )
    const outcomes = await Promise.all(
      clients.map((another) =>
        as(alice, ADD, [alice.user, 3], another).then(
          () => 'added',
          (error: { code: string }) => error.code,
        ),
      ),
    )
    await Promise.all(clients.map((another) => another.end()))
    expect(outcomes.toSorted()).toEqual(['PT429', 'PT429', 'PT429', 'added', 'added', 'added'])
    expect(await countOf(alice)).toBe(10)
  })
})

describe('whose samples are in a chunk', () => {
  it('is not said to the others who have a device in it', async () => {
    const chunk = randomUUID()
    await client.query(
      `insert into storj_chunks select ($1::uuid), bucket, object_key, size_bytes, byte_count, sample_count, min_timestamp,
         max_timestamp, $2 from storj_chunks where id = $3`,
      [chunk, [alice.device, bob.device], alice.chunk],
    )
    await client.query('insert into app_private.chunk_claims values ($1, $2)', [
      chunk,
      { [`${alice.device}/${alice.profile}`]: 3, [`${bob.device}/${bob.profile}`]: 4 },
    ])
    const { rows } = await as(alice, 'select * from storj_chunks where id = $1', [chunk])
    expect(rows).toMatchObject([{ id: chunk, device_ids: [alice.device, bob.device] }])
    expect(JSON.stringify(rows)).not.toContain(bob.profile)
    await expect(as(alice, 'select * from app_private.chunk_claims')).rejects.toThrow('permission denied')
    await client.query('delete from storj_chunks where id = $1', [chunk])
    expect((await client.query('select from app_private.chunk_claims')).rowCount).toBe(0)
  })
})
