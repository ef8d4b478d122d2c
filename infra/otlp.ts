import { randomUUID } from 'node:crypto'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { AggregationTemporality, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import type { Logger } from 'pino'
import { createInstruments } from './otlp-metrics.ts'
import type { OtlpSettings } from './otlp-settings.ts'
import { startJobSpan } from './otlp-span.ts'
import type { Redactor } from './redact.ts'
import type { OpenTelemetry } from './telemetry.ts'
import { libraryVersion } from './version.ts'

/** One export, its retries included. A closing reader waits for the export under way and makes one more. */
const EXPORT_MS = 2_000
/** All of the closing: a worker that was told to stop has taken up to 20 s by then, and is killed after 25. */
const CLOSE_MS = 3_500

const SCOPE = 'coherence'

/**
 * Traces and metrics, pushed by OTLP over HTTP with protobuf. Metrics are deltas: workers come and go, and nobody could add up
 * the totals of those that are gone. What cannot be delivered is dropped, with one warning until something gets through.
 */
export function openOtlp(settings: OtlpSettings, log: Logger, redact: Redactor): OpenTelemetry {
  const agent = createAgent(settings.endpoint)
  const tell = createTeller(log)
  const exporterOptions = (path: string) => ({
    url: `${settings.endpoint}/${path}`,
    headers: { ...settings.headers },
    timeoutMillis: EXPORT_MS,
    httpAgentOptions: () => agent,
  })
  const resource = resourceFromAttributes({
    'service.name': 'coherence',
    'service.version': libraryVersion(),
    'service.instance.id': randomUUID(),
    ...settings.resourceAttributes,
    ...(settings.serviceName === undefined ? {} : { 'service.name': settings.serviceName }),
  })
  const traceExporter = tell(new OTLPTraceExporter(exporterOptions('v1/traces')))
  const metricExporter = tell(
    new OTLPMetricExporter({
      ...exporterOptions('v1/metrics'),
      temporalityPreference: AggregationTemporality.DELTA,
    }),
  )
  const tracers = new TracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor({ exporter: traceExporter, exportTimeoutMillis: EXPORT_MS })],
  })
  const meters = new MeterProvider({
    resource,
    readers: [new PeriodicExportingMetricReader({ exporter: metricExporter, exportTimeoutMillis: EXPORT_MS })],
  })
  const tracer = tracers.getTracer(SCOPE, libraryVersion())
  const instruments = createInstruments(meters.getMeter(SCOPE, libraryVersion()))

  const close = async () => {
    const stop = new AbortController()
    const sent = Promise.allSettled([tracers.shutdown(), meters.shutdown()])
    await Promise.race([sent, sleep(CLOSE_MS, undefined, { signal: stop.signal }).catch(() => {})])
    stop.abort()
    // A connection that is never answered, or never made, would keep the process alive for minutes.
    agent.destroy()
  }
  return {
    telemetry: {
      on: true,
      startJob: (job) => startJobSpan(tracer, instruments, redact, job),
      recordHealth: (health, queues) => instruments.recordHealth(health, queues),
    },
    close,
  }
}

/** Its timeout also ends the attempt to connect, which that of a request does not. */
function createAgent(endpoint: string): HttpAgent | HttpsAgent {
  const options = { keepAlive: true, timeout: EXPORT_MS }
  return endpoint.startsWith('https:') ? new HttpsAgent(options) : new HttpAgent(options)
}

interface Exporter {
  export(items: never, done: (result: { error?: Error & { code?: string | number } }) => void): void
}

/** Lets exporters say what they could not deliver. */
function createTeller(log: Logger) {
  let told = false
  return <E extends Exporter>(exporter: E): E => {
    const send = exporter.export.bind(exporter)
    exporter.export = (items, done) =>
      send(items, (result) => {
        const { error } = result
        if (error && !told) {
          const reason = [error.code, error.message].filter(Boolean).join(' ')
          log.warn({ reason }, 'telemetry was not delivered; the work goes on without it')
        }
        told = error !== undefined
        done(result)
      })
    return exporter
  }
}
