import type { QueueHealth } from '../db/queues.ts'
import type { PipelineHealth } from '../db/health.ts'
import type { QueueName } from './queues.ts'

/**
 * How a job ended. `overtaken`: another attempt does its work. `expired`: done, but too late to be this worker's.
 * `handed_back`: the worker had to stop.
 */
export type JobOutcome = 'completed' | 'failed' | 'overtaken' | 'expired' | 'handed_back'

/** What a job says of itself besides how it ended. */
export interface JobFacts {
  readonly samples?: number
  readonly bytes?: number
  /** What was done with these samples, said after the commit: `packed`, their chunk is stored; `verified`, it is proved. */
  readonly stage?: 'packed' | 'verified'
  /** From the insert of a chunk's oldest sample to the chunk's proof. */
  readonly lagSeconds?: number
}

/** One job as telemetry sees it. */
export interface JobSpan {
  /** `trace_id` and `span_id` for the job's log lines; nothing where nobody listens. */
  readonly logFields: object
  /** Runs one step of the job and tells how long it took. Passes on what `work` returns or throws. */
  step<T>(name: string, work: () => T | Promise<T>): Promise<T>
  note(facts: JobFacts): void
  /** Once, when the job has ended. */
  end(outcome: JobOutcome, error?: unknown): void
}

/** Where the work tells of itself. It never throws, and nothing waits for it. */
export interface Telemetry {
  /** False: what is only measured for telemetry need not be. */
  readonly on: boolean
  startJob(job: { queue: QueueName; id: string; attempt: number; data: object }): JobSpan
  /** What a tick found. */
  recordHealth(health: PipelineHealth, queues: readonly QueueHealth[]): void
}

export const NO_SPAN: JobSpan = {
  logFields: {},
  step: async (_name, work) => await work(),
  note: () => {},
  end: () => {},
}

export const NO_TELEMETRY: Telemetry = { on: false, startJob: () => NO_SPAN, recordHealth: () => {} }
