import type { Logger } from 'pino'
import { NO_TELEMETRY, type Telemetry } from '../jobs/telemetry.ts'
import type { OtlpSettings } from './otlp-settings.ts'
import type { Redactor } from './redact.ts'

export interface OpenTelemetry {
  readonly telemetry: Telemetry
  /** Sends what is left; resolves in any case, within 4 s. */
  readonly close: () => Promise<void>
}

/** Telemetry by OTLP. The SDK, which takes a while to load, is loaded only if there is somewhere to send to. */
export async function openTelemetry(
  settings: OtlpSettings | null,
  log: Logger,
  redact: Redactor,
): Promise<OpenTelemetry> {
  if (settings === null) return { telemetry: NO_TELEMETRY, close: async () => {} }
  const { openOtlp } = await import('./otlp.ts')
  return openOtlp(settings, log, redact)
}
