import { migrate } from '../db/migrate.ts'
import { openClient } from '../db/pool.ts'
import { installQueues } from '../jobs/install.ts'
import { parseConfig, type Config } from './config.ts'
import { startEmbedded } from './embedded.ts'
import { openStore } from './stores.ts'
import { applyShim } from './supabase-shim.ts'

export interface Stack {
  readonly config: Config
  stop(): Promise<void>
}

const DATABASE = 'coherence'

/**
 * Everything the pipeline needs, on this machine: embedded Postgres dressed as a new Supabase project, schema and queues
 * as `coherence migrate` makes them, and a local-disk store in `storageDirectory`. `environment` overrides settings.
 */
export async function startStack(options: {
  databaseDirectory: string
  storageDirectory: string
  persistent: boolean
  port?: number
  environment?: Record<string, string>
  log?: (line: string) => void
  signal?: AbortSignal
}): Promise<Stack> {
  const server = await startEmbedded({
    directory: options.databaseDirectory,
    persistent: options.persistent,
    fast: !options.persistent,
    ...(options.port === undefined ? {} : { port: options.port }),
    log: options.log,
    signal: options.signal,
  })
  try {
    options.signal?.throwIfAborted()
    await ensureDatabase(server.urlFor('postgres', 'supabase_admin'))
    await applyShim(server.urlFor(DATABASE, 'supabase_admin'))
    const databaseUrl = server.urlFor(DATABASE)
    await migrate({ databaseUrl })
    await installQueues({ databaseUrl })
    const config = parseConfig({
      LOG_LEVEL: 'warn',
      ...options.environment,
      DATABASE_URL: databaseUrl,
      STORAGE_DRIVER: 'local',
      LOCAL_STORAGE_DIR: options.storageDirectory,
    })
    await openStore(config, { create: true })
    return { config, stop: () => server.stop() }
  } catch (error) {
    await server.stop()
    throw error
  }
}

async function ensureDatabase(adminUrl: string): Promise<void> {
  const client = await openClient({ databaseUrl: adminUrl })
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE])
    if (rowCount === 0) await client.query(`create database ${DATABASE} owner postgres`)
  } finally {
    await client.end()
  }
}
