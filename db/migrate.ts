import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'
import { CoherenceError } from '../pipeline/errors.ts'
import { keepsSession } from './health.ts'
import { assertReachable, openClient, openPool, type Queryable } from './pool.ts'

export interface MigrateOptions {
  readonly databaseUrl: string
  readonly caCert?: string
  readonly log?: (line: string) => void
  /** Those of db/migrations when left out. */
  readonly migrations?: readonly Migration[]
}

export interface Migration {
  /** 14 digits, the order. */
  readonly version: string
  readonly name: string
  readonly sql: string
}

const LOCK_NOT_AVAILABLE = '55P03'
const DIRECTORY = new URL('./migrations/', import.meta.url)

/** The migration files in order, as the Supabase CLI names them: `<14 digits>_<name>.sql`. */
export function listMigrations(): Migration[] {
  return listFiles().map((file) => ({
    version: file.slice(0, 14),
    name: file.slice(15, -4),
    sql: readFileSync(new URL(file, DIRECTORY), 'utf8'),
  }))
}

function listFiles(): string[] {
  return readdirSync(fileURLToPath(DIRECTORY))
    .filter((file) => /^\d{14}_\w+\.sql$/.test(file))
    .toSorted()
}

/**
 * Brings the schema up to date, each file in its own transaction, and records it where the Supabase CLI does, so that
 * either may be used after the other. Needs a session (direct connection or session pooler): it holds an advisory lock,
 * which makes two at once safe; a transaction pooler is refused with MIGRATION_BLOCKED. Files that were applied and changed since are refused with MIGRATION_EDITED.
 */
export async function migrate(options: MigrateOptions): Promise<{ applied: string[] }> {
  await requireSession(options)
  const client = await openClient({ ...options, applicationName: 'coherence migrate' })
  const log = options.log ?? (() => {})
  try {
    // Adopting a large table takes longer than the two minutes that hosted Supabase gives a statement.
    await client.query('set statement_timeout = 0')
    await client.query(`select pg_advisory_lock(hashtext('coherence.migrate'))`)
    // Whoever waits for a table makes all others wait behind it: better to give up and be run again.
    await client.query(`set lock_timeout = '30s'`)
    await client.query('create schema if not exists supabase_migrations')
    await client.query(
      `create table if not exists supabase_migrations.schema_migrations
         (version text not null primary key, statements text[], name text)`,
    )
    const pending = await pendingOf(client, options.migrations)
    for (const migration of pending) {
      log(`migration ${migration.version} ${migration.name}`)
      await applyOne(client, migration)
    }
    return { applied: pending.map((migration) => migration.version) }
  } finally {
    await client.end()
  }
}

/** Behind a transaction pooler the lock would stay with a connection that others use next. */
async function requireSession(options: MigrateOptions): Promise<void> {
  const pool = openPool({ ...options, max: 2, applicationName: 'coherence migrate' })
  try {
    await assertReachable(pool, options.databaseUrl)
    if (await keepsSession(pool)) return
  } finally {
    await pool.end()
  }
  throw new CoherenceError(
    'MIGRATION_BLOCKED',
    'DATABASE_URL goes through a transaction pooler, which gives a migration no session of its own. For `coherence migrate` take the session pooler (port 5432 at Supabase) or the direct connection.',
  )
}

/** What `migrate` would run, in order, without running it. An empty database has everything pending. */
export async function pendingMigrations(options: MigrateOptions): Promise<Migration[]> {
  const client = await openClient({ ...options, applicationName: 'coherence migrate --check' })
  try {
    return await pendingOf(client, options.migrations)
  } finally {
    await client.end()
  }
}

/** Read once: every look of a worker asks for them. */
let knownVersions: readonly string[] | undefined

/** The versions of this build's migrations, in order. */
export function listVersions(): readonly string[] {
  return (knownVersions ??= listFiles().map((file) => file.slice(0, 14)))
}

/**
 * SQL for the migrations of builds newer than this one that the database has had; `known` stands for a text[] of the versions known
 * here. A project has migrations of its own in the same table: ours are told by their name, from the 15th on.
 */
export function newerMigrations(known: string): string {
  return `supabase_migrations.schema_migrations where name like 'coherence\\_%' and version <> all (${known}::text[])`
}

/**
 * How many of this build's migrations the database has not had, and which it has had that this build does not know. Whether those
 * it had were edited is for `migrate` to say.
 */
export async function compareMigrations(db: Queryable): Promise<{ pending: number; newer: string[] }> {
  const versions = listVersions()
  if (!(await hasRecord(db))) return { pending: versions.length, newer: [] }
  const { rows } = await db.query<{ pending: number; newer: string[] }>(
    `select array(select version || '_' || name from ${newerMigrations('$1')} order by 1) as newer,
       (select count(*)::int from unnest($1::text[]) as version
        where version not in (select version from supabase_migrations.schema_migrations)) as pending`,
    [versions],
  )
  return rows[0]
}

async function pendingOf(client: pg.Client, migrations: readonly Migration[] = listMigrations()): Promise<Migration[]> {
  if (!(await hasRecord(client))) return [...migrations]
  const { rows } = await client.query<{ version: string; statements: string[] | null }>(
    'select version, statements from supabase_migrations.schema_migrations',
  )
  const applied = new Map(rows.map((row) => [row.version, row.statements]))
  return migrations.filter((migration) => {
    if (!applied.has(migration.version)) return true
    const statements = applied.get(migration.version)
    if (statements && statements.length > 0 && essence(statements.join(';')) !== essence(migration.sql)) {
      throw new CoherenceError(
        'MIGRATION_EDITED',
        `migration ${migration.version}_${migration.name} was applied and its file has changed since. ` +
          'Put the file back as it was and write the change as a new migration.',
      )
    }
    return false
  })
}

async function hasRecord(db: Queryable): Promise<boolean> {
  const { rows } = await db.query(`select to_regclass('supabase_migrations.schema_migrations') is not null as exists`)
  return rows[0].exists
}

/** The text without white space and semicolons: the Supabase CLI stores it split into statements, we store it whole. */
function essence(sql: string): string {
  return sql.replaceAll(/[\s;]+/g, '')
}

async function applyOne(client: pg.Client, migration: Migration): Promise<void> {
  try {
    await client.query('begin')
    await client.query(migration.sql)
    await client.query(
      'insert into supabase_migrations.schema_migrations (version, name, statements) values ($1, $2, $3)',
      [migration.version, migration.name, [migration.sql]],
    )
    await client.query('commit')
  } catch (cause) {
    await client.query('rollback').catch(() => {})
    const { message, hint, code } = cause as { message: string; hint?: string; code?: string }
    const advice = code === LOCK_NOT_AVAILABLE ? 'Another session uses the table: end it, or try again later.' : hint
    throw new CoherenceError(
      'MIGRATION_BLOCKED',
      `migration ${migration.version}_${migration.name} was rolled back: ${message}.${advice ? ` ${advice}` : ''}`,
      { cause },
    )
  }
}
