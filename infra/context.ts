import type { Logger } from 'pino'
import { compareMigrations } from '../db/migrate.ts'
import { assertReachable, closePool, openPool, type Queryable } from '../db/pool.ts'
import { startBoss } from '../jobs/boss.ts'
import { openBufferPool } from '../jobs/buffer-pool.ts'
import type { JobContext } from '../jobs/context.ts'
import { oneByOne } from '../jobs/one-by-one.ts'
import { NO_SPAN, NO_TELEMETRY, type Telemetry } from '../jobs/telemetry.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import type { Config } from './config.ts'
import { analysisMemory, memoryLimit } from './memory.ts'
import { openStoreAt, storeCache } from './stores.ts'
import { libraryVersion } from './version.ts'

type ComparedMigrations = Awaited<ReturnType<typeof compareMigrations>>

export interface OpenContext {
  readonly context: JobContext
  readonly close: () => Promise<void>
}

/** Opens what the jobs need: pool, queues, store. Throws the errors that say what is missing. */
export async function openContext(
  config: Config,
  log: Logger,
  options: {
    poolSize?: number
    monitorIntervalSeconds?: number
    checkpoint?: JobContext['checkpoint']
    telemetry?: Telemetry
  } = {},
): Promise<OpenContext> {
  const pool = openPool({
    databaseUrl: config.databaseUrl,
    caCert: config.databaseCaCert,
    // A worker holds one connection a job in hand, and one for the queue and its heartbeats.
    max: options.poolSize ?? config.workConcurrency + 1,
  })
  try {
    await assertReachable(pool, config.databaseUrl)
    const schema = await compareMigrations(pool)
    requireMigrated(schema)
    requireNoneNewer(schema)
    const storeOf = storeCache(config)
    const store = await storeOf({ backend: config.storageDriver, bucket: config.storageBucket })
    const boss = await startBoss(pool, {
      monitorIntervalSeconds: options.monitorIntervalSeconds,
      onError: (error) => log.warn({ err: error }, 'pg-boss'),
    })
    const context: JobContext = {
      pool,
      boss,
      store,
      storeOf,
      mirror: config.mirror,
      settings: {
        chunkTargetBytes: config.chunkTargetBytes,
        chunkMaxAgeSeconds: config.chunkMaxAgeSeconds,
        retentionDays: config.retentionDays,
        libraryVersion: libraryVersion(),
        sweepDeletes: config.sweepDeletes,
        pairsMaxDevices: config.pairsMaxDevices,
        referenceDays: config.referenceDays,
        analysisMemoryBytes: analysisMemory(memoryLimit(config)),
      },
      buffers: openBufferPool(),
      readOneByOne: oneByOne(),
      log,
      telemetry: options.telemetry ?? NO_TELEMETRY,
      span: NO_SPAN,
      checkpoint: options.checkpoint ?? (() => {}),
    }
    const close = async () => {
      await boss.stop({ graceful: false, close: false }).catch(() => {})
      await closePool(pool)
    }
    return { context, close }
  } catch (error) {
    await pool.end()
    throw error
  }
}

/** Fails with DATABASE_NOT_MIGRATED unless the schema is the one that this build was written for, or a later one. */
export async function assertMigrated(db: Queryable): Promise<void> {
  requireMigrated(await compareMigrations(db))
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

/** The store that new objects go to. `create` makes the local folder or Supabase bucket that is missing. */
export async function openStore(config: Config, options: { create?: boolean } = {}): Promise<ObjectStore> {
  return await openStoreAt(config, { backend: config.storageDriver, bucket: config.storageBucket }, options)
}
