import type { Queue } from 'pg-boss'
import type { StorePlace } from '../pipeline/store-place.ts'

/** What each job carries. Keys are snake_case: SQL writes some of them. */
export interface JobData {
  pack: Record<string, never>
  'upload-chunk': { chunk_id: string; replace?: boolean }
  'test-chunk': { chunk_id: string }
  'copy-object': { chunk_id: string; kind: 'chunk' | 'slices' } & StorePlace
  /** The UTC hour, in seconds since 1970, of one device. */
  'rollup-slice': { device_id: string; hour: number }
  'rollup-coherence': { hour: number }
  'run-analysis': { analysis_job_id: string }
  'export-samples': { export_id: string }
  'compute-event': { event_id: string }
  reconcile: Record<string, never>
  prune: Record<string, never>
  maintain: Record<string, never>
  sweep: Record<string, never>
  report: Record<string, never>
}

export type QueueName = keyof JobData

export const DEAD_LETTER = 'dead-letter'

const LONG_AGO = 365 * 86_400

/** Settings that all queues share: numbers that fit a container of 15 minutes which may vanish at any time. */
const COMMON = {
  retryLimit: 5,
  retryDelay: 5,
  retryBackoff: true,
  retryDelayMax: 300,
  expireInSeconds: 900,
  heartbeatSeconds: 60,
  deleteAfterSeconds: 7 * 86_400,
  deadLetter: DEAD_LETTER,
} as const satisfies Omit<Queue, 'name'>

/**
 * Every queue, in the order in which an idle worker looks at them. `exclusive`: one job a key, queued or active. `short`:
 * one queued job a key, whatever is active: a mark that something is dirty must not be lost to a run that has started.
 * `batch`: jobs taken at once. `everySeconds`: how often `tick` sends one, if it is due. `most`: so many does a worker do
 * at a time, of jobs that may take hundreds of megabytes.
 */
export const QUEUES: Record<
  QueueName,
  { options: Omit<Queue, 'name'>; batch: number; everySeconds?: number; most?: number }
> = {
  'upload-chunk': { options: { ...COMMON, policy: 'exclusive' }, batch: 1 },
  'test-chunk': { options: { ...COMMON, policy: 'exclusive' }, batch: 1 },
  'run-analysis': { options: { ...COMMON, policy: 'exclusive' }, batch: 1, most: 1 },
  'export-samples': { options: { ...COMMON, policy: 'exclusive' }, batch: 1, most: 1 },
  pack: { options: { ...COMMON, policy: 'short' }, batch: 1, everySeconds: 30 },
  'copy-object': { options: { ...COMMON, policy: 'exclusive', retryDelayMax: 3600, retryLimit: 10 }, batch: 1 },
  'rollup-slice': { options: { ...COMMON, policy: 'short' }, batch: 20 },
  'rollup-coherence': { options: { ...COMMON, policy: 'short' }, batch: 1 },
  // A month of a thousand devices takes most of an hour, in one transaction.
  'compute-event': { options: { ...COMMON, policy: 'exclusive', expireInSeconds: 4 * 3600 }, batch: 1, most: 1 },
  reconcile: { options: { ...COMMON, policy: 'exclusive' }, batch: 1, everySeconds: 900 },
  prune: { options: { ...COMMON, policy: 'exclusive' }, batch: 1, everySeconds: 3600 },
  maintain: { options: { ...COMMON, policy: 'exclusive' }, batch: 1, everySeconds: 86_400 },
  sweep: { options: { ...COMMON, policy: 'exclusive' }, batch: 1, everySeconds: 86_400 },
  // Once a day in effect: it looks every hour whether the day before is complete, or has changed since.
  report: { options: { ...COMMON, policy: 'exclusive' }, batch: 1, everySeconds: 3600, most: 1 },
}

export const QUEUE_NAMES = Object.keys(QUEUES) as QueueName[]

/** Dead letters wait for a person as long as pg-boss lets them. */
export const DEAD_LETTER_OPTIONS: Omit<Queue, 'name'> = { retentionSeconds: LONG_AGO, deleteAfterSeconds: LONG_AGO }
