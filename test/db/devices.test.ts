import { createHash, randomBytes, randomUUID } from 'node:crypto'
import * as fc from 'fast-check'
import { Client, type QueryResult } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDatabase, runAsUser, type TestDatabase } from '../harness/database.ts'

const BYTES = 8
const INSERT = `select * from jsonb_to_recordset(public.insert_entropy_samples($1, $2, $3, $4, $5))
  as s (index int, status text, reason text)`

interface Sensor {
  readonly user: string
  readonly device: string
  readonly profile: string
  readonly token: string
  /** The id of its token, as device-auth puts it into the JWT. */
  readonly tokenId: string
}

interface Sample {
  profile?: string | null
  at?: string | null
  sequence?: bigint | number | null
  data?: Uint8Array | null
}

let database: TestDatabase
let client: Client
let sensor: Sensor
let other: Sensor
beforeEach(async () => {
  database = await createDatabase()
  client = new Client({ connectionString: database.url })
  await client.connect()
  sensor = await addSensor()
  other = await addSensor()
})
afterEach(async () => {
  await client.end()
  await database.drop()
})

async function addSensor(): Promise<Sensor> {
  const [user, device, profile, token] = Array.from({ length: 4 }, () => randomUUID())
  await client.query('insert into auth.users (id, email) values ($1::uuid, $1::uuid::text)', [user])
  await client.query(`insert into devices (id, user_id, name, device_token) values ($1, $2, 'd', $3)`, [
    device,
    user,
    token,
  ])
  await client.query(
    `insert into sampling_profiles (id, device_id, label, sample_rate_hz, sample_size_bytes) values ($1, $2, 'p', 1, $3)`,
    [profile, device, BYTES],
  )
  const { rows } = await client.query('select token_id from authenticate_device($1)', [token])
  return { user, device, profile, token, tokenId: rows[0].token_id }
}

/** A request with a JWT that says this; the role may be another than its claims say. */
async function request(claims: object, sql: string, values: unknown[], role = 'device'): Promise<QueryResult> {
  return await runAsUser(
    client,
    null,
    async () => {
      await client.query(`select set_config('request.jwt.claims', $1, true)`, [JSON.stringify(claims)])
      return await client.query(sql, values)
    },
    role,
  )
}

const claimsOf = ({ device, tokenId }: Sensor) => ({
  role: 'device',
  aud: 'device',
  device_id: device,
  token_id: tokenId,
})

function argumentsOf({ device, profile }: Sensor, samples: readonly Sample[]): unknown[] {
  const whole = samples.map((sample, i) => ({
    profile,
    at: new Date(Date.now() - 60_000 + i).toISOString(),
    sequence: i,
    data: new Uint8Array(BYTES).fill(i),
    ...sample,
  }))
  return [
    device,
    whole.map((sample) => sample.profile),
    whole.map((sample) => sample.at),
    whole.map((sample) => sample.sequence),
    whole.map((sample) => (sample.data === null ? null : Buffer.from(sample.data))),
  ]
}

async function send(from: Sensor, samples: readonly Sample[], claims: object = claimsOf(from)) {
  const { rows } = await request(claims, INSERT, argumentsOf(from, samples))
  return rows as { index: number; status: string; reason: string | null }[]
}

async function stored(): Promise<{ device_id: string; sequence: string; sample_data: Buffer }[]> {
  return (await client.query('select device_id, sequence, sample_data from entropy_samples order by sequence')).rows
}

