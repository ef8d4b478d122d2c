/** insert_entropy_sample without a timestamp, as the seed's devices call it. */
import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { asUser, createDatabase, runAsUser, type TestDatabase } from '../harness/database.ts'

const DATA = Buffer.from('0123456789abcdef')

let database: TestDatabase
let clients: Client[]
let client: Client
let device: string
let profiles: string[]
beforeEach(async () => {
  database = await createDatabase()
  clients = []
  client = await connect()
  const user = randomUUID()
  await client.query('insert into auth.users (id, email) values ($1::uuid, $1::uuid::text)', [user])
  device = await addDevice(user)
  profiles = [await addProfile(device), await addProfile(device)]
})
afterEach(async () => {
  await Promise.all(clients.map((opened) => opened.end()))
  await database.drop()
})

async function connect(): Promise<Client> {
  const opened = new Client({ connectionString: database.url })
  await opened.connect()
  clients.push(opened)
  return opened
}

async function addDevice(user: string): Promise<string> {
  const { rows } = await client.query(
    `insert into devices (user_id, name, device_token) values ($1, 'd', gen_random_uuid()) returning id`,
    [user],
  )
  return rows[0].id
}

async function addProfile(of: string): Promise<string> {
  const { rows } = await client.query(
    `insert into sampling_profiles (device_id, label, sample_rate_hz, sample_size_bytes) values ($1, 'p', 1, $2) returning id`,
    [of, DATA.length],
  )
  return rows[0].id
}

interface Sample {
  device?: string
  profile?: string | null
  sequence?: number | null
  data?: Buffer | null
}

const argumentsOf = (sample: Sample) => {
  const { device: from, profile, sequence, data } = { device, profile: profiles[0], sequence: 7, data: DATA, ...sample }
  return [from, profile, sequence, data]
}
const CALL = 'select insert_entropy_sample($1, $2, $3, $4) as id'

/** The id that one is stored under. */
async function send(sample: Sample = {}, by = client): Promise<string> {
  const call = () => by.query(CALL, argumentsOf(sample))
  return (await runAsUser(by, null, call, 'service_role')).rows[0].id
}

const stored = async () =>
  (await client.query('select id from entropy_samples order by "timestamp"')).rows.map(({ id }) => id)

describe('a sample without a time', () => {
  it('that is sent again because its answer was lost is stored once', async () => {
    const ids = [await send(), await send(), await send()]
    expect(new Set(ids).size).toBe(1)
    expect(await stored()).toEqual([ids[0]])
    const { rows } = await client.query(
      `select "timestamp" between now() - interval '1 minute' and now() as is_now from entropy_samples`,
    )
    expect(rows).toEqual([{ is_now: true }])
  })

  it('of other bytes is another: a device that starts anew counts from 0 again', async () => {
    const ids = [
      await send(),
      await send({ data: Buffer.from('0123456789abcdeF') }),
      await send({ data: Buffer.alloc(16) }),
    ]
    expect(new Set(ids).size).toBe(3)
    expect(await stored()).toEqual(ids)
    // Each of them is known, also the one before last.
    expect(await send()).toBe(ids[0])
    expect(await stored()).toHaveLength(3)
  })

  it('of another sequence, profile or device is another', async () => {
    const { rows } = await client.query('select user_id from devices')
    const second = await addDevice(rows[0].user_id)
    const its = await addProfile(second)
    const ids = [
      await send(),
      await send({ sequence: 8 }),
      await send({ profile: profiles[1] }),
      await send({ device: second, profile: its }),
    ]
    expect(new Set(ids).size).toBe(4)
  })

  it('that was stored more than ten minutes ago is another', async () => {
    const first = await send()
    const age = (minutes: number) =>
      client.query(
        `update entropy_samples set created_at = created_at - $1 * interval '1 minute', "timestamp" = "timestamp" - $1 * interval '1 minute'`,
        [minutes],
      )
    await age(9)
    expect(await send()).toBe(first)
    await age(2)
    expect(await send()).not.toBe(first)
    expect(await stored()).toHaveLength(2)
  })

  it('is stored once, by how many connections it comes at once', async () => {
    const senders = await Promise.all(Array.from({ length: 6 }, connect))
    const ids = await Promise.all(senders.map((by) => send({}, by)))
    expect(new Set(ids).size).toBe(1)
    expect(await stored()).toHaveLength(1)
  })

  it('waits for the one before it to be stored or not', async () => {
    const [other, watcher] = [await connect(), await connect()]
    for (const [sequence, end] of ['rollback', 'commit'].entries()) {
      await asUser(other, null, 'service_role')
      await other.query(CALL, argumentsOf({ sequence }))
      const second = send({ sequence })
      const waits = 'select from pg_locks where not granted'
      await vi.waitUntil(async () => (await watcher.query(waits)).rowCount === 1, { timeout: 10_000 })
      await other.query(end)
      await second
      expect(await stored()).toHaveLength(sequence + 1)
    }
  })

  it('comes from the device itself, and from no other', async () => {
    const token = (await client.query('select device_token from devices')).rows[0].device_token
    const { rows } = await client.query('select token_id from authenticate_device($1)', [token])
    const claims = { role: 'device', aud: 'device', device_id: device, token_id: rows[0].token_id }
    const sendAs = (of: object) =>
      runAsUser(
        client,
        null,
        async () => {
          await client.query(`select set_config('request.jwt.claims', $1, true)`, [JSON.stringify(of)])
          return (await client.query(CALL, argumentsOf({}))).rows[0].id as string
        },
        'device',
      )
    expect([await sendAs(claims), await sendAs(claims)]).toEqual([...(await stored()), ...(await stored())])
    await expect(sendAs({ ...claims, device_id: randomUUID() })).rejects.toMatchObject({ code: '42501' })
    expect(await stored()).toHaveLength(1)
  })

  it('is refused for the same reasons as one with a time', async () => {
    const reasons: [Sample, object][] = [
      [{ data: Buffer.alloc(1) }, { code: '22023', message: '1 bytes, where the profile says 16' }],
      [{ sequence: -1 }, { code: '22023', message: 'sequence is below 0' }],
      [{ profile: randomUUID() }, { code: '22023', message: 'this device has no such profile' }],
      [{ device: randomUUID() }, { code: '42501', message: 'this device is not active' }],
      ...(['profile', 'sequence', 'data'] as const).map((name): [Sample, object] => [
        { [name]: null },
        { code: '22023', message: 'profile_id, timestamp, sequence and data are all needed' },
      ]),
    ]
    for (const [sample, reason] of reasons) await expect(send(sample)).rejects.toMatchObject(reason)
    expect(await stored()).toEqual([])
  })
})
