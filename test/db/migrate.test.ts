import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { listMigrations, migrate, pendingMigrations } from '../../db/migrate.ts'
import { listStrandedAnalyses, listStrandedTests, listStrandedUploads } from '../../db/reconcile.ts'
import { installQueues } from '../../jobs/install.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'

const SEED = readFileSync(new URL('../fixtures/seed-schema.sql', import.meta.url), 'utf8')
const ALL = listMigrations().map((migration) => migration.version)

const USER = '00000000-0000-4000-8000-000000000001'
const DEVICE = '00000000-0000-4000-8000-0000000000d1'
const OTHER_DEVICE = '00000000-0000-4000-8000-0000000000d2'
const PROFILE = '00000000-0000-4000-8000-0000000000a1'

/** A lived-in database: rows in every table, and a column of its owner's in entropy_samples. */
const ROWS = `
  alter table entropy_samples add column note text default 'none', drop column sample_data, add column sample_data bytea,
    add column note_length int generated always as (length(note)) stored;
  alter table entropy_samples alter column sample_data set not null;
  insert into auth.users (id, email) values ('${USER}', 'a@example.org');
  insert into devices (id, user_id, name, device_token, last_seen_at) values
    ('${DEVICE}', '${USER}', 'one', 'token 1', now()), ('${OTHER_DEVICE}', '${USER}', 'two', 'token 2', null);
  insert into sampling_profiles (id, device_id, label, sample_rate_hz, sample_size_bytes, metadata) values
    ('${PROFILE}', '${DEVICE}', 'default', 0.333333, 64, '{"a": [1, 2]}');
  insert into storj_chunks (bucket, object_key, size_bytes, byte_count, sample_count, min_timestamp, max_timestamp, device_ids, status)
    select 'old', 'key ' || status, 100, 64, 2, '2024-01-01', '2024-01-02', array['${DEVICE}'], status
    from unnest(enum_range(null::storj_chunk_status)) status;
  insert into entropy_samples (device_id, profile_id, "timestamp", sequence, byte_length, sample_data, storj_chunk_id, note)
    select '${DEVICE}', '${PROFILE}', moment, row_number() over (), 4, decode('00ff10ab', 'hex'),
           case when claimed then (select id from storj_chunks where status = 'uploaded') end, 'row at ' || moment
    from unnest(array[timestamptz '0044-03-15', '1999-12-31 23:59:59.999999+00', '2024-01-01 00:00:00.123456+00',
                      now() - interval '1 day', now(), now() + interval '3 days', now() + interval '5 years']) moment,
         unnest(array[true, false]) claimed;
  insert into analysis_jobs (user_id, device_ids, time_range_start, time_range_end, test_names, status)
    select '${USER}', array['${DEVICE}'], '2024-01-01', '2024-01-02', array['frequency'], status
    from unnest(enum_range(null::analysis_job_status)) status;
  insert into analysis_results (job_id, test_name, summary, metrics)
    select id, 'frequency', '{"p": 0.5}', '{}' from analysis_jobs where status = 'completed';
  insert into chunk_analysis (chunk_id, tests, metrics) select id, '{"t": 1}', '{}' from storj_chunks;
  insert into device_timeslice_stats (device_id, bucket_start, bucket_end, sample_count, byte_count, entropy_estimate)
    select '${DEVICE}', '2024-01-01', '2024-01-02', 1, 4, 7.9 from generate_series(1, 2);
  insert into coherence_stats (bucket_start, bucket_end, device_a_id, device_b_id, correlation_metrics)
    select '2024-01-01', '2024-01-02', '${DEVICE}', '${OTHER_DEVICE}', '{"r": 0.01}' from generate_series(1, 2);
  insert into maintenance_log (operation_type, target_table, rows_affected) values ('vacuum', 'entropy_samples', 3);`

let database: TestDatabase
let client: Client
beforeEach(async () => {
  database = await createDatabase('bare')
  client = await connect(database)
})
afterEach(async () => {
  await client.end()
  await database.drop()
})