describe('insert_entropy_samples', () => {
  it('stores a batch as it was sent', async () => {
    const samples = Array.from({ length: 20 }, (_, i) => ({ sequence: i, data: randomBytes(BYTES) }))
    expect(await send(sensor, samples)).toEqual(
      samples.map((_, index) => ({ index, status: 'accepted', reason: null })),
    )
    const rows = await stored()
    expect(rows.map(({ sample_data: data }) => data)).toEqual(samples.map(({ data }) => data))
    expect(new Set(rows.map(({ device_id: id }) => id))).toEqual(new Set([sensor.device]))
    const { rows: seen } = await client.query('select last_seen_at is not null as seen from devices where id = $1', [
      sensor.device,
    ])
    expect(seen).toEqual([{ seen: true }])
    expect(await send(sensor, [])).toEqual([])
  })

  it('creates nothing twice when a lost answer is asked for again, nor when the same is in a batch twice', async () => {
    const at = new Date(Date.now() - 5000).toISOString()
    const batch = [
      { at, sequence: 7 },
      { at, sequence: 8 },
      { at, sequence: 7 },
    ]
    expect((await send(sensor, batch)).map(({ status }) => status)).toEqual(['accepted', 'accepted', 'duplicate'])
    expect((await send(sensor, batch)).map(({ status }) => status)).toEqual(['duplicate', 'duplicate', 'duplicate'])
    // A device that started anew counts from 0 again: that is no retry.
    const later = new Date(Date.now() - 4000).toISOString()
    expect((await send(sensor, [{ at: later, sequence: 7 }])).map(({ status }) => status)).toEqual(['accepted'])
    expect(await stored()).toHaveLength(3)
  })

  it('stores each sample once, however many connections send it at once', async () => {
    const samples = Array.from({ length: 200 }, (_, i) => ({
      at: new Date(Date.now() - 9000 + i).toISOString(),
      sequence: i,
    }))
    const clients = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const another = new Client({ connectionString: database.url })
        await another.connect()
        return another
      }),
    )
    const outcomes = await Promise.all(
      clients.map(async (another) => {
        const work = () => another.query(INSERT, argumentsOf(sensor, samples))
        const { rows } = await runAsUser(another, null, work, 'service_role')
        await another.end()
        return rows.filter(({ status }) => status === 'accepted').length
      }),
    )
    expect(outcomes.reduce((sum, count) => sum + count)).toBe(200)
    expect(await stored()).toHaveLength(200)
  })

  it('says of each sample why it is refused, and stores the others', async () => {
    const days = (n: number) => new Date(Date.now() + n * 86_400_000).toISOString()
    const { rows } = await client.query(
      `insert into sampling_profiles (device_id, label, sample_rate_hz, sample_size_bytes, is_active)
       values ($1, 'old', 1, $2, false) returning id`,
      [sensor.device, BYTES],
    )
    const outcomes = await send(sensor, [
      {},
      { profile: other.profile },
      { profile: randomUUID() },
      { profile: rows[0].id },
      { data: new Uint8Array(BYTES + 1) },
      { data: new Uint8Array(0) },
      { at: days(0.01) },
      { at: days(-367) },
      { at: 'infinity' },
      { at: '-infinity' },
      { sequence: -1 },
      { sequence: 2n ** 63n - 1n },
      { profile: null },
      { at: null },
      { sequence: null },
      { data: null },
      { at: days(0.003) },
    ])
    expect(outcomes.map(({ status, reason }) => reason ?? status)).toEqual([
      'accepted',
      'this device has no such profile',
      'this device has no such profile',
      'this profile is not active',
      '9 bytes, where the profile says 8',
      '0 bytes, where the profile says 8',
      'timestamp is more than 00:05:00 ahead',
      'timestamp is more than 366 days ago',
      'timestamp is outside of the years 1 to 9999',
      'timestamp is outside of the years 1 to 9999',
      'sequence is below 0',
      'accepted',
      ...Array.from({ length: 4 }, () => 'profile_id, timestamp, sequence and data are all needed'),
      'accepted',
    ])
    expect(await stored()).toHaveLength(3)
  })

  it('accepts, refuses and repeats whatever it is sent without losing or inventing a sample', async () => {
    const sample = fc.record({
      profile: fc.constantFrom(sensor.profile, sensor.profile, other.profile, null),
      at: fc
        .integer({ min: 0, max: 5 })
        .map((s) => new Date(1000 * Math.floor(Date.now() / 1000) - 1000 * s).toISOString()),
      sequence: fc.bigInt({ min: -2n, max: 6n }),
      data: fc.uint8Array({ minLength: BYTES - 1, maxLength: BYTES + 1 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(sample, { maxLength: 30 }), async (samples) => {
        const before = (await stored()).length
        const outcomes = await send(sensor, samples)
        expect(outcomes.map(({ index }) => index)).toEqual(samples.map((_, i) => i))
        const accepted = outcomes.filter(({ status }) => status === 'accepted')
        expect((await stored()).length).toBe(before + accepted.length)
        for (const { index, status } of outcomes) {
          const { profile, sequence, data } = samples[index]
          const isGood = profile === sensor.profile && sequence >= 0n && data.length === BYTES
          expect(status === 'rejected').toBe(!isGood)
        }
        const again = await send(sensor, samples)
        expect(again.filter(({ status }) => status === 'accepted')).toEqual([])
      }),
      { numRuns: 40 },
    )
  })

  it.each([
    ['lists of unequal length', [[randomUUID()], [], [1], [Buffer.alloc(8)]]],
    ['no lists', [null, null, null, null]],
    ['lists of lists', [[[randomUUID()]], [['now']], [[1]], [[Buffer.alloc(8)]]]],
  ])('refuses %s', async (_, lists) => {
    await expect(request(claimsOf(sensor), INSERT, [sensor.device, ...lists])).rejects.toMatchObject({ code: '22023' })
  })

  it('refuses a batch that is too large, and takes the largest', async () => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => ({ sequence: i }))
    await expect(send(sensor, many(10_001))).rejects.toMatchObject({ code: 'PT413', hint: 'Send it in parts.' })
    const large = Array.from({ length: 20 }, () => ({ data: new Uint8Array(1024 ** 2) }))
    await expect(send(sensor, large)).rejects.toMatchObject({ code: 'PT413' })
    expect(await stored()).toEqual([])
    expect((await send(sensor, many(10_000))).every(({ status }) => status === 'accepted')).toBe(true)
  })

  it('loses no sample for another of a time that no partition takes, whoever sends it', async () => {
    const batch = [{}, { at: '-infinity' }, { at: 'infinity' }, { at: '0001-01-01 00:00:00+00 BC' }, { sequence: 9 }]
    const { rows } = await request({}, INSERT, argumentsOf(sensor, batch), 'service_role')
    expect(rows.map(({ status, reason }) => reason ?? status)).toEqual([
      'accepted',
      ...Array.from({ length: 3 }, () => 'timestamp is outside of the years 1 to 9999'),
      'accepted',
    ])
    expect(await stored()).toHaveLength(2)
  })

  it('slows down a device that sends large samples, by their bytes', async () => {
    const bytes = 65_536
    await client.query('update sampling_profiles set sample_size_bytes = $1', [bytes])
    const batch = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) => ({ sequence: from + i, data: new Uint8Array(bytes) }))
    // Ten batches of 16 MB at once: what a device may have in a second is a megabyte, and 64 in hand.
    let sent = 0
    const sendAll = async () => {
      for (; sent < 2500; sent += 250) await send(sensor, batch(sent, 250))
    }
    await expect(sendAll()).rejects.toMatchObject({
      code: 'PT429',
      message: 'this device sends more than 1048576 bytes a second',
      hint: expect.stringMatching(/^retry in \d+ seconds$/),
    })
    expect(sent * bytes).toBeLessThanOrEqual(64 * 1024 ** 2 + 1024 ** 2 * 60)
    expect((await stored()).length).toBe(sent)
    // The samples of others, and the service, are not slowed down by it.
    await send(other, batch(0, 1))
    await request({}, INSERT, argumentsOf(sensor, batch(sent, 250)), 'service_role')
  })

  it('slows down a device that sends without end, and says when to go on', async () => {
    await client.query('update app_private.ingest_limits set samples_per_second = 10, burst_samples = 100')
    const batch = (from: number, count: number) => Array.from({ length: count }, (_, i) => ({ sequence: from + i }))
    await send(sensor, batch(0, 90))
    await expect(send(sensor, batch(90, 20))).rejects.toMatchObject({
      code: 'PT429',
      hint: expect.stringMatching(/^retry in [12] seconds$/),
    })
    expect(await stored()).toHaveLength(90)
    // Each device has its own budget, the service has none, and time gives it back.
    await send(other, batch(0, 90))
    await request({}, INSERT, argumentsOf(sensor, batch(90, 20)), 'service_role')
    await client.query(`update app_private.device_ingest set refilled_at = refilled_at - interval '1 minute'`)
    await send(sensor, batch(110, 100))
    expect(await stored()).toHaveLength(300)
  })
})

