import { CoherenceError } from '../pipeline/errors.ts'
import { openClient, type PoolOptions, type Queryable } from './pool.ts'

/** What the schema needs of the server and of schemas that are not ours: a dump of ours lacks it, and a restore may lose it. */
interface Link {
  readonly name: string
  /** SQL of a boolean. */
  readonly missing: string
  readonly mend: string
  /** What to do where mending fails. */
  readonly advice: string
}

const FUNCTIONS_OF_DEVICES = [
  'public.insert_entropy_samples(uuid, uuid[], timestamptz[], bigint[], bytea[])',
  'public.insert_entropy_sample(uuid, uuid, bigint, bytea, timestamptz)',
]
const TABLES_OF_REALTIME = [
  'analysis_jobs',
  'analysis_results',
  'device_timeslice_stats',
  'network_stats',
  'sample_exports',
]
const quoted = (names: readonly string[]) => names.map((name) => `'${name}'`).join(', ')

const LINKS: readonly Link[] = [
  {
    name: 'the role device with its rights',
    missing: `not exists (
      select from pg_roles r where rolname = 'device' and pg_has_role('authenticator', r.oid, 'MEMBER')
        and has_schema_privilege(r.oid, 'public', 'USAGE')
        and (select bool_and(has_function_privilege(r.oid, f, 'EXECUTE')) from unnest(array[${quoted(FUNCTIONS_OF_DEVICES)}]) f))`,
    mend: `do $$ begin
        if not exists (select from pg_roles where rolname = 'device') then create role device nologin noinherit; end if;
        execute format('grant device to authenticator, %I', current_user);
      end $$;
      grant usage on schema public to device;
      grant execute on function ${FUNCTIONS_OF_DEVICES.join(', ')} to device`,
    advice: 'Create the role device as a superuser, and grant it to authenticator and postgres.',
  },
  {
    name: 'the key of profiles to auth.users',
    missing: `not exists (select from pg_constraint
      where conrelid = 'public.profiles'::regclass and confrelid = 'auth.users'::regclass and contype = 'f')`,
    mend: `alter table public.profiles add constraint profiles_id_fkey foreign key (id) references auth.users (id) on delete cascade`,
    advice: 'Profiles have users that auth.users lacks: restore these first (docs/backup.md), or delete the profiles.',
  },
  {
    name: 'the trigger of auth.users that makes profiles',
    missing: `not exists (select from pg_trigger
      where tgrelid = 'auth.users'::regclass and tgfoid = 'public.handle_new_user()'::regprocedure)`,
    mend: `create trigger on_auth_user_created after insert on auth.users for each row execute function public.handle_new_user()`,
    advice: 'Connect as postgres.',
  },
  {
    name: 'tables in the publication of Realtime',
    missing: `exists (
      select from pg_publication p, unnest(array[${quoted(TABLES_OF_REALTIME)}]) as wanted (name)
      where p.pubname = 'supabase_realtime' and not p.puballtables and not exists (
        select from pg_publication_tables t
        where t.pubname = p.pubname and t.schemaname = 'public' and t.tablename = wanted.name))`,
    mend: `do $$ declare wanted text; begin
        for wanted in select name from unnest(array[${quoted(TABLES_OF_REALTIME)}]) as tables (name)
          where not exists (select from pg_publication_tables t
            where t.pubname = 'supabase_realtime' and t.schemaname = 'public' and t.tablename = name)
        loop
          execute format('alter publication supabase_realtime add table public.%I', wanted);
        end loop;
      end $$`,
    advice: `Add them in the dashboard: ${TABLES_OF_REALTIME.join(', ')}.`,
  },
  {
    name: 'the rights on tables and functions (anon has some)',
    missing: `has_table_privilege('anon', 'public.entropy_samples', 'INSERT')
      or has_function_privilege('anon', '${FUNCTIONS_OF_DEVICES[0]}', 'EXECUTE')`,
    mend: `do $$ begin raise exception 'the project''s default rights were added to what was restored'; end $$`,
    advice: 'Restore the dump anew into an empty project by infra/backup/restore.sh, which keeps rights as they were.',
  },
]

/** The names of the links that are missing; none in a database that `migrate` has made and nobody has restored. */
export async function listMissingLinks(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ missing: boolean[] }>(
    `select array[${LINKS.map(({ missing }) => missing).join(', ')}] as missing`,
  )
  return LINKS.filter((_, place) => rows[0].missing[place]).map(({ name }) => name)
}

/** As `listMissingLinks`, of a database by its URL; none of one that has no schema yet. */
export async function findMissingLinks(options: PoolOptions): Promise<string[]> {
  const client = await openClient(options)
  try {
    const { rows } = await client.query(`select to_regclass('public.sample_exports') is not null as migrated`)
    return rows[0].migrated ? await listMissingLinks(client) : []
  } finally {
    await client.end()
  }
}

/** Makes the links that are missing, after `migrate`; their names. Throws MIGRATION_BLOCKED with what to do for one that cannot be made. */
export async function mendLinks(options: PoolOptions): Promise<string[]> {
  const client = await openClient({ ...options, applicationName: 'coherence migrate' })
  try {
    await client.query(`set statement_timeout = 0; set lock_timeout = '30s'`)
    const missing = await listMissingLinks(client)
    for (const { name, mend, advice } of LINKS.filter((link) => missing.includes(link.name))) {
      try {
        await client.query(mend)
      } catch (cause) {
        const { message } = cause as Error
        throw new CoherenceError('MIGRATION_BLOCKED', `${name} cannot be restored: ${message}. ${advice}`, { cause })
      }
    }
    return missing
  } finally {
    await client.end()
  }
}
