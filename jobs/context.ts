import type pg from 'pg'
import type { PgBoss } from 'pg-boss'
import type { Logger } from 'pino'
import type { StorePlace } from '../pipeline/store-place.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import type { BufferPool } from './buffer-pool.ts'
import type { OneByOne } from './one-by-one.ts'
import type { JobData, QueueName } from './queues.ts'
import type { JobSpan, Telemetry } from './telemetry.ts'

/** The numbers that jobs go by; infra/config reads them from the environment. */
export interface PipelineSettings {
  readonly chunkTargetBytes: number
  readonly chunkMaxAgeSeconds: number
  readonly retentionDays: number
  /** Written into every chunk; part of what makes its bytes. */
  readonly libraryVersion: string
  /** Objects that no row names are removed by `sweep` only if this is set; otherwise they are counted. */
  readonly sweepDeletes: boolean
  /** Pairs grow as the square of the devices: with more than this many, an hour keeps those that pass a screen. */
  readonly pairsMaxDevices: number
  /** Days before an hour whose scores give each device's own mean and variance; 0: no such rows. */
  readonly referenceDays: number
  /** What an analysis or export may take of this worker's memory. */
  readonly analysisMemoryBytes: number
}

/** Everything a job may touch. */
export interface JobContext {
  readonly pool: pg.Pool
  readonly boss: PgBoss
  /** Where new objects go. */
  readonly store: ObjectStore
  /** The store a replica is in; throws STORE_UNAVAILABLE if it is not configured here. */
  readonly storeOf: (place: StorePlace) => Promise<ObjectStore>
  /** Where a second copy of every new object goes, or null. */
  readonly mirror: StorePlace | null
  readonly settings: PipelineSettings
  readonly buffers: BufferPool
  /** Jobs side by side read their chunks' rows one after the other, so that one stores while the next one reads. */
  readonly readOneByOne: OneByOne
  readonly log: Logger
  readonly telemetry: Telemetry
  /** The job in hand, as telemetry sees it. */
  readonly span: JobSpan
  /**
   * Called between any two steps of a chunk's life with the step's name; does nothing in production. Tests stop or kill
   * the worker here.
   */
  readonly checkpoint: (step: string) => Promise<void> | void
}

/** A fetched job. */
export interface ActiveJob<Q extends QueueName = QueueName> {
  readonly id: string
  readonly name: Q
  readonly data: JobData[Q]
  readonly retryCount: number
  readonly retryLimit: number
  /** Aborted when the job is lost to another worker, or the worker must stop now. */
  readonly signal: AbortSignal
}

/**
 * Does the job. Resolves to what is worth keeping as its output; `completed` if it has completed the job in its own
 * transaction, otherwise the worker completes it.
 */
export type JobHandler<Q extends QueueName> = (
  context: JobContext,
  job: ActiveJob<Q>,
) => Promise<{ output?: object; completed?: boolean }>