describe('who may send', () => {
  it('is the device with a token that holds, and the service', async () => {
    const samples = argumentsOf(sensor, [{}])
    const refused = { code: '42501', message: 'this token is not of this device, or was revoked' }
    const good = claimsOf(sensor)
    for (const claims of [
      {},
      { ...good, aud: 'authenticated' },
      { ...good, device_id: other.device },
      { ...good, device_id: undefined, sub: sensor.device },
      // To Supabase Auth this would be a user.
      { ...good, sub: sensor.device },
      { ...good, sub: null },
      { ...good, token_id: other.tokenId },
      { ...good, token_id: 'x' },
      { ...good, token_id: undefined },
      claimsOf(other),
      { ...good, aud: ['device'] },
    ]) {
      await expect(request(claims, INSERT, samples), JSON.stringify(claims)).rejects.toMatchObject(refused)
    }
    for (const role of ['anon', 'authenticated']) {
      const denied = { code: '42501', message: expect.stringMatching(/^permission denied/) }
      await expect(request(good, INSERT, samples, role)).rejects.toMatchObject(denied)
      await expect(request({ ...good, sub: sensor.user }, INSERT, samples, role)).rejects.toMatchObject(denied)
    }
    expect(await stored()).toEqual([])
    expect((await request(good, INSERT, samples)).rows).toMatchObject([{ status: 'accepted' }])
    expect((await request({}, INSERT, samples, 'service_role')).rows).toMatchObject([{ status: 'duplicate' }])
  })

  it('is no device that is not active', async () => {
    await client.query(`update devices set status = 'inactive' where id = $1`, [sensor.device])
    const refused = { code: '42501', message: 'this device is not active' }
    await expect(send(sensor, [{}])).rejects.toMatchObject(refused)
    await expect(request({}, INSERT, argumentsOf(sensor, [{}]), 'service_role')).rejects.toMatchObject(refused)
    const nowhere = { ...sensor, device: randomUUID() }
    await expect(request({}, INSERT, argumentsOf(nowhere, [{}]), 'service_role')).rejects.toMatchObject(refused)
    expect((await client.query('select from authenticate_device($1)', [sensor.token])).rows).toEqual([])
  })

  it('may do nothing else', async () => {
    const { rows } = await client.query<{ sql: string }>(
      `select format('select from %s limit 1', oid::regclass) as sql from pg_class
       where relkind in ('r', 'p', 'v', 'm') and relnamespace in (
         select oid from pg_namespace where nspname in
           ('public', 'app_private', 'pgboss', 'auth', 'entropy_partitions', 'supabase_migrations'))`,
    )
    expect(rows.length).toBeGreaterThan(30)
    for (const { sql } of rows)
      await expect(request(claimsOf(sensor), sql, []), sql).rejects.toThrow('permission denied')
    const { rows: allowed } = await client.query<{ name: string }>(
      `select p.oid::regprocedure::text as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace
       where n.nspname not in ('pg_catalog', 'information_schema') and has_function_privilege('device', p.oid, 'execute')
         and has_schema_privilege('device', n.oid, 'usage') order by 1`,
    )
    expect(allowed.map(({ name }) => name)).toEqual([
      'insert_entropy_sample(uuid,uuid,bigint,bytea,timestamp with time zone)',
      'insert_entropy_samples(uuid,uuid[],timestamp with time zone[],bigint[],bytea[])',
    ])
  })
})

