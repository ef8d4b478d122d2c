import type { Command } from 'commander'
import type { Pool } from 'pg'
import { closePool } from '../../db/pool.ts'
import { isCoherenceError } from '../../pipeline/errors.ts'
import { parseConfig, readEnvironment, type Config } from '../config.ts'
import { openContextOn, type OpenContext } from '../context.ts'
import { openDatabase } from '../database.ts'
import type { Output } from '../output.ts'
import { createRedactor } from '../redact.ts'
import { openTelemetry } from '../telemetry.ts'

type Open = OpenContext & { config: Config }

/** Reads the environment, opens what it names, runs `work`, and closes everything whatever happens. */
export async function withContext<T>(work: (open: Open) => Promise<T>): Promise<T> {
  return await withDatabase(async (pool, config) => await runOpen(pool, config, work, false))
}

/** As `withContext`; the work tells of itself, if the environment names a collector. */
export async function withTelemetry<T>(work: (open: Open) => Promise<T>): Promise<T> {
  return await withDatabase(async (pool, config) => await runOpen(pool, config, work, true))
}

/** As `withTelemetry`, if there is something to do by the look of the database; else undefined, and nothing but that was opened or loaded. */
export async function withTelemetryIf<T>(
  isNeeded: (pool: Pool) => Promise<boolean>,
  work: (open: Open) => Promise<T>,
): Promise<T | undefined> {
  return await withDatabase(async (pool, config) =>
    (await isNeeded(pool)) ? await runOpen(pool, config, work, true) : undefined,
  )
}

async function withDatabase<T>(work: (pool: Pool, config: Config) => Promise<T>): Promise<T> {
  const config = parseConfig(readEnvironment())
  const pool = await openDatabase(config)
  try {
    return await work(pool, config)
  } finally {
    await closePool(pool)
  }
}

async function runOpen<T>(pool: Pool, config: Config, work: (open: Open) => Promise<T>, tells: boolean): Promise<T> {
  const { createLogger } = await import('../logger.ts')
  const redact = createRedactor(config)
  const log = createLogger(config.logLevel, redact)
  const { telemetry, close } = await openTelemetry(tells ? config.otlp : null, log, redact)
  try {
    const open = await openContextOn(pool, config, log, { telemetry })
    try {
      return await work({ ...open, config })
    } finally {
      await open.close()
    }
  } finally {
    await close()
  }
}

export interface OtherBuildFlags {
  otherBuildOk?: boolean
}

/** For schedulers that count any exit code but 0 as a failure, during an upgrade that they take part in. */
export function addOtherBuildOption(command: Command): Command {
  return command.option('--other-build-ok', 'exit 0, not 75, if the queues belong to another build')
}

/** Runs `work`; with the option above, queues of another build are no error but a result: `{stopped: "other-build"}`. */
export async function leaveToOtherBuild<T>(
  output: Output,
  flags: OtherBuildFlags,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (!(flags.otherBuildOk && isCoherenceError(error, 'QUEUE_VERSION'))) throw error
    output.result({ stopped: 'other-build' }, () => (error as Error).message)
    return undefined
  }
}
