import type { Meter } from '@opentelemetry/api'
import type { PipelineHealth } from '../db/health.ts'
import type { QueueHealth } from '../db/queues.ts'
import { DEAD_LETTER, QUEUE_NAMES, type QueueName } from '../jobs/queues.ts'
import type { JobFacts, JobOutcome } from '../jobs/telemetry.ts'

export interface Instruments {
  recordJob(job: { queue: QueueName; outcome: JobOutcome; seconds: number; facts: JobFacts }): void
  recordHealth(health: PipelineHealth, queues: readonly QueueHealth[]): void
}

const DURATION_SECONDS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 900]
const LAG_SECONDS = [10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400]

/** Every metric there is; docs/operations.md has the table. */
export function createInstruments(meter: Meter): Instruments {
  const jobs = meter.createCounter('coherence.jobs', { description: 'jobs that ended', unit: '{job}' })
  const duration = meter.createHistogram('coherence.job.duration', {
    description: 'how long a job took',
    unit: 's',
    advice: { explicitBucketBoundaries: DURATION_SECONDS },
  })
  const samples = meter.createCounter('coherence.samples', { description: 'samples in chunks', unit: '{sample}' })
  const bytes = meter.createCounter('coherence.sample.bytes', { description: 'their payload', unit: 'By' })
  const lag = meter.createHistogram('coherence.chunk.lag', {
    description: 'from the insert of a chunk’s oldest sample to the proof of the chunk',
    unit: 's',
    advice: { explicitBucketBoundaries: LAG_SECONDS },
  })
  const ticks = meter.createCounter('coherence.ticks', { description: 'ticks', unit: '{tick}' })
  const waitingSamples = meter.createGauge('coherence.waiting.samples', { unit: '{sample}' })
  const waitingAge = meter.createGauge('coherence.waiting.age', { description: 'of the oldest sample', unit: 's' })
  const unverifiedAge = meter.createGauge('coherence.unverified.age', { description: 'of the oldest chunk', unit: 's' })
  const queueJobs = meter.createGauge('coherence.queue.jobs', { unit: '{job}' })
  const queueAge = meter.createGauge('coherence.queue.age', { description: 'of the oldest ready job', unit: 's' })
  const deadLetters = meter.createGauge('coherence.dead_letters', { unit: '{job}' })
  const chunks = meter.createGauge('coherence.chunks', { unit: '{chunk}' })

  return {
    recordJob({ queue, outcome, seconds, facts }) {
      jobs.add(1, { queue, outcome })
      duration.record(seconds, { queue, outcome })
      if (facts.stage === undefined) return
      samples.add(facts.samples ?? 0, { stage: facts.stage })
      bytes.add(facts.bytes ?? 0, { stage: facts.stage })
      if (facts.lagSeconds !== undefined) lag.record(facts.lagSeconds)
    },
    recordHealth(health, queues) {
      ticks.add(1)
      waitingSamples.record(health.waitingSamples)
      waitingAge.record(health.oldestWaitingSeconds ?? 0)
      unverifiedAge.record(health.oldestUnverifiedSeconds ?? 0)
      for (const [state, count] of Object.entries(health.chunks)) chunks.record(count, { state })
      const found = new Map(queues.map((row) => [row.queue, row]))
      deadLetters.record(found.get(DEAD_LETTER)?.ready ?? 0)
      for (const queue of QUEUE_NAMES) {
        const { ready = 0, active = 0, oldestReadySeconds = 0 } = found.get(queue) ?? {}
        queueJobs.record(ready, { queue, state: 'ready' })
        queueJobs.record(active, { queue, state: 'active' })
        queueAge.record(oldestReadySeconds ?? 0, { queue })
      }
    },
  }
}