describe('insert_entropy_sample', () => {
  const ONE = 'select public.insert_entropy_sample($1, $2, $3, $4, $5) as id'

  it('stores one, and gives the same id again', async () => {
    const values = [sensor.device, sensor.profile, 1, Buffer.alloc(BYTES, 9), new Date()]
    const [first, second] = [await request(claimsOf(sensor), ONE, values), await request(claimsOf(sensor), ONE, values)]
    expect(second.rows).toEqual(first.rows)
    expect((await client.query('select id from entropy_samples')).rows).toEqual(first.rows)
  })

  it('raises the reason', async () => {
    const values = [sensor.device, sensor.profile, 1, Buffer.alloc(1), new Date()]
    await expect(request(claimsOf(sensor), ONE, values)).rejects.toMatchObject({
      code: '22023',
      message: '1 bytes, where the profile says 8',
    })
  })
})

describe('tokens', () => {
  const authenticate = async (token: string) =>
    (await client.query('select device_id from authenticate_device($1)', [token])).rows.map((row) => row.device_id)
  const rotate = async (by: Sensor, device: string, name = 'rotate') =>
    await runAsUser(client, by.user, () => client.query(`select public.${name}_device_token($1) as token`, [device]))

  it('that were there before work, and are kept as hashes too', async () => {
    expect(await authenticate(sensor.token)).toEqual([sensor.device])
    const { rows } = await client.query('select token_hash from app_private.device_tokens where device_id = $1', [
      sensor.device,
    ])
    expect(rows).toEqual([{ token_hash: createHash('sha256').update(sensor.token).digest() }])
    for (const wrong of [
      '',
      sensor.token.slice(1),
      `${sensor.token} `,
      sensor.token.toUpperCase(),
      "' or true --",
      'ü'.repeat(9000),
    ]) {
      expect(await authenticate(wrong)).toEqual([])
    }
    const { rows: nothing } = await client.query('select from authenticate_device(null)')
    expect(nothing).toEqual([])
  })

  it('come with the active profiles of their device', async () => {
    const { rows } = await client.query('select profiles from authenticate_device($1)', [sensor.token])
    expect(rows).toEqual([
      { profiles: [{ id: sensor.profile, label: 'p', sample_rate_hz: 1, sample_size_bytes: BYTES }] },
    ])
  })

  it('are rotated by their owner: the new one is in no table, the old one and its JWT work no more', async () => {
    const { rows } = await rotate(sensor, sensor.device)
    const { token } = rows[0] as { token: string }
    expect(token).toMatch(/^dt_[0-9a-f]{64}$/)
    expect([await authenticate(token), await authenticate(sensor.token)]).toEqual([[sensor.device], []])
    await expect(send(sensor, [{}])).rejects.toMatchObject({ code: '42501' })
    const { rows: tables } = await client.query(
      `select (select string_agg(d::text, '') from devices d) || (select string_agg(t::text, '') from app_private.device_tokens t) as text`,
    )
    expect(tables[0].text).not.toContain(token)
    // What the column shows instead is no token.
    const { rows: shown } = await client.query('select device_token from devices where id = $1', [sensor.device])
    expect(await authenticate(shown[0].device_token)).toEqual([])
    const twice = (await rotate(sensor, sensor.device)).rows[0] as { token: string }
    expect([await authenticate(twice.token), await authenticate(token)]).toEqual([[sensor.device], []])
  })

  it('are revoked by their owner', async () => {
    await rotate(sensor, sensor.device, 'revoke')
    expect(await authenticate(sensor.token)).toEqual([])
    await expect(send(sensor, [{}])).rejects.toMatchObject({ code: '42501' })
    expect(await authenticate(other.token)).toEqual([other.device])
  })

  it('are nobody else’s to rotate or revoke', async () => {
    for (const name of ['rotate', 'revoke']) {
      await expect(rotate(other, sensor.device, name)).rejects.toMatchObject({ code: '42501' })
      for (const role of ['anon', 'device']) {
        const call = `select public.${name}_device_token($1)`
        await expect(request(claimsOf(sensor), call, [sensor.device], role)).rejects.toThrow('permission denied')
      }
    }
    for (const role of ['anon', 'authenticated', 'device']) {
      const call = 'select authenticate_device($1)'
      await expect(request(claimsOf(sensor), call, [sensor.token], role)).rejects.toThrow('permission denied')
    }
    expect(await authenticate(sensor.token)).toEqual([sensor.device])
  })

  it('follow what an app writes to devices.device_token', async () => {
    const write = (token: string) =>
      runAsUser(client, sensor.user, () => client.query('update devices set device_token = $1', [token]))
    await write('written by hand.')
    expect([await authenticate('written by hand.'), await authenticate(sensor.token)]).toEqual([[sensor.device], []])
    // Neither another's token nor a made-up hash.
    await expect(write(other.token)).rejects.toMatchObject({ code: '23514' })
    const hash = createHash('sha256').update('mine').digest('hex')
    await expect(write(`sha256:${hash}`)).rejects.toMatchObject({ code: '23514' })
    await rotate(other, other.device)
    await expect(write(other.token)).rejects.toMatchObject({ code: '23514' })
    expect(await authenticate('written by hand.')).toEqual([sensor.device])
  })
})
