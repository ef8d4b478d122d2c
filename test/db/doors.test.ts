import { randomUUID } from 'node:crypto'
import { Client, type QueryResult } from 'pg'
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
  await client.query(`insert into maintenance_log (operation_type, target_table) values ('prune', 'entropy_samples')`)
  await client.query(
    `insert into network_stats (bucket_start, bucket_end, device_count, device_set_hash, sums, netvar, pair, devvar, covar,
       normalization, method_version)
     values ('2026-01-01', '2026-01-02', 2, 'hash', '{}', '{}', '{}', '{}', '{}', 'theoretical', '1')`,
  )
})
afterEach(async () => {
  await client.end()
  await database.drop()
})

async function column<T>(sql: string, values: unknown[] = []): Promise<T[]> {
  return (await client.query({ text: sql, values, rowMode: 'array' })).rows.map(([value]) => value)
}

/** What a request of this person gets; the message, if it is refused. */
async function request(person: Person | null, sql: string, values: unknown[] = [], role = 'authenticated') {
  return await runAsUser<QueryResult>(client, person?.user ?? null, () => client.query(sql, values), role)
}

const DENIED = 'permission denied'

// Who may do what with which table, view and function: test/db/access-matrix.test.ts.
describe('reading', () => {
  it('shows in no view more than in the tables behind it', async () => {
    await client.query('update storj_chunks set last_error = $2 where id = $1', [bob.chunk, 'secret'])
    const { rows } = await request(alice, 'select * from pipeline_health')
    expect(rows[0]).toMatchObject({
      waiting_samples: '1',
      unverified_chunks: '1',
      chunks_with_errors: '0',
      last_prune: null,
    })
    const views = await column<string>(`select relname::text from pg_class where relnamespace = 'public'::regnamespace
      and relkind in ('v', 'm') and not coalesce(reloptions, '{}') @> '{security_invoker=true}'`)
    expect(views).toEqual([])
  })

  it('of the network’s deviation is a function for those who are signed in', async () => {
    const call = `select * from network_deviation('2026-01-01', '2026-01-03', 'all_bits', '1 day')`
    await client.query(
      `update network_stats set sums = '{"seconds": 100, "sum_s2": 120, "sum_c": 3, "sum_pairs": 100}'`,
    )
    expect((await request(alice, call)).rows).toMatchObject([{ seconds: '100', netvar_deviation: 20 }])
    await expect(request(alice, call, [], 'anon')).rejects.toThrow(DENIED)
  })
})

describe('writing', () => {
  it('of nothing but its rows is given to users: no truncate, no triggers, no references', async () => {
    const granted = await column(
      `select role || ' on ' || relname from pg_class, unnest(array['anon', 'authenticated', 'device']) role
       where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')
         and has_table_privilege(role, pg_class.oid, 'truncate, references, trigger')`,
    )
    expect(granted).toEqual([])
  })

  it('makes a device for oneself only, and gives none away', async () => {
    const insert = `insert into devices (user_id, name, device_token) values ($1, 'mine', gen_random_uuid())`
    expect((await request(alice, insert, [alice.user])).rowCount).toBe(1)
    await expect(request(alice, insert, [bob.user])).rejects.toThrow('row-level security')
    await expect(request(alice, 'update devices set user_id = $1', [bob.user])).rejects.toThrow('row-level security')
  })

  it('watches pairs of one’s own devices only, in one’s own name', async () => {
    const add = `insert into devices (user_id, name, device_token) values ($1, 'second', gen_random_uuid()) returning id`
    const second = (await request(alice, add, [alice.user])).rows[0].id as string
    const insert = 'insert into watched_pairs (device_a_id, device_b_id) values ($1, $2)'
    // The larger id first, in one of the two.
    await expect(request(alice, insert, [alice.device, bob.device])).rejects.toThrow('row-level security')
    await expect(request(alice, insert, [alice.device, alice.device])).rejects.toThrow('row-level security')
    expect((await request(alice, insert, [alice.device, second].toSorted().toReversed())).rowCount).toBe(1)
    const inName = 'insert into watched_pairs (user_id, device_a_id, device_b_id) values ($1, $2, $3)'
    await expect(request(alice, inName, [bob.user, alice.device, second])).rejects.toThrow(DENIED)
    await expect(request(alice, 'update watched_pairs set created_at = now()')).rejects.toThrow(DENIED)
    expect((await request(bob, 'select from watched_pairs')).rowCount).toBe(0)
    expect((await request(bob, 'delete from watched_pairs')).rowCount).toBe(0)
    expect((await request(alice, 'delete from watched_pairs')).rowCount).toBe(1)
  })

  it('of a sampling profile needs a device of one’s own', async () => {
    const insert = `insert into sampling_profiles (device_id, label, sample_rate_hz, sample_size_bytes) values ($1, 'p', 1, 1)`
    expect((await request(alice, insert, [alice.device])).rowCount).toBe(1)
    await expect(request(alice, insert, [bob.device])).rejects.toThrow('row-level security')
    await expect(request(alice, 'update sampling_profiles set device_id = $1', [bob.device])).rejects.toThrow(
      'row-level security',
    )
  })

  it('of a profile is for one’s own e-mail, never the role', async () => {
    await expect(request(alice, `update profiles set role = 'admin' where id = $1`, [alice.user])).rejects.toThrow(
      DENIED,
    )
    await expect(request(alice, `update profiles set email = 'x', role = 'admin'`)).rejects.toThrow(DENIED)
    expect((await request(alice, `update profiles set email = 'new'`)).rowCount).toBe(1)
    expect(await column('select email from profiles where id = $1', [bob.user])).toEqual([bob.user])
    expect(await column('select distinct role from profiles')).toEqual(['user'])
  })
})

