import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { applyShim } from '../../infra/supabase-shim.ts'
import { asUser, createDatabase, runAsUser, type TestDatabase } from '../harness/database.ts'

let database: TestDatabase
let client: Client

beforeAll(async () => {
  database = await createDatabase('bare')
  client = new Client({ connectionString: database.url })
  await client.connect()
})

afterAll(async () => {
  await client.end()
  await database.drop()
})

async function one<T>(sql: string, values: unknown[] = []): Promise<T> {
  return (await client.query(sql, values)).rows[0]
}

describe('the roles', () => {
  test('postgres has the attributes of hosted Supabase and is no superuser', async () => {
    expect(
      await one(
        `select rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls
           from pg_roles where rolname = current_user`,
      ),
    ).toEqual({
      rolsuper: false,
      rolinherit: true,
      rolcreaterole: true,
      rolcreatedb: true,
      rolcanlogin: true,
      rolreplication: true,
      rolbypassrls: true,
    })
  })

  test('of the API roles only service_role bypasses row security', async () => {
    const { rows } = await client.query(
      `select rolname, rolbypassrls, rolcanlogin, rolinherit from pg_roles
        where rolname in ('anon', 'authenticated', 'service_role', 'authenticator') order by rolname`,
    )
    expect(rows).toEqual([
      { rolname: 'anon', rolbypassrls: false, rolcanlogin: false, rolinherit: true },
      { rolname: 'authenticated', rolbypassrls: false, rolcanlogin: false, rolinherit: true },
      { rolname: 'authenticator', rolbypassrls: false, rolcanlogin: true, rolinherit: false },
      { rolname: 'service_role', rolbypassrls: true, rolcanlogin: false, rolinherit: true },
    ])
  })
})

describe('the database', () => {
  test('belongs to postgres, with schema public as Postgres 15 and later make it', async () => {
    expect(
      await one(
        `select pg_get_userbyid(d.datdba) as database, pg_get_userbyid(n.nspowner) as schema, d.datcollate, d.datlocale,
                pg_encoding_to_char(d.encoding) as encoding, current_setting('timezone') as timezone
           from pg_database d, pg_namespace n where d.datname = current_database() and n.nspname = 'public'`,
      ),
    ).toEqual({
      database: 'postgres',
      schema: 'pg_database_owner',
      datcollate: 'C',
      datlocale: 'C.UTF-8',
      encoding: 'UTF8',
      timezone: 'UTC',
    })
  })

  test('a clone finds extensions on its search path', async () => {
    expect(await one('show search_path')).toEqual({ search_path: '"$user", public, extensions' })
    expect(await one(`select length(gen_random_bytes(4)) as bytes, uuid_generate_v4() is not null as uuid`)).toEqual({
      bytes: 4,
      uuid: true,
    })
  })

  test('what postgres makes in public is granted to the API roles, row security aside', async () => {
    await client.query('create table public.things (id bigserial primary key)')
    await client.query('create function public.answer() returns int language sql as $$ select 42 $$')
    expect(
      await one(
        `select has_table_privilege('anon', 'public.things', 'insert') as "table",
                has_sequence_privilege('authenticated', 'public.things_id_seq', 'usage') as sequence,
                has_function_privilege('service_role', 'public.answer()', 'execute') as function`,
      ),
    ).toEqual({ table: true, sequence: true, function: true })
    await runAsUser(client, null, () => client.query('insert into public.things default values'), 'anon')
    await client.query('drop table public.things; drop function public.answer()')
  })

  test('has the empty publication supabase_realtime, which postgres may add tables to', async () => {
    await client.query('create table public.streamed (id int primary key)')
    await client.query('alter publication supabase_realtime add table public.streamed')
    await client.query('drop table public.streamed')
    expect(await one(`select puballtables from pg_publication where pubname = 'supabase_realtime'`)).toEqual({
      puballtables: false,
    })
  })
})

