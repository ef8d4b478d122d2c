import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Database } from '../../db/database.types.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { addPerson, type Person } from '../harness/people.ts'
import { findPostgrest, startPostgrest, type Postgrest } from '../harness/postgrest.ts'

/** Supabase's own client, through PostgREST, with each kind of key. What each may do in full: test/db/access-matrix.test.ts. */
describe.skipIf(findPostgrest() === undefined)('supabase-js', () => {
  let database: TestDatabase
  let client: Client
  let postgrest: Postgrest
  let alice: Person
  let bob: Person
  let deviceClaims: Record<string, unknown>
  beforeAll(async () => {
    database = await createDatabase()
    client = new Client({ connectionString: database.url })
    await client.connect()
    alice = await addPerson(client)
    bob = await addPerson(client)
    await client.query(`insert into maintenance_log (operation_type, target_table) values ('prune', 'entropy_samples')`)
    const { rows } = await client.query<{ token_id: string }>('select token_id from authenticate_device($1)', [
      alice.token,
    ])
    deviceClaims = { role: 'device', aud: 'device', device_id: alice.device, ...rows[0] }
    postgrest = await startPostgrest(database)
  })
  afterAll(async () => {
    await postgrest.close()
    await client.end()
    await database.drop()
  })

  const connect = (jwt: string): SupabaseClient<Database> =>
    createClient<Database>(postgrest.url, 'a key of the gateway', { accessToken: async () => jwt })
  const connectAs = async (claims: Readonly<Record<string, unknown>>) => connect(await postgrest.sign(claims))
  const connectUser = ({ user }: Person) =>
    connectAs({ role: 'authenticated', aud: 'authenticated', iss: 'supabase', sub: user })

  const sample = (person: Person, sequence: number) => ({
    device_id: person.device,
    profile_id: person.profile,
    sequence,
    sample_data: '\\xff',
  })

  it('gets nothing with the anon key', async () => {
    const anon = await connectAs({ role: 'anon' })
    expect(await anon.from('devices').select()).toMatchObject({
      status: 401,
      error: { code: '42501', message: 'permission denied for table devices' },
    })
    expect(await anon.rpc('rotate_device_token', { device_id: alice.device })).toMatchObject({
      status: 401,
      error: { code: '42501' },
    })
  })

  it('shows users their own, and changes nothing else', async () => {
    for (const [person, other] of [
      [alice, bob],
      [bob, alice],
    ]) {
      const user = await connectUser(person)
      expect((await user.from('devices').select('id')).data).toEqual([{ id: person.device }])
      expect((await user.from('analysis_results').select('analysis_jobs (id)')).data).toEqual([
        { analysis_jobs: { id: person.job } },
      ])
      const change = user.from('devices').update({ name: 'mine' })
      expect((await change.eq('id', other.device).select()).data).toEqual([])
      expect(await user.from('devices').update({ user_id: person.user }).select('id')).toMatchObject({
        data: [{ id: person.device }],
      })
      expect(await user.from('maintenance_log').select()).toMatchObject({ status: 200, data: [] })
      expect(await user.rpc('insert_entropy_sample', sample(person, 7))).toMatchObject({ status: 403 })
    }
  })

  it('shows admins the maintenance log', async () => {
    await client.query(`update profiles set role = 'admin' where id = $1`, [bob.user])
    const admin = await connectUser(bob)
    expect((await admin.from('maintenance_log').select('operation_type')).data).toEqual([{ operation_type: 'prune' }])
    expect((await admin.from('devices').select('id')).data).toEqual([{ id: bob.device }])
  })

  it('lets a device send its samples, and nothing more', async () => {
    const device = await connectAs(deviceClaims)
    const first = await device.rpc('insert_entropy_sample', sample(alice, 2))
    expect(first).toMatchObject({ status: 200, data: expect.stringMatching(/^[0-9a-f-]{36}$/) })
    const batch = {
      device_id: alice.device,
      profile_ids: [alice.profile, alice.profile],
      timestamps: [new Date().toISOString(), new Date().toISOString()],
      sequences: [3, 4],
      payloads: ['\\x00', '\\x0000'],
    }
    expect((await device.rpc('insert_entropy_samples', batch)).data).toEqual([
      { index: 0, status: 'accepted', reason: null },
      { index: 1, status: 'rejected', reason: '2 bytes, where the profile says 1' },
    ])
    const { data } = await (await connectUser(alice)).from('entropy_samples').select('sample_data').eq('sequence', 2)
    expect(data).toEqual([{ sample_data: '\\xff' }])

    expect(await device.rpc('insert_entropy_samples', { ...batch, sequences: [5] })).toMatchObject({
      status: 400,
      error: { code: '22023' },
    })
    expect(await device.rpc('insert_entropy_sample', sample(bob, 2))).toMatchObject({
      status: 403,
      error: { code: '42501', hint: 'Get a new one from device-auth.' },
    })
    expect(await device.from('devices').select()).toMatchObject({ status: 403 })
    expect(await device.rpc('rotate_device_token', { device_id: alice.device })).toMatchObject({ status: 403 })
  })

  it('answers 429 to a device that sends too much, and says when to try again', async () => {
    await client.query('update app_private.device_ingest set budget = 0, refilled_at = now() where device_id = $1', [
      alice.device,
    ])
    await client.query('update app_private.ingest_limits set samples_per_second = 0.001')
    const device = await connectAs(deviceClaims)
    expect(await device.rpc('insert_entropy_sample', sample(alice, 9))).toMatchObject({
      status: 429,
      error: { code: 'PT429', hint: expect.stringMatching(/^retry in \d+ seconds$/) },
    })
    await client.query('update app_private.ingest_limits set samples_per_second = default')
  })

  it('lets the service do everything', async () => {
    const service = await connectAs({ role: 'service_role' })
    expect((await service.from('devices').select('*', { count: 'exact', head: true })).count).toBe(2)
    expect((await service.rpc('authenticate_device', { device_token: bob.token })).data).toMatchObject([
      { device_id: bob.device, profiles: [{ id: bob.profile }] },
    ])
    const note = { operation_type: 'note', target_table: 'none' }
    expect(await service.from('maintenance_log').insert(note).select('target_table')).toMatchObject({
      status: 201,
      data: [{ target_table: 'none' }],
    })
    expect((await service.from('maintenance_log').delete().eq('operation_type', 'note').select()).data).toHaveLength(1)
  })

  it('reaches no other schema', async () => {
    const service = await connectAs({ role: 'service_role' })
    for (const schema of ['app_private', 'pgboss', 'entropy_partitions', 'auth']) {
      expect(
        await service
          .schema(schema as 'public')
          .from('devices')
          .select(),
      ).toMatchObject({
        status: 406,
        error: { code: 'PGRST106' },
      })
    }
  })

  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  it.each<[string, () => Promise<string> | string, [status: number, code: string]?]>([
    ['has expired', () => postgrest.sign({ role: 'authenticated', sub: alice.user, exp: 1 })],
    ['is not valid yet', () => postgrest.sign({ role: 'service_role', nbf: 4e9 })],
    ['names no role there is', () => postgrest.sign({ role: 'nobody' }), [400, '22023']],
    ['names a role that PostgREST may not take', () => postgrest.sign({ role: 'postgres' }), [403, '42501']],
    ['has alg none', () => `${encode({ alg: 'none', typ: 'JWT' })}.${encode({ role: 'service_role' })}.`],
    ['has another signature', async () => `${(await postgrest.sign({ role: 'service_role' })).slice(0, -4)}AAAA`],
    [
      'has another payload than was signed',
      async () => {
        const [head, , signature] = (await postgrest.sign({ role: 'anon' })).split('.')
        return `${head}.${encode({ role: 'service_role' })}.${signature}`
      },
    ],
    ['is none at all', () => 'garbage'],
  ])('is turned away with a JWT that %s', async (_what, makeJwt, [status, code] = [401, 'PGRST301']) => {
    const requests = connect(await makeJwt())
    expect(await requests.from('profiles').select()).toMatchObject({ data: null, status, error: { code } })
  })

  it('is turned away as a device whose JWT is for another audience, another device, or a token that was rotated', async () => {
    for (const claims of [
      { aud: 'authenticated' },
      { device_id: bob.device },
      { sub: alice.device },
      { token_id: bob.device },
      { token_id: null },
    ]) {
      const device = await connectAs({ ...deviceClaims, ...claims })
      expect(await device.rpc('insert_entropy_sample', sample(alice, 5))).toMatchObject({ status: 403 })
    }
    const device = await connectAs(deviceClaims)
    expect(await device.rpc('insert_entropy_sample', sample(alice, 5))).toMatchObject({ status: 200 })
    const rotated = await (await connectUser(alice)).rpc('rotate_device_token', { device_id: alice.device })
    expect(rotated.data).toMatch(/^dt_[0-9a-f]{64}$/)
    expect(await device.rpc('insert_entropy_sample', sample(alice, 6))).toMatchObject({ status: 403 })
  })
})