async function connect({ url }: TestDatabase): Promise<Client> {
  const opened = new Client({ connectionString: url })
  await opened.connect()
  return opened
}

const run = () => migrate({ databaseUrl: database.url })

async function column<T>(sql: string, values: unknown[] = []): Promise<T[]> {
  return (await client.query({ text: sql, values, rowMode: 'array' })).rows.map(([value]) => value)
}

const OURS = `(select oid from pg_namespace where nspname in ('public', 'entropy_partitions', 'app_private', 'supabase_migrations'))`
const RELATIONS = `(select oid from pg_class where relnamespace in ${OURS} and relkind in ('r', 'p', 'v', 'm', 'S', 'i', 'I'))`

/** Everything that a migration can change, as sorted lines. */
async function dumpCatalog(): Promise<string[]> {
  return await column(`
    select concat_ws(' ', 'schema', nspname, nspacl::text) from pg_namespace where oid in ${OURS}
    union all select concat_ws(' ', 'relation', oid::regclass, relkind, reloptions, relacl::text, relrowsecurity,
      relforcerowsecurity, pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid), obj_description(oid, 'pg_class'))
      from pg_class where oid in ${RELATIONS}
    union all select concat_ws(' ', 'column', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
      attgenerated, attacl::text, pg_get_expr(adbin, adrelid))
      from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
      where attrelid in ${RELATIONS} and attnum > 0 and not attisdropped
    union all select concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated)
      from pg_constraint where connamespace in ${OURS}
    union all select concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisvalid)
      from pg_index where indrelid in ${RELATIONS}
    union all select concat_ws(' ', 'trigger', pg_get_triggerdef(oid), tgenabled) from pg_trigger where not tgisinternal
    union all select concat_ws(' ', 'policy', p::text) from pg_policies p
    union all select concat_ws(' ', 'view', oid::regclass, pg_get_viewdef(oid))
      from pg_class where oid in ${RELATIONS} and relkind in ('v', 'm')
    union all select concat_ws(' ', 'function', pg_get_functiondef(oid), proacl::text)
      from pg_proc where pronamespace in ${OURS} and prokind = 'f'
    union all select concat_ws(' ', 'enum', enumtypid::regtype, enumlabel, enumsortorder) from pg_enum
    union all select concat_ws(' ', 'extension', extname) from pg_extension
    order by 1`)
}

/** What other programs rely on by name: the columns with their types, enums, indexes, triggers, policies, functions. */
async function readContract(): Promise<string[]> {
  return await column(`
    select concat_ws(' ', 'column', c.relname, attname, format_type(atttypid, atttypmod), case when attnotnull then 'not null' end,
      case when atthasdef then 'has a default' end)
      from pg_attribute join pg_class c on c.oid = attrelid
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and attnum > 0 and not attisdropped
    union all select concat_ws(' ', 'enum', enumtypid::regtype, string_agg(enumlabel, ',' order by enumsortorder))
      from pg_enum where enumtypid::regtype::text !~ 'pgboss' group by enumtypid
    union all select concat_ws(' ', 'index', tablename, indexname) from pg_indexes
      where schemaname = 'public' and indexname like 'idx\\_%'
    union all select concat_ws(' ', 'trigger', tgrelid::regclass, tgname, tgfoid::regproc)
      from pg_trigger where not tgisinternal
    union all select concat_ws(' ', 'policy', tablename, policyname, cmd, roles) from pg_policies where schemaname = 'public'
    union all select concat_ws(' ', 'row security', relname) from pg_class
      where relnamespace = 'public'::regnamespace and relrowsecurity
    union all select concat_ws(' ', 'foreign key', conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint
      where contype = 'f' and connamespace = 'public'::regnamespace
    union all select concat_ws(' ', 'unique', conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint
      where contype in ('p', 'u') and connamespace = 'public'::regnamespace and conrelid <> 'public.entropy_samples'::regclass
    union all select concat_ws(' ', 'function', oid::regprocedure, prorettype::regtype, prosecdef)
      from pg_proc where pronamespace = 'public'::regnamespace
    order by 1`)
}

