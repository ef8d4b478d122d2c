import type { Pool } from 'pg'
import { compareMigrations } from '../db/migrate.ts'
import { assertReachable, openPool, type Queryable } from '../db/pool.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import type { Config } from './config.ts'

type ComparedMigrations = Awaited<ReturnType<typeof compareMigrations>>

/**
 * The database that the environment names, which answers, and whose schema is the one that this build was written for, or with
 * `orNewer` a later one; the caller closes the pool. Throws DATABASE_UNREACHABLE, DATABASE_NOT_MIGRATED or QUEUE_VERSION.
 */
export async function openDatabase(
  config: Pick<Config, 'databaseUrl' | 'databaseCaCert' | 'workConcurrency'>,
  { poolSize, orNewer = false }: { poolSize?: number; orNewer?: boolean } = {},
): Promise<Pool> {
  const pool = openPool({
    databaseUrl: config.databaseUrl,
    caCert: config.databaseCaCert,
    // A worker holds one connection a job in hand, and one for the queue and its heartbeats.
    max: poolSize ?? config.workConcurrency + 1,
  })
  try {
    await assertReachable(pool, config.databaseUrl)
    const schema = await compareMigrations(pool)
    requireMigrated(schema)
    if (!orNewer) requireNoneNewer(schema)
    return pool
  } catch (error) {
    await pool.end()
    throw error
  }
}

function requireMigrated({ pending }: ComparedMigrations): void {
  if (pending === 0) return
  throw new CoherenceError(
    'DATABASE_NOT_MIGRATED',
    `the schema is missing or older than this build (pending migrations: ${pending}): run \`coherence migrate\`.`,
  )
}

/** Fails with QUEUE_VERSION if a newer build has migrated the schema: its workers do the work then. */
export async function assertNoneNewer(db: Queryable): Promise<void> {
  requireNoneNewer(await compareMigrations(db))
}

function requireNoneNewer({ newer }: ComparedMigrations): void {
  if (newer.length === 0) return
  throw new CoherenceError(
    'QUEUE_VERSION',
    `the schema is a newer build's: it has had ${newer.join(', ')}, which this build does not know. Use that build; this one leaves the work to it.`,
  )
}
