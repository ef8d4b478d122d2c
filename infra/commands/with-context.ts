import type { OpenContext } from '../context.ts'
import { parseConfig, readEnvironment, type Config } from '../config.ts'
import { openContext } from '../context.ts'
import { createLogger } from '../logger.ts'

/** Reads the environment, opens what it names, runs `work`, and closes everything whatever happens. */
export async function withContext<T>(work: (open: OpenContext & { config: Config }) => Promise<T>): Promise<T> {
  const config = parseConfig(readEnvironment())
  const open = await openContext(config, createLogger(config.logLevel))
  try {
    return await work({ ...open, config })
  } finally {
    await open.close()
  }
}