/** What has changed of the seed's contract, on purpose: a sample's profile is one of its device; it is stamped with a chunk that has no row yet. */
function asItIsNow(contract: readonly string[]): string[] {
  return contract
    .filter((line) => !line.includes('FOREIGN KEY (storj_chunk_id)'))
    .map((line) =>
      line
        .replace(
          'KEY (profile_id) REFERENCES sampling_profiles(id)',
          'KEY (device_id, profile_id) REFERENCES sampling_profiles(device_id, id)',
        )
        .replace('entropy_samples storj_chunk_id uuid', 'entropy_samples storj_chunk_id uuid has a default'),
    )
}

/** All rows of the seed's tables with the given columns (all, if none are given), each as sorted JSON texts by table. */
async function readRows(columns?: Record<string, string[]>): Promise<Record<string, string[]>> {
  const tables = columns ? Object.keys(columns) : await listSeedTables()
  const rows: Record<string, string[]> = {}
  for (const table of tables) {
    const names = columns?.[table].map((name) => `"${name}"`).join(', ') ?? '*'
    rows[table] = await column(`select to_jsonb(t)::text from (select ${names} from public.${table}) t order by 1`)
  }
  return rows
}

async function listSeedTables(): Promise<string[]> {
  return await column(
    `select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1`,
  )
}

async function listColumns(): Promise<Record<string, string[]>> {
  const { rows } = await client.query<{ relname: string; names: string[] }>(
    `select relname, array_agg(attname::text order by attnum) as names from pg_class join pg_attribute on attrelid = pg_class.oid
     where relnamespace = 'public'::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped group by 1`,
  )
  return Object.fromEntries(rows.map(({ relname, names }) => [relname, names]))
}

const insertSample = (timestamp: string, values = `'${DEVICE}', '${PROFILE}', 1, 1, '\\x00'`) =>
  column<string>(
    `insert into public.entropy_samples (device_id, profile_id, sequence, byte_length, sample_data, "timestamp")
     values (${values}, ${timestamp}) returning tableoid::regclass`,
  )

describe('an empty database', () => {
  it('has everything pending, then nothing', async () => {
    const options = { databaseUrl: database.url }
    expect((await pendingMigrations(options)).map((migration) => migration.version)).toEqual(ALL)
    expect(await column(`select to_regnamespace('supabase_migrations')`)).toEqual([null])
    const lines: string[] = []
    expect(await migrate({ ...options, log: (line) => lines.push(line) })).toEqual({ applied: ALL })
    expect(lines).toEqual(listMigrations().map(({ version, name }) => `migration ${version} ${name}`))
    expect(await pendingMigrations(options)).toEqual([])
  })

  it('gets every name of the public contract', async () => {
    await client.query(SEED)
    const contract = await readContract()
    await client.end()
    await database.drop()
    database = await createDatabase('bare')
    client = await connect(database)
    await run()
    expect(contract.length).toBeGreaterThan(150)
    expect(await readContract()).toEqual(expect.arrayContaining(asItIsNow(contract)))
  })

  it('gets partitions for today and the days that follow', async () => {
    await client.query(`insert into auth.users (id, email) values ('${USER}', 'a@example.org')`)
    await run()
    expect(
      await column('select count(*)::int from pg_inherits where inhparent = $1::regclass', ['entropy_samples']),
    ).toEqual([9])
    await client.query(
      `insert into devices (id, user_id, name, device_token) values ('${DEVICE}', '${USER}', 'd', 'a token of a test')`,
    )
    await client.query(
      `insert into sampling_profiles (id, device_id, label, sample_rate_hz, sample_size_bytes) values ($1, $2, 'p', 1, 1)`,
      [PROFILE, DEVICE],
    )
    const [today, future] = [await insertSample('now()'), await insertSample(`now() + interval '1 year'`)]
    expect(today[0]).toMatch(/^entropy_partitions\.entropy_samples_\d{8}$/)
    expect(future).toEqual(['entropy_partitions.entropy_samples_default'])
  })

  it('gives those who signed up before a profile', async () => {
    await client.query(`insert into auth.users (id, email) values ('${USER}', 'a@example.org')`)
    await client.query('insert into auth.users (id) values ($1)', [DEVICE])
    await run()
    expect((await client.query('select id, email, role from profiles order by id')).rows).toEqual([
      { id: USER, email: 'a@example.org', role: 'user' },
      { id: DEVICE, email: '', role: 'user' },
    ])
  })
})

