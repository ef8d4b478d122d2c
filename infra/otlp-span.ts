import { type Attributes, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Tracer } from '@opentelemetry/api'
import type { JobFacts, JobSpan, Telemetry } from '../jobs/telemetry.ts'
import type { Instruments } from './otlp-metrics.ts'
import type { Redactor } from './redact.ts'

/** A trace a job: the job's span is its root, steps are the children. */
export function startJobSpan(
  tracer: Tracer,
  instruments: Instruments,
  redact: Redactor,
  { queue, id, attempt, data }: Parameters<Telemetry['startJob']>[0],
): JobSpan {
  const started = performance.now()
  const attributes = { 'coherence.queue': queue, 'coherence.job_id': id, 'coherence.attempt': attempt, ...named(data) }
  const root = tracer.startSpan(queue, { kind: SpanKind.CONSUMER, attributes }, ROOT_CONTEXT)
  const within = trace.setSpan(ROOT_CONTEXT, root)
  const { traceId, spanId } = root.spanContext()
  let facts: JobFacts = {}

  const fail = (span: typeof root, error: unknown) => {
    const { name, message, code } = error as Error & { code?: string }
    span.setAttribute('error.type', code ?? name)
    span.setStatus({ code: SpanStatusCode.ERROR, message: redact(message) })
  }
  return {
    logFields: { trace_id: traceId, span_id: spanId },
    async step(name, work) {
      const span = tracer.startSpan(name, {}, within)
      try {
        return await work()
      } catch (error) {
        fail(span, error)
        throw error
      } finally {
        span.end()
      }
    },
    note(more) {
      facts = { ...facts, ...more }
    },
    end(outcome, error) {
      const { samples, bytes, lagSeconds } = facts
      root.setAttributes(named({ outcome, samples, bytes, lag_seconds: lagSeconds }))
      // Giving way to another attempt, or to a stop, is no error.
      if (outcome === 'failed') fail(root, error)
      root.end()
      instruments.recordJob({ queue, outcome, seconds: (performance.now() - started) / 1000, facts })
    },
  }
}

/** The simple values of an object as attributes of ours. */
function named(values: object): Attributes {
  const simple = Object.entries(values).filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value))
  return Object.fromEntries(simple.map(([name, value]) => [`coherence.${name}`, value]))
}
