import type { Database } from '../../db/database.types.ts'

/** What the console's page is told, by its own server or by Supabase; rows as the views have them. */

type Views = Database['public']['Views']
type Tables = Database['public']['Tables']

/**
 * How a page finds its data: `local` from the server it came from, which was started by `command console`; `sign-in` from a Supabase
 * project with somebody's session.
 */
export type ConsoleConfig =
  | { readonly mode: 'local'; readonly command: string }
  | { readonly mode: 'sign-in'; readonly url: string; readonly key: string }

export type PipelineHealthRow = Views['pipeline_health']['Row']
export type DeviceRow = Views['device_activity']['Row']
export type BacklogRow = Pick<Views['chunk_backlog']['Row'], 'device_id' | 'samples'>
export type DeviationRow = Database['public']['Functions']['network_deviation']['Returns'][number]

export type ChunkListRow = Pick<
  Tables['storj_chunks']['Row'],
  | 'id'
  | 'status'
  | 'sample_count'
  | 'byte_count'
  | 'min_timestamp'
  | 'max_timestamp'
  | 'verified_at'
  | 'last_error'
  | 'updated_at'
>

/** A request of a user that failed: an analysis or an export. */
export interface FailedRequestRow {
  readonly id: string
  readonly error_message: string | null
  readonly completed_at: string | null
}

export interface QueueRow {
  readonly queue: string
  /** Jobs that could be taken now, that wait for a retry or their time, and that are worked on. */
  readonly ready: number
  readonly later: number
  readonly active: number
  /** Since when the oldest of the ready ones could have been taken. */
  readonly oldest_ready: string | null
}

export interface DeadLetterRow {
  readonly id: string
  readonly queue: string
  readonly error: string | null
  readonly failed_at: string
}

/** The newest report that was written to the store. Where it is, `key` of `bucket` of `backend`, is for the console's server. */
export interface ReportRow {
  /** The day's begin and the verdict. */
  readonly from: string
  readonly verdict: string
  readonly url: string
  readonly url_expires_at: string
  readonly backend: string
  readonly bucket: string
  readonly key: string
}

export interface PipelineView {
  readonly health: PipelineHealthRow
  /** Null for users, who see no queues. */
  readonly queues: readonly QueueRow[] | null
  readonly deadLetters: readonly DeadLetterRow[]
  readonly troubledChunks: readonly ChunkListRow[]
  readonly failedAnalyses: readonly FailedRequestRow[]
  readonly failedExports: readonly FailedRequestRow[]
  /** Null where none was written yet, and for all but admins: it shows everybody's devices. */
  readonly report: ReportRow | null
}

export interface DevicesView {
  readonly devices: readonly DeviceRow[]
  readonly backlog: readonly BacklogRow[]
}

export interface NetworkRange {
  /** ISO 8601. */
  readonly from: string
  readonly to: string
  readonly bucketSeconds: number
}

export interface NetworkView {
  readonly range: NetworkRange
  readonly walk: readonly DeviationRow[]
}

/** A file of an export: sample_exports.files. */
export interface ExportFile {
  readonly url: string
  readonly file_name: string
  readonly bytes: number
  readonly sha256: string
  readonly samples: number
}

export interface ExportRow {
  readonly id: string
  readonly device_id: string
  readonly links_expire_at: string | null
  readonly files: readonly ExportFile[]
}

export interface ChunksView {
  readonly chunks: readonly ChunkListRow[]
  /** A user's own; null where chunks themselves can be opened. */
  readonly exports: readonly ExportRow[] | null
}

/** Rows of each kind of failure that the page lists at most, and of chunks. */
export const MOST_FAILURES = 20
export const MOST_CHUNKS = 50