describe('a database that has the seed schema', () => {
  let before: Record<string, string[]>
  let columns: Record<string, string[]>
  let contract: string[]
  beforeEach(async () => {
    await client.query(SEED)
    contract = await readContract()
    await client.query(ROWS)
    before = await readRows()
    columns = await listColumns()
  })

  it('keeps every row of every table, and every name', async () => {
    await run()
    expect(Object.keys(before)).toHaveLength(11)
    expect(Object.values(before).filter((rows) => rows.length === 0)).toEqual([])
    expect(await readRows(columns)).toEqual(before)
    expect(await readContract()).toEqual(expect.arrayContaining(asItIsNow(contract)))
  })

  it('adopts the samples as a partition, those of days to come as strays', async () => {
    await run()
    const { rows } = await client.query(
      `select tableoid::regclass::text as partition, "timestamp" > now() + interval '2 days' as future, count(*)::int
       from entropy_samples group by 1, 2 order by 1`,
    )
    expect(rows).toEqual([
      { partition: 'entropy_partitions.entropy_samples_default', future: true, count: 4 },
      { partition: 'entropy_partitions.entropy_samples_legacy', future: false, count: 10 },
    ])
    expect(
      await column(
        `select pg_get_constraintdef(oid) from pg_constraint where contype = 'p' and conrelid = any ($1::regclass[])`,
        [
          [
            'entropy_samples',
            'entropy_partitions.entropy_samples_legacy',
            'entropy_partitions.entropy_samples_default',
          ],
        ],
      ),
    ).toEqual(Array(3).fill('PRIMARY KEY (id, "timestamp")'))
    const plan = await column<string>(`explain select * from entropy_samples where "timestamp" < '2020-01-01'`)
    expect(plan.join('\n')).toContain('entropy_samples_legacy')
    expect(plan.join('\n')).not.toContain('entropy_samples_default')
  })

  it('goes on taking samples, of today and of the days that follow', async () => {
    await run()
    expect(await insertSample('now()')).toEqual(['entropy_partitions.entropy_samples_legacy'])
    const stray = await column<string>(`select to_char(now() at time zone 'utc' + interval '3 days', 'YYYYMMDD')`)
    const next = await insertSample(`now() + interval '1 day'`)
    expect(next[0]).toMatch(/^entropy_partitions\.entropy_samples_\d{8}$/)
    // Strays wait in the way of that day's partition.
    expect(await column(`select to_regclass('entropy_partitions.entropy_samples_' || $1)`, stray)).toEqual([null])
    expect(await insertSample(`now() + interval '3 days'`)).toEqual(['entropy_partitions.entropy_samples_default'])
    expect(await column('select note from entropy_samples where sequence = 1 and byte_length = 1')).toEqual(
      Array(3).fill('none'),
    )
  })

  it('guards the samples as before: foreign keys, deletion of a device and of a chunk', async () => {
    await run()
    await expect(insertSample('now()', `'${USER}', '${PROFILE}', 1, 1, '\\x00'`)).rejects.toThrow('device_id_fkey')
    await expect(insertSample('now()', `'${DEVICE}', '${USER}', 1, 1, '\\x00'`)).rejects.toThrow('profile_id_fkey')
    await client.query(`delete from storj_chunks where status = 'uploaded'`)
    expect(await column('select distinct storj_chunk_id from entropy_samples')).toEqual([null])
    await client.query('delete from devices where id = $1', [DEVICE])
    expect(await column('select count(*)::int from entropy_samples')).toEqual([0])
  })

  it('refuses timestamps that could not leave in a file', async () => {
    await run()
    for (const timestamp of [`'infinity'`, `'-infinity'`, `'10000-01-01 00:00:00+00'`, `'0001-01-01 00:00:00+00 BC'`]) {
      await expect(insertSample(timestamp)).rejects.toThrow('entropy_samples_timestamp_range')
    }
  })

  it('takes over what its owners put on entropy_samples', async () => {
    await client.query(`
      create table labels (id int primary key);
      alter table entropy_samples add column label int references labels (id), add constraint small check (byte_length < 9999);
      create index by_label on entropy_samples (label) where label > 0;
      create policy "Devices may write" on entropy_samples for insert to service_role with check (entropy_samples.byte_length < 99);
      create policy "Nothing secret" on entropy_samples as restrictive using (
        not exists (select 1 from devices d where d.id = entropy_samples.device_id and d.name = 'secret'));
      grant select on entropy_samples to pg_monitor with grant option;
      comment on table entropy_samples is 'bytes';`)
    await run()
    await client.query('insert into labels values (1)')
    await expect(client.query('update entropy_samples set label = 2')).rejects.toThrow('label_fkey')
    const tooLong = `'${DEVICE}', '${PROFILE}', 1, 9999, '\\x00'`
    await expect(insertSample(`now() + interval '1 day'`, tooLong)).rejects.toThrow('small')
    expect(
      await column(`select indexdef from pg_indexes where indexname = 'by_label' and schemaname = 'public'`),
    ).toEqual(['CREATE INDEX by_label ON ONLY public.entropy_samples USING btree (label) WHERE (label > 0)'])
    const { rows } = await client.query(
      `select policyname, permissive, roles::text, cmd, qual, with_check from pg_policies where tablename = 'entropy_samples'
       order by policyname`,
    )
    expect(rows).toMatchObject([
      { policyname: 'Devices may write', permissive: 'PERMISSIVE', roles: '{service_role}', cmd: 'INSERT', qual: null },
      { policyname: 'Nothing secret', permissive: 'RESTRICTIVE', roles: '{public}', cmd: 'ALL', with_check: null },
      { policyname: 'Users can view own entropy samples', permissive: 'PERMISSIVE', roles: '{public}', cmd: 'SELECT' },
    ])
    expect(rows[0].with_check).toContain('< 99')
    expect(rows[1].qual).toContain('d.id = entropy_samples.device_id')
    expect(
      await column(`select has_table_privilege('pg_monitor', 'entropy_samples', 'select with grant option')`),
    ).toEqual([true])
    expect(await column(`select obj_description('entropy_samples'::regclass)`)).toEqual(['bytes'])
  })

  it('keeps functions that do more than the seed schema, and takes the search path of the others in hand', async () => {
    await client.query(`
      alter table profiles add column nickname text;
      create or replace function handle_new_user() returns trigger language plpgsql security definer as $$
      begin insert into public.profiles (id, email, nickname) values (new.id, new.email, 'new'); return new; end $$`)
    await run()
    await client.query('insert into auth.users (id, email) values ($1, $2)', [DEVICE, 'b@example.org'])
    expect(await column('select nickname from profiles where id = $1', [DEVICE])).toEqual(['new'])
    expect(await column(`select proconfig from pg_proc where proname = 'update_updated_at_column'`)).toEqual([
      ['search_path=""'],
    ])
    expect(await column(`select has_column_privilege('authenticated', 'profiles', 'nickname', 'update')`)).toEqual([
      true,
    ])
  })

  it('leaves tables, functions and types of others alone', async () => {
    await client.query(`
      create schema shop; create table public.orders (id serial primary key, device_id uuid references devices (id));
      create function public.total() returns int language sql as 'select 1'; create table shop.devices (id int);
      create view public.my_devices as select id, name from public.devices;
      insert into orders (device_id) values ('${DEVICE}');`)
    const names = /orders|total|my_devices|shop/
    const foreign = (await dumpCatalog()).filter((line) => names.test(line))
    await run()
    expect(foreign.length).toBeGreaterThan(5)
    expect((await dumpCatalog()).filter((line) => names.test(line))).toEqual(foreign)
    expect(await column('select device_id from orders')).toEqual([DEVICE])
  })

  it('has a job sent for what was queued, and for no chunk of before', async () => {
    await run()
    await installQueues({ databaseUrl: database.url })
    expect(await column('select distinct format_version from storj_chunks')).toEqual([null])
    expect(await listStrandedUploads(client)).toEqual([])
    expect(await listStrandedTests(client)).toEqual([])
    expect((await listStrandedAnalyses(client)).map(({ id }) => id).toSorted()).toEqual(
      await column(`select id from analysis_jobs where status in ('queued', 'running') order by id::text`),
    )
  })
})

