import { pino, type Logger } from 'pino'
import type { Config } from './config.ts'
import { redactUrls, type Redactor } from './redact.ts'

/** Logs as JSON lines on stderr, each as `redact` leaves it: stdout belongs to results. */
export function createLogger(level: Config['logLevel'], redact: Redactor = redactUrls): Logger {
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, hooks: { streamWrite: redact } },
    pino.destination({ fd: 2, sync: true }),
  )
}
