import type { Pool } from 'pg'
import type { Logger } from 'pino'
import { closePool } from '../db/pool.ts'
import { startBoss } from '../jobs/boss.ts'
import { openBufferPool } from '../jobs/buffer-pool.ts'
import type { JobContext } from '../jobs/context.ts'
import { oneByOne } from '../jobs/one-by-one.ts'
import { NO_SPAN, NO_TELEMETRY, type Telemetry } from '../jobs/telemetry.ts'
import type { Config } from './config.ts'
import { openDatabase } from './database.ts'
import { analysisMemory, memoryLimit } from './memory.ts'
import { storeCache } from './stores.ts'
import { libraryVersion } from './version.ts'

export interface OpenContext {
  readonly context: JobContext
  readonly close: () => Promise<void>
}

interface ContextOptions {
  readonly monitorIntervalSeconds?: number
  readonly checkpoint?: JobContext['checkpoint']
  readonly telemetry?: Telemetry
}

/** Opens what the jobs need: database, queues, store. Throws the errors that say what is missing. */
export async function openContext(
  config: Config,
  log: Logger,
  { poolSize, ...options }: ContextOptions & { poolSize?: number } = {},
): Promise<OpenContext> {
  const pool = await openDatabase(config, { poolSize })
  try {
    const { context, close } = await openContextOn(pool, config, log, options)
    return {
      context,
      close: async () => {
        await close()
        await closePool(pool)
      },
    }
  } catch (error) {
    await pool.end()
    throw error
  }
}

/** Opens what the jobs need besides a database that is open, and stays so. */
export async function openContextOn(
  pool: Pool,
  config: Config,
  log: Logger,
  options: ContextOptions = {},
): Promise<OpenContext> {
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
  return { context, close: () => boss.stop({ graceful: false, close: false }).catch(() => {}) }
}