describe('a second run', () => {
  it.each(['empty', 'seeded'])('has no effect (%s)', async (kind) => {
    if (kind === 'seeded') await client.query(SEED + ROWS)
    await run()
    const catalog = await dumpCatalog()
    expect(catalog.length).toBeGreaterThan(400)
    expect(await run()).toEqual({ applied: [] })
    expect(await dumpCatalog()).toEqual(catalog)
  })

  it.each(['empty', 'seeded'])('has no effect where the record of the first was lost (%s)', async (kind) => {
    if (kind === 'seeded') await client.query(SEED + ROWS)
    await run()
    const catalog = await dumpCatalog()
    await client.query('delete from supabase_migrations.schema_migrations')
    expect(await run()).toEqual({ applied: ALL })
    expect(await dumpCatalog()).toEqual(catalog)
  })

  it('at the same time waits for the first and has nothing to do', async () => {
    await client.query(SEED + ROWS)
    const outcomes = await Promise.all([run(), run(), run()])
    expect(outcomes.map(({ applied }) => applied.length).toSorted((a, b) => a - b)).toEqual([0, 0, ALL.length])
    expect(await column('select version from supabase_migrations.schema_migrations order by 1')).toEqual(ALL)
  })

  it('does not mind what others have recorded', async () => {
    await run()
    await client.query(`insert into supabase_migrations.schema_migrations (version) values ('20200101000000')`)
    await client.query(`update supabase_migrations.schema_migrations set statements = null where version = $1`, [
      ALL[0],
    ])
    expect(await run()).toEqual({ applied: [] })
  })
})

