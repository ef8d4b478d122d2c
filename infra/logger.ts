import { pino, type Logger } from 'pino'
import type { Config } from './config.ts'
import { redactUrls, type Redactor } from './redact.ts'
import { escapeControls } from './supabase/functions/_shared/log-line.ts'

/** Logs as JSON lines on stderr, each as `redact` leaves it: stdout belongs to results. */
export function createLogger(level: Config['logLevel'], redact: Redactor = redactUrls): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      hooks: { streamWrite: (line) => escapeControls(redact(line)) },
    },
    pino.destination({ fd: 2, sync: true }),
  )
}