describe('the status of an analysis', () => {
  const insert = `insert into analysis_jobs
    (id, user_id, time_range_start, time_range_end, test_names, status, error_message, created_at, started_at, completed_at)
    values ($1, $2, '2026-01-01', '2026-01-02', '{frequency}', $3, 'mine', '2000-01-01', '2000-01-01', '2000-01-01')`

  it.each(['queued', 'running', 'completed', 'failed'])('inserted by a user as %s is queued', async (status) => {
    const id = randomUUID()
    await request(alice, insert, [id, alice.user, status])
    const { rows } = await client.query(
      `select status, error_message, created_at > now() - interval '1 hour' as new, started_at, completed_at
       from analysis_jobs where id = $1`,
      [id],
    )
    expect(rows).toEqual([{ status: 'queued', error_message: null, new: true, started_at: null, completed_at: null }])
  })

  it.each([
    `status = 'completed'`,
    `status = 'failed'`,
    `error_message = 'x'`,
    `created_at = '2000-01-01'`,
    `started_at = now()`,
    `completed_at = now()`,
    `id = gen_random_uuid()`,
    `user_id = gen_random_uuid()`,
  ])('cannot be changed by its user: %s', async (change) => {
    await expect(request(alice, `update analysis_jobs set ${change} where id = $1`, [alice.job])).rejects.toThrow(
      'status, times and owner of an analysis job are set by the pipeline',
    )
  })

  it('does not keep its user from changing the question, or from taking it back', async () => {
    expect((await request(alice, `update analysis_jobs set parameters = '{"a": 1}'`)).rowCount).toBe(1)
    expect((await request(alice, 'delete from analysis_jobs')).rowCount).toBe(1)
    expect(await column('select id from analysis_jobs')).toEqual([bob.job])
  })

  it('cannot be asked for in another’s name', async () => {
    await expect(request(alice, insert, [randomUUID(), bob.user, 'queued'])).rejects.toThrow('row-level security')
  })
})

describe('the private schemas', () => {
  const SCHEMAS = ['entropy_partitions', 'app_private', 'pgboss', 'supabase_migrations']

  it.each(SCHEMAS)('%s is out of reach of users', async (schema) => {
    const tables = await column<string>(
      `select oid::regclass::text from pg_class where relnamespace = $1::regnamespace and relkind in ('r', 'p', 'v', 'S')`,
      [schema],
    )
    expect(tables.length).toBeGreaterThan(0)
    for (const role of ['anon', 'authenticated', 'device']) {
      expect(await column('select has_schema_privilege($1, $2, $3)', [role, schema, 'usage, create'])).toEqual([false])
      for (const table of tables) {
        const refusal = `${DENIED} for schema ${schema}`
        await expect(request(alice, `select from ${table}`, [], role)).rejects.toThrow(refusal)
      }
    }
    // Twice locked: were the schema opened by mistake, the tables would still be closed.
    const granted = await column(
      `select role || ' on ' || relname from pg_class, unnest(array['anon', 'authenticated', 'device']) role
       where relnamespace = $1::regnamespace and relkind in ('r', 'p', 'v')
         and has_table_privilege(role, pg_class.oid, 'select, insert, update, delete, truncate')`,
      [schema],
    )
    expect(granted).toEqual([])
  })

  it('have no function that users may execute, but for one behind a view', async () => {
    const callable = await column<string>(
      `select p.oid::regprocedure || ' by ' || role from pg_proc p, unnest(array['anon', 'authenticated', 'device']) role
       where pronamespace = 'app_private'::regnamespace and has_function_privilege(role, p.oid, 'execute')`,
    )
    // Which chunks wait, for chunk_backlog; by name it is out of reach like the others.
    expect(callable).toEqual(['app_private.unpacked_chunks() by authenticated'])
    for (const sql of [
      'select app_private.unpacked_chunks()',
      `select app_private.send_job('prune', '{}')`,
      `select app_private.ensure_partitions('2026-01-01', '2026-01-01')`,
    ]) {
      await expect(request(alice, sql)).rejects.toThrow(`${DENIED} for schema app_private`)
    }
  })
})

it('service_role can do what a backend needs', async () => {
  const ask = (sql: string, values: unknown[] = []) => request(null, sql, values, 'service_role')
  expect((await ask('select id from devices')).rowCount).toBe(2)
  await ask(
    `insert into entropy_samples (device_id, profile_id, sequence, byte_length, sample_data) values ($1, $2, 2, 1, '\\x01')`,
    [alice.device, alice.profile],
  )
  await ask(`update devices set status = 'error', last_seen_at = now() where id = $1`, [alice.device])
  await ask(`update profiles set role = 'admin' where id = $1`, [alice.user])
  await ask(`update analysis_jobs set status = 'failed', error_message = 'no' where id = $1`, [alice.job])
  await ask(
    `insert into analysis_jobs (user_id, time_range_start, time_range_end, test_names)
     values ($1, '2026-01-01', '2026-01-02', '{frequency}')`,
    [bob.user],
  )
  await ask('delete from storj_chunks where id = $1', [bob.chunk])
  expect(await column('select status from analysis_jobs where id = $1', [alice.job])).toEqual(['failed'])
  expect(await column('select count(*)::int from chunk_replicas')).toEqual([1])
})