describe('an edited file', () => {
  const edited = () => {
    const [first, ...others] = listMigrations()
    return { databaseUrl: database.url, migrations: [{ ...first, sql: `${first.sql}\nselect 1;` }, ...others] }
  }

  it('is refused, by migrate and by --check', async () => {
    await run()
    const refusal = {
      code: 'MIGRATION_EDITED',
      message: expect.stringMatching(/20261120000001_seed_schema was applied .* write the change as a new migration/),
    }
    await expect(migrate(edited())).rejects.toMatchObject(refusal)
    await expect(pendingMigrations(edited())).rejects.toMatchObject(refusal)
  })

  it('holds up the new files as well', async () => {
    await run()
    const options = edited()
    options.migrations.push({ version: '29990101000000', name: 'later', sql: 'create table public.later ()' })
    await expect(migrate(options)).rejects.toMatchObject({ code: 'MIGRATION_EDITED' })
    expect(await column(`select to_regclass('public.later')`)).toEqual([null])
  })

  it('is not one whose statements were stored apart, as the Supabase CLI does', async () => {
    await run()
    await client.query(
      `update supabase_migrations.schema_migrations set statements = string_to_array(statements[1], E';\\n\\n')`,
    )
    expect(await pendingMigrations({ databaseUrl: database.url })).toEqual([])
  })
})

