import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { listMigrations, migrate } from '../../db/migrate.ts'
import { installQueues } from '../../jobs/install.ts'
import { createDatabase, runAsUser, type TestDatabase } from '../harness/database.ts'
import { addPerson, type Person } from '../harness/people.ts'

let database: TestDatabase
let client: Client
afterEach(async () => {
  await client.end()
  await database.drop()
})

async function open(template: 'migrated' | 'bare'): Promise<void> {
  database = await createDatabase(template)
  client = new Client({ connectionString: database.url })
  await client.connect()
}

const INSERT = `insert into devices (id, user_id, name, device_token) values ($1, $2, 'mine', gen_random_uuid())`
const LEAVE_IT_OUT = { code: '42501', hint: 'Leave the id out: the database makes a new one.' }

const insertAs = (role: string, user: string, id: string) =>
  runAsUser(client, user, () => client.query(INSERT, [id, user]), role)

describe('the id of a device', () => {
  let alice: Person
  let bob: Person
  beforeEach(async () => {
    await open('migrated')
    alice = await addPerson(client)
    bob = await addPerson(client)
  })

  it('that is gone is nobody’s again: not another’s, not its owner’s, not by the service', async () => {
    await runAsUser(client, bob.user, () => client.query('delete from devices where id = $1', [bob.device]))
    const gone = { ...LEAVE_IT_OUT, message: "this id was another device's, which is gone" }
    // Whether or not anything else still names it.
    for (const left of ['device_timeslice_stats', 'coherence_stats', 'chunk_slices', 'device_trials', 'storj_chunks']) {
      for (const { user } of [alice, bob]) {
        await expect(insertAs('authenticated', user, bob.device)).rejects.toMatchObject(gone)
        await expect(insertAs('service_role', user, bob.device)).rejects.toMatchObject(gone)
      }
      await client.query(`delete from ${left} where to_jsonb(${left})::text ~ $1`, [bob.device])
    }
    await expect(client.query(INSERT, [bob.device, alice.user])).rejects.toMatchObject(gone)
    const take = () => client.query('update devices set id = $1', [bob.device])
    await expect(runAsUser(client, alice.user, take)).rejects.toThrow('foreign key')
    // Deleted with its user, it is gone as well.
    await client.query('delete from auth.users where id = $1', [alice.user])
    await expect(insertAs('authenticated', bob.user, alice.device)).rejects.toMatchObject(gone)
    expect((await client.query('select id from devices')).rows).toEqual([])
  })

  it('can be given back by the maintainer, who deletes its tombstone', async () => {
    await client.query('delete from devices where id = $1', [bob.device])
    await client.query('delete from app_private.former_devices where id = $1', [bob.device])
    expect((await insertAs('authenticated', bob.user, bob.device)).rowCount).toBe(1)
  })

  it('is not taken by one who waits for its deletion to end', async () => {
    const other = new Client({ connectionString: database.url })
    await other.connect()
    try {
      await other.query('begin')
      await other.query('delete from devices where id = $1', [bob.device])
      const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
      const taken = insertAs('authenticated', alice.user, bob.device).then(
        () => 'taken',
        (error: { code: string }) => error.code,
      )
      const waits = `select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'`
      await expect.poll(async () => (await other.query(waits, [rows[0].pid])).rowCount).toBe(1)
      await other.query('commit')
      expect(await taken).toBe('42501')
    } finally {
      await other.end()
    }
  })

  it('is no user’s: a token that names the device would name the user', async () => {
    const stranger = randomUUID()
    await client.query('insert into auth.users (id) values ($1)', [stranger])
    await client.query('delete from profiles where id = $1', [stranger])
    for (const user of [bob.user, alice.user, stranger]) {
      for (const role of ['authenticated', 'service_role']) {
        await expect(insertAs(role, alice.user, user)).rejects.toMatchObject({
          ...LEAVE_IT_OUT,
          message: "this id is a user's",
        })
      }
    }
  })

  it('may be written by its owner, in an insert of a new device or an upsert of the whole row', async () => {
    const id = randomUUID()
    await insertAs('authenticated', alice.user, id)
    const upsert = `insert into devices select * from jsonb_populate_record(null::devices, $1)
      on conflict (id) do update set (user_id, name, description, client_type, device_token, status, created_at, last_seen_at) =
        (excluded.user_id, excluded.name, excluded.description, excluded.client_type, excluded.device_token, excluded.status,
         excluded.created_at, excluded.last_seen_at)`
    for (const device of [id, alice.device]) {
      const read = 'select to_jsonb(d) as device from devices d where id = $1'
      const [{ device: row }] = (await client.query(read, [device])).rows
      await runAsUser(client, alice.user, () => client.query(upsert, [{ ...row, name: 'renamed' }]))
      expect((await client.query(read, [device])).rows).toEqual([{ device: { ...row, name: 'renamed' } }])
    }
  })
})

describe('the ids of devices that were gone before there were tombstones', () => {
  it('are found wherever one is still named', async () => {
    await open('bare')
    const older = listMigrations().filter(({ version }) => version < '20261129000013')
    await migrate({ databaseUrl: database.url, migrations: older })
    await installQueues({ databaseUrl: database.url })
    const alice = await addPerson(client)
    const others: Person[] = []
    for (let n = 0; n < 5; n++) others.push(await addPerson(client))
    const tables = ['device_timeslice_stats', 'coherence_stats', 'chunk_slices', 'device_trials', 'storj_chunks']
    for (const [index, { device }] of others.entries()) {
      await client.query('delete from devices where id = $1', [device])
      for (const table of tables.filter((_, other) => other !== index)) {
        // A chunk takes its slices along.
        const forget = table === 'storj_chunks' ? `update ${table} set device_ids = '{}'` : `delete from ${table}`
        await client.query(`${forget} where to_jsonb(${table})::text ~ $1`, [device])
      }
    }
    await client.query(`update storj_chunks set device_ids = device_ids || array['', 'not an id']`)
    await migrate({ databaseUrl: database.url })
    const { rows } = await client.query<{ id: string }>('select id from app_private.former_devices')
    // The partner of a pair is a device that never was.
    const named = [...others.map(({ device }) => device), alice.partner, others[1].partner]
    expect(rows.map(({ id }) => id).toSorted()).toEqual(named.toSorted())
    await expect(insertAs('authenticated', alice.user, others[4].device)).rejects.toMatchObject(LEAVE_IT_OUT)
    expect((await client.query('select id from devices')).rows).toEqual([{ id: alice.device }])
  })
})
