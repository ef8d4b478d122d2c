import { pino, type Logger } from 'pino'
import type { Config } from './config.ts'

/** Logs as JSON lines on stderr: stdout belongs to results. */
export function createLogger(level: Config['logLevel']): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: ['databaseUrl', '*.databaseUrl', 'connectionString', '*.connectionString'], censor: '[secret]' },
    },
    pino.destination({ fd: 2, sync: true }),
  )
}