describe('a migration that fails', () => {
  it('is rolled back as a whole; those before it stay, those after it wait', async () => {
    const table = (name: string, more = '') => `create table public.${name} (id int primary key);${more}`
    const migrations = [
      { version: '20000101000001', name: 'one', sql: table('one') },
      { version: '20000101000002', name: 'two', sql: table('two', 'insert into public.one values (1); select 1/0;') },
      { version: '20000101000003', name: 'three', sql: table('three') },
    ]
    await expect(migrate({ databaseUrl: database.url, migrations })).rejects.toMatchObject({
      code: 'MIGRATION_BLOCKED',
      message: 'migration 20000101000002_two was rolled back: division by zero.',
    })
    expect(await column('select id from public.one')).toEqual([])
    expect(await column(`select to_regclass('public.two')`)).toEqual([null])
    expect(await column('select version from supabase_migrations.schema_migrations')).toEqual(['20000101000001'])
    migrations[1] = { ...migrations[1], sql: table('two') }
    expect(await migrate({ databaseUrl: database.url, migrations })).toEqual({
      applied: ['20000101000002', '20000101000003'],
    })
  })

  it('is rolled back as well when only its record fails', async () => {
    const version = '20000101000001'
    const migrations = ['one', 'two'].map((name) => ({ version, name, sql: `create table public.${name} ()` }))
    await expect(migrate({ databaseUrl: database.url, migrations })).rejects.toThrow(
      '20000101000001_two was rolled back',
    )
    expect(await column(`select to_regclass('public.two')`)).toEqual([null])
    expect(await column(`select to_regclass('public.one') is not null`)).toEqual([true])
  })

  it('lets the next run in: no lock stays behind', async () => {
    const bad = [{ version: '20000101000001', name: 'bad', sql: 'select nonsense' }]
    await expect(migrate({ databaseUrl: database.url, migrations: bad })).rejects.toMatchObject({
      code: 'MIGRATION_BLOCKED',
    })
    expect(await run()).toEqual({ applied: ALL })
  })
})

describe('what would keep reading or guarding the old samples alone stops the migration', () => {
  const cases: [string, string, string][] = [
    ['a view', 'create view recent as select * from entropy_samples', 'view recent'],
    [
      'a materialized view',
      'create materialized view m as select count(*) from entropy_samples',
      'materialized view m',
    ],
    [
      'a trigger',
      'create trigger mine before insert on entropy_samples for each row execute function update_updated_at_column()',
      'trigger mine on table entropy_samples',
    ],
    ['a rule', 'create rule quiet as on delete to entropy_samples do instead nothing', 'rule quiet of entropy_samples'],
    [
      'a foreign key',
      'create table notes (sample uuid references entropy_samples (id))',
      'foreign key notes_sample_fkey of notes',
    ],
    [
      'a function over its row type',
      `create function latest() returns setof entropy_samples language sql as 'select * from entropy_samples'`,
      'function latest()',
    ],
    [
      'a policy elsewhere',
      'create policy p on devices using (exists (select 1 from entropy_samples s where s.device_id = devices.id))',
      'policy p on table devices',
    ],
    [
      'a publication',
      'alter publication supabase_realtime add table entropy_samples',
      'publication of table entropy_samples in publication supabase_realtime',
    ],
    [
      'a unique key',
      'alter table entropy_samples add constraint once unique (device_id, sequence)',
      'unique index once',
    ],
    ['a serial column', 'alter table entropy_samples add column n serial', 'column n, filled by a sequence'],
    ['a child table', 'create table child () inherits (entropy_samples)', 'table child'],
  ]
  it.each(cases)('%s', async (_what, sql, name) => {
    await client.query(SEED)
    await client.query(sql)
    const [first] = listMigrations()
    await migrate({ databaseUrl: database.url, migrations: [first] })
    const catalog = await dumpCatalog()
    const error = await run().catch((caught: Error) => caught)
    expect(error).toMatchObject({ code: 'MIGRATION_BLOCKED' })
    expect((error as Error).message).toContain(
      `20261120000002_partition_entropy_samples was rolled back: entropy_samples cannot be partitioned while it has: ${name}`,
    )
    expect((error as Error).message).toMatch(
      /Drop or move these, run the migration, and create them again on the partitioned table\.$/,
    )
    expect(await dumpCatalog()).toEqual(catalog)
  })

  it('several at once, all named; and once they are gone it runs', async () => {
    await client.query(SEED)
    await client.query(ROWS)
    const columns = await listColumns()
    const before = await readRows()
    await client.query(`create view recent as select * from entropy_samples; ${cases[2][1]}`)
    await expect(run()).rejects.toThrow('while it has: trigger mine on table entropy_samples, view recent.')
    await client.query('drop view recent; drop trigger mine on entropy_samples')
    await run()
    expect(await readRows(columns)).toEqual(before)
  })

  it('rows whose time is infinite', async () => {
    await client.query(SEED + ROWS)
    await insertSample(`'infinity'`)
    await expect(run()).rejects.toThrow('rows with a timestamp outside the years 1 to 9999')
    await client.query(`delete from entropy_samples where "timestamp" = 'infinity'`)
    expect((await run()).applied).toEqual(ALL.slice(1))
  })

  it('a sample with the sampling profile of another device', async () => {
    await client.query(SEED + ROWS)
    const [device] = await column<string>(
      `insert into devices (user_id, name, device_token) select user_id, 'other', gen_random_uuid() from devices limit 1 returning id`,
    )
    await insertSample('now()', `'${device}', '${PROFILE}', 1, 1, '\\x00'`)
    await expect(run()).rejects.toThrow('1 rows of public.entropy_samples have a sampling profile of another device')
    await client.query('delete from entropy_samples where device_id = $1', [device])
    await run()
    await expect(insertSample('now()', `'${device}', '${PROFILE}', 1, 1, '\\x00'`)).rejects.toThrow(/foreign key/)
  })

  it('a view or a partitioning of another kind in its place', async () => {
    await client.query(SEED)
    await client.query('drop table entropy_samples cascade')
    await client.query('create view entropy_samples as select 1 as id')
    await expect(run()).rejects.toThrow(/neither a plain table nor one partitioned .* Move its rows/)
    await client.query('drop view entropy_samples; create table entropy_samples (id uuid) partition by hash (id)')
    await expect(run()).rejects.toThrow(/neither a plain table nor one partitioned/)
  })
})

