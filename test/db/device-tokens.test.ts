import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDatabase, runAsUser, type TestDatabase } from '../harness/database.ts'
import { addPerson, type Person } from '../harness/people.ts'

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

const as = ({ user }: Person, sql: string, values: unknown[] = []) =>
  runAsUser(client, user, () => client.query(sql, values))
const authenticate = async (token: string) =>
  (await client.query('select device_id from authenticate_device($1)', [token])).rows.map((row) => row.device_id)
const readRow = async (person: Person) =>
  (await client.query('select to_jsonb(d) as row from devices d where id = $1', [person.device])).rows[0].row
const readTokens = async () =>
  (await client.query('select id, device_id, revoked_at from app_private.device_tokens order by id')).rows

/** What an app does that keeps rows and writes them back whole. */
const writeBack = (person: Person, row: object) =>
  as(
    person,
    `update devices set (user_id, name, description, client_type, device_token, status, created_at, last_seen_at) =
       (select user_id, name, description, client_type, device_token, status, created_at, last_seen_at
        from jsonb_populate_record(null::devices, $1)) where id = $2`,
    [row, person.device],
  )

describe('a token that was revoked', () => {
  it.each(['rotate', 'revoke'])('by %s does not come back with a row that was read before', async (name) => {
    const stale = await readRow(alice)
    await as(alice, `select ${name}_device_token($1)`, [alice.device])
    const tokens = await readTokens()
    await expect(writeBack(alice, { ...stale, name: 'new' })).rejects.toMatchObject({
      code: '23514',
      message: 'this device_token was revoked, and works no more',
      hint: expect.stringContaining('Read the row again'),
    })
    expect(await authenticate(alice.token)).toEqual([])
    expect(await readTokens()).toEqual(tokens)
  })

  it('does not come back in the form of its hash', async () => {
    await as(alice, 'select rotate_device_token($1)', [alice.device])
    const stale = await readRow(alice)
    await as(alice, 'select rotate_device_token($1)', [alice.device])
    await expect(writeBack(alice, stale)).rejects.toThrow('this device_token was revoked')
  })

  it('stays revoked for the service and the owner of the tables too', async () => {
    await client.query('select revoke_device_token($1)', [alice.device])
    const write = 'update devices set device_token = $1 where id = $2'
    await expect(client.query(write, [alice.token, alice.device])).rejects.toThrow('was revoked')
    const asService = runAsUser(client, null, () => client.query(write, [alice.token, alice.device]), 'service_role')
    await expect(asService).rejects.toThrow('was revoked')
    expect(await authenticate(alice.token)).toEqual([])
  })

  it.each(['rotate', 'revoke', 'nothing'])(
    'is no matter to a row written back as it is now, after %s',
    async (name) => {
      const call = name === 'nothing' ? 'select $1::uuid' : `select ${name}_device_token($1) as token`
      const { rows } = await as(alice, call, [alice.device])
      const tokens = await readTokens()
      const row = { ...(await readRow(alice)), name: 'new' }
      await writeBack(alice, row)
      await as(
        alice,
        `insert into devices select * from jsonb_populate_record(null::devices, $1)
       on conflict (id) do update set name = excluded.name, device_token = excluded.device_token`,
        [row],
      )
      expect(await readRow(alice)).toEqual(row)
      expect(await readTokens()).toEqual(tokens)
      const token = { rotate: rows[0].token as string, revoke: '', nothing: alice.token }[name] ?? ''
      expect(await authenticate(token)).toEqual(name === 'revoke' ? [] : [alice.device])
    },
  )
})

describe('a new token', () => {
  const NEUTRAL = { code: '23514', message: 'this cannot be a device_token', constraint: undefined, detail: undefined }
  const INSERT = `insert into devices (user_id, name, device_token) values ($1, 'mine', $2)`

  it.each([
    ['empty', ''],
    ['a blank', ' '],
    ['of 15 characters', 'x'.repeat(15)],
    ['of 1001 characters', 'x'.repeat(1001)],
    ['of 10 MB', 'x'.repeat(10_000_000)],
    ['the beginning of a hash', 'sha256:'],
    ['a made-up hash', `sha256:${'0'.repeat(64)}`],
  ])('that is %s is refused', async (_what, token) => {
    await expect(as(alice, INSERT, [alice.user, token])).rejects.toMatchObject(NEUTRAL)
    await expect(as(alice, 'update devices set device_token = $1', [token])).rejects.toMatchObject(NEUTRAL)
    await expect(client.query(INSERT, [alice.user, token])).rejects.toMatchObject(NEUTRAL)
    expect(await authenticate(token)).toEqual([])
    expect(await authenticate(alice.token)).toEqual([alice.device])
  })

  it('that is somebody else’s gets the same answer as a weak one, however it is tried', async () => {
    const rotated = (await as(bob, 'select rotate_device_token($1) as token', [bob.device])).rows[0].token as string
    const shown = (await readRow(bob)).device_token as string
    for (const guess of [bob.token, rotated, shown]) {
      await expect(as(alice, INSERT, [alice.user, guess])).rejects.toMatchObject(NEUTRAL)
      await expect(as(alice, 'update devices set device_token = $1', [guess])).rejects.toMatchObject(NEUTRAL)
      for (const conflict of [
        'on conflict do nothing',
        'on conflict (device_token) do update set name = excluded.name',
      ]) {
        await expect(as(alice, `${INSERT} ${conflict}`, [alice.user, guess])).rejects.toMatchObject(NEUTRAL)
      }
    }
    expect(await authenticate(rotated)).toEqual([bob.device])
  })

  it('that was accepted before there was a least length goes on', async () => {
    const admin = new Client({ connectionString: database.adminUrl })
    await admin.connect()
    await admin.query('set session_replication_role = replica')
    await admin.query(`update devices set device_token = 'short' where id = $1`, [alice.device])
    await admin.query(
      `insert into app_private.device_tokens (device_id, token_hash) values ($1, app_private.token_hash('short'))`,
      [alice.device],
    )
    await admin.end()
    expect(await authenticate('short')).toEqual([alice.device])
    const row = { ...(await readRow(alice)), name: 'new' }
    await writeBack(alice, row)
    expect(await readRow(alice)).toEqual(row)
    expect(await authenticate('short')).toEqual([alice.device])
    await expect(as(bob, INSERT, [bob.user, 'short'])).rejects.toMatchObject(NEUTRAL)
  })

  it('can be that by which an app recognises its own device', async () => {
    const upsert = `${INSERT} on conflict (device_token) do update set name = 'again' returning id`
    expect((await as(alice, upsert, [alice.user, alice.token])).rows).toEqual([{ id: alice.device }])
  })
})
