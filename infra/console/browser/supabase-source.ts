import type { PostgrestError, SupabaseClient } from '@supabase/supabase-js'
import type { Database } from '../../../db/database.types.ts'
import { type ExportFile, type ExportRow, MOST_CHUNKS, MOST_FAILURES, type ReportRow } from '../model.ts'
import { type ConsoleSource, SignedOutError } from './source.ts'

type Client = SupabaseClient<Database>

/** PostgREST answers so many rows at most. */
const PAGE = 1000
const WEEK_MS = 7 * 86_400_000
const CHUNK_COLUMNS =
  'id, status, sample_count, byte_count, min_timestamp, max_timestamp, verified_at, last_error, updated_at'

/** What row level security shows to whoever is signed in. */
export function supabaseSource(client: Client, email: string): ConsoleSource {
  return {
    who: `What ${email} may see.`,
    command: 'coherence',
    async readPipeline() {
      const since = new Date(Date.now() - WEEK_MS).toISOString()
      const failed = (table: 'analysis_jobs' | 'sample_exports') =>
        client
          .from(table)
          .select('id, error_message, completed_at')
          .eq('status', 'failed')
          .gt('completed_at', since)
          .order('completed_at', { ascending: false })
          .limit(MOST_FAILURES)
      const [health, troubled, analyses, exports, reports] = await Promise.all([
        client.from('pipeline_health').select().single(),
        client
          .from('storj_chunks')
          .select(CHUNK_COLUMNS)
          .or('status.eq.failed,and(last_error.not.is.null,verified_at.is.null)')
          .order('updated_at', { ascending: false })
          .limit(MOST_FAILURES),
        failed('analysis_jobs'),
        failed('sample_exports'),
        // An admin's to read; others get no row.
        client
          .from('maintenance_log')
          .select('details')
          .eq('operation_type', 'report')
          .order('executed_at', { ascending: false })
          .limit(1),
      ])
      return {
        health: found(health),
        queues: null,
        deadLetters: [],
        troubledChunks: found(troubled),
        failedAnalyses: found(analyses),
        failedExports: found(exports),
        report: (found(reports)[0]?.details as unknown as ReportRow | undefined) ?? null,
      }
    },
    async readDevices() {
      const [devices, backlog] = await Promise.all([
        allPages((from, to) =>
          client.from('device_activity').select().order('name').order('device_id').range(from, to),
        ),
        allPages((from, to) =>
          client.from('chunk_backlog').select('device_id, samples').order('device_id').range(from, to),
        ),
      ])
      return { devices, backlog }
    },
    async readNetwork(range) {
      const walk = await allPages((from, to) =>
        client
          .rpc('network_deviation', {
            range_start: range.from,
            range_end: range.to,
            bucket: `${range.bucketSeconds} seconds`,
          })
          .order('bucket_start')
          .range(from, to),
      )
      return { range, walk }
    },
    async readChunks() {
      const [chunks, exports] = await Promise.all([
        client
          .from('storj_chunks')
          .select(CHUNK_COLUMNS)
          .order('max_timestamp', { ascending: false })
          .order('id')
          .limit(MOST_CHUNKS),
        client
          .from('sample_exports')
          .select('id, device_id, links_expire_at, files')
          .eq('status', 'completed')
          .gt('links_expire_at', new Date().toISOString())
          .order('created_at', { ascending: false })
          .limit(MOST_CHUNKS),
      ])
      const files = found(exports).map((row): ExportRow => ({ ...row, files: row.files as unknown as ExportFile[] }))
      return { chunks: found(chunks), exports: files }
    },
    async signOut() {
      await client.auth.signOut({ scope: 'local' })
    },
  }
}

interface Answer<Data> {
  readonly data: Data
  readonly error: PostgrestError | null
  readonly status: number
}

function found<Data>({ data, error, status }: Answer<Data>): NonNullable<Data> {
  if (error === null && data !== null && data !== undefined) return data
  if (status === 401) throw new SignedOutError('The session is over: sign in again.')
  if (status === 0) throw new Error('Supabase does not answer. Are you on line?')
  throw new Error(`Supabase answers ${status}: ${error?.message ?? 'nothing'}`)
}

async function allPages<Row>(page: (from: number, to: number) => PromiseLike<Answer<Row[] | null>>): Promise<Row[]> {
  const rows: Row[] = []
  for (;;) {
    const next = found(await page(rows.length, rows.length + PAGE - 1))
    rows.push(...next)
    if (next.length < PAGE) return rows
  }
}