it('a database whose queues are not installed yet takes analysis jobs all the same', async () => {
  await run()
  await client.query('insert into auth.users (id, email) values ($1, $2)', [USER, 'a@example.org'])
  await client.query(
    `insert into analysis_jobs (id, user_id, time_range_start, time_range_end, test_names)
     values ($1, $2, '2024-01-01', '2024-01-02', '{frequency}')`,
    [randomUUID(), USER],
  )
  expect(await column('select status from analysis_jobs')).toEqual(['queued'])
})

describe('what a claim has frozen', () => {
  const STRICTER_DOORS = '20261129000013'
  const MEMBERS = { [`${DEVICE}/${PROFILE}`]: 2 }
  beforeEach(async () => {
    await client.query(SEED + ROWS)
    await migrate({
      databaseUrl: database.url,
      migrations: listMigrations().filter(({ version }) => version < STRICTER_DOORS),
    })
    await client.query(`update storj_chunks set claimed = $1 where status = 'uploading'`, [MEMBERS])
  })

  it('moves out of storj_chunks, where users would read it', async () => {
    await run()
    expect(
      await column(
        'select members from app_private.chunk_claims join storj_chunks on id = chunk_id where status = $1',
        ['uploading'],
      ),
    ).toEqual([MEMBERS])
    expect(await column('select count(*)::int from app_private.chunk_claims')).toEqual([1])
    expect(Object.values(await listColumns()).flat()).not.toContain('claimed')
  })

  it('stays, and the migration says why, while a view of somebody shows it', async () => {
    await client.query('create view everything as select * from storj_chunks')
    await expect(run()).rejects.toThrow(/claimed of storj_chunks cannot be dropped while there is: view everything/)
    expect(await column('select count(*)::int from storj_chunks where claimed is not null')).toEqual([1])
    await client.query('drop view everything')
    await run()
    expect(await column('select members from app_private.chunk_claims')).toEqual([MEMBERS])
  })
})