describe('the claims of a request', () => {
  const claims = `select auth.uid() as uid, auth.role() as role, auth.email() as email, auth.jwt() as jwt`

  test('are null outside a request', async () => {
    expect(await one(claims)).toEqual({ uid: null, role: null, email: null, jwt: null })
  })

  test('come from request.jwt.claims', async () => {
    const sub = randomUUID()
    await asUser(client, sub)
    expect(await one(`${claims}, current_user::text as "user"`)).toEqual({
      uid: sub,
      role: 'authenticated',
      email: null,
      jwt: { sub, role: 'authenticated' },
      user: 'authenticated',
    })
    await client.query('commit')
    expect(await one(`${claims}, current_user::text as "user"`)).toMatchObject({ uid: null, user: 'postgres' })
  })

  test('come from request.jwt.claim.* first', async () => {
    const first = randomUUID()
    await asUser(client, randomUUID())
    await client.query(
      `select set_config('request.jwt.claim.sub', $1, true), set_config('request.jwt.claim.role', 'anon', true),
              set_config('request.jwt.claim.email', 'a@example.org', true)`,
      [first],
    )
    expect(await one(claims)).toMatchObject({ uid: first, role: 'anon', email: 'a@example.org' })
    await client.query('rollback')
  })
})

describe('auth.users', () => {
  test('may be written, referenced and given triggers by postgres, and not owned', async () => {
    const id = randomUUID()
    await client.query(`insert into auth.users (id, email, created_at) values ($1, 'u@example.org', now())`, [id])
    await client.query('create table public.profiles (id uuid primary key references auth.users on delete cascade)')
    await client.query(
      `create function public.make_profile() returns trigger language plpgsql security definer as
       $$ begin insert into public.profiles values (new.id); return new; end $$`,
    )
    await client.query(
      'create trigger on_user after insert on auth.users for each row execute function public.make_profile()',
    )
    const other = randomUUID()
    await client.query('insert into auth.users (id) values ($1)', [other])
    expect(await one('select id from public.profiles')).toEqual({ id: other })
    await client.query('delete from auth.users')
    expect(await one('select count(*)::int as left from public.profiles')).toEqual({ left: 0 })
    await expect(client.query('alter table auth.users add column mine int')).rejects.toThrow('must be owner')
    await expect(client.query('create table auth.mine (id int)')).rejects.toThrow('permission denied')
  })

  test('is closed to the API roles', async () => {
    for (const role of ['anon', 'authenticated']) {
      await expect(runAsUser(client, null, () => client.query('select from auth.users'), role)).rejects.toThrow(
        'permission denied',
      )
    }
  })
})

describe('applying it', () => {
  test('again does nothing', async () => {
    expect(await applyShim(database.adminUrl)).toEqual({ applied: false })
  })

  test('where there is a schema auth leaves everything as it is', async () => {
    const admin = new Client({ connectionString: database.adminUrl })
    await admin.connect()
    const name = `foreign_${randomUUID().slice(0, 8)}`
    await admin.query(`create database ${name} template template0`)
    const adminUrl = database.adminUrl.replace(database.name, name)
    const foreign = new Client({ connectionString: adminUrl })
    await foreign.connect()
    await foreign.query('create schema auth')
    expect(await applyShim(adminUrl)).toEqual({ applied: false })
    const { rows } = await foreign.query(
      `select to_regnamespace('extensions') as extensions, to_regclass('auth.users') as users`,
    )
    expect(rows).toEqual([{ extensions: null, users: null }])
    await foreign.query('drop schema auth')
    expect(await applyShim(adminUrl)).toEqual({ applied: true })
    await foreign.end()
    await admin.query(`drop database ${name}`)
    await admin.end()
  })
})

test('many clones of one template at once do not collide', async () => {
  const clones = await Promise.all(Array.from({ length: 12 }, () => createDatabase('bare')))
  expect(new Set(clones.map(({ name }) => name)).size).toBe(12)
  await Promise.all(clones.map((clone) => clone.drop()))
})
