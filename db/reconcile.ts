import type { Queryable } from './pool.ts'

/**
 * Chunks whose upload ended in the dead letter queue become `failed`: their rows stay claimed and stay in Postgres. A
 * chunk that was touched after its job died has been revived and is left alone. Returns how many.
 */
export async function failDeadChunks(db: Queryable): Promise<number> {
  const { rowCount } = await db.query(
    `update public.storj_chunks c
     set status = 'failed', last_error = coalesce(c.last_error, dead.source_output ->> 'message', 'the upload gave up')
     from pgboss.job dead
     where dead.name = 'dead-letter' and dead.source_name = 'upload-chunk' and dead.state = 'created'
       and c.id = (dead.data ->> 'chunk_id')::uuid and c.status in ('pending', 'uploading')
       and c.updated_at <= dead.created_on`,
  )
  return rowCount ?? 0
}

/** Analyses whose job ended in the dead letter queue become `failed`, with what their user can do. */
export async function failDeadAnalyses(db: Queryable): Promise<number> {
  const { rowCount } = await db.query(
    `update public.analysis_jobs a
     set status = 'failed', completed_at = now(),
         error_message = 'The analysis was tried several times and did not finish. Ask again later, or for a shorter time range.'
     from pgboss.job dead
     where dead.name = 'dead-letter' and dead.source_name = 'run-analysis' and dead.state = 'created'
       and a.id = (dead.data ->> 'analysis_job_id')::uuid and a.status in ('queued', 'running')`,
  )
  return rowCount ?? 0
}

/** The same for exports. */
export async function failDeadExports(db: Queryable): Promise<number> {
  const { rowCount } = await db.query(
    `update public.sample_exports e
     set status = 'failed', completed_at = now(),
         error_message = 'The export was tried several times and did not finish. Ask again later, or for a shorter time range.'
     from pgboss.job dead
     where dead.name = 'dead-letter' and dead.source_name = 'export-samples' and dead.state = 'created'
       and e.id = (dead.data ->> 'export_id')::uuid and e.status in ('queued', 'running')`,
  )
  return rowCount ?? 0
}

const LIVE = `select from pgboss.job j where j.name = $1 and j.singleton_key = c.id::text and j.state < 'completed'`
// Given up since the upload: what died before it was about another object.
const DEAD = `select from pgboss.job d where d.name = 'dead-letter' and d.source_name = $1 and d.state = 'created'
              and d.singleton_key = c.id::text and d.created_on >= c.uploaded_at`

/** Our chunks that wait for an upload which no job will make. */
export async function listStrandedUploads(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from public.storj_chunks c
     where status in ('pending', 'uploading') and format_version is not null and not exists (${LIVE})`,
    ['upload-chunk'],
  )
  return rows.map((row) => row.id)
}

/** Uploaded chunks that wait for a proof which no job will make, and whose proof has not been given up. */
export async function listStrandedTests(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from public.storj_chunks c
     where status = 'uploaded' and verified_at is null and format_version is not null
       and not exists (${LIVE}) and not exists (${DEAD})`,
    ['test-chunk'],
  )
  return rows.map((row) => row.id)
}

/** A row whose job is missing, and whose turn it is: lower ranks first. */
interface Stranded {
  readonly id: string
  readonly rank: number
}

/** Analyses that wait for a worker which no job will call. */
export async function listStrandedAnalyses(db: Queryable): Promise<Stranded[]> {
  return await listStranded(db, 'analysis_jobs', 'run-analysis')
}

/** Exports that wait for a worker which no job will call. */
export async function listStrandedExports(db: Queryable): Promise<Stranded[]> {
  return await listStranded(db, 'sample_exports', 'export-samples')
}

async function listStranded(db: Queryable, table: string, queue: string): Promise<Stranded[]> {
  const { rows } = await db.query<Stranded>(
    `select id, least(queue_rank, 2147483647)::int as rank
     from public.${table} c where status in ('queued', 'running') and not exists (${LIVE})`,
    [queue],
  )
  return rows
}
