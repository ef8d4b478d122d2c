import type { Queryable } from './pool.ts'
import type { Replica } from './replicas.ts'

/** A user's request, as it stands in analysis_jobs. Times are texts of full precision. */
export interface AnalysisJob {
  readonly id: string
  readonly userId: string
  /** A null among them is possible: the column is a plain text[]. */
  readonly deviceIds: (string | null)[]
  readonly from: string
  readonly to: string
  readonly testNames: string[]
  readonly parameters: Record<string, unknown>
}

export interface AnalysisResult {
  readonly testName: string
  readonly deviceId: string | null
  readonly summary: object
  readonly metrics: object
}

/** Sets a queued job running, or a running one running again (its worker died). Null if it is done or deleted. */
export async function startAnalysis(db: Queryable, jobId: string): Promise<AnalysisJob | null> {
  const { rows } = await db.query<AnalysisJob>(
    `update public.analysis_jobs set status = 'running', started_at = coalesce(started_at, now())
     where id = $1 and status in ('queued', 'running')
     returning id, user_id as "userId", device_ids as "deviceIds", to_jsonb(time_range_start) #>> '{}' as "from",
       to_jsonb(time_range_end) #>> '{}' as "to", test_names as "testNames", parameters`,
    [jobId],
  )
  return rows[0] ?? null
}

/** The devices a user may ask about: the user's own, or every one for an admin. */
export async function listReadableDevices(db: Queryable, userId: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select d.id from public.devices d join public.profiles p on p.id = $1
     where p.role = 'admin' or d.user_id = $1 order by d.id`,
    [userId],
  )
  return rows.map((row) => row.id)
}

/** Writes all results and completes the job; false if it was deleted or finished by another attempt meanwhile. */
export async function completeAnalysis(
  tx: Queryable,
  jobId: string,
  results: readonly AnalysisResult[],
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update public.analysis_jobs set status = 'completed', completed_at = now(), error_message = null
     where id = $1 and status = 'running'`,
    [jobId],
  )
  if (rowCount !== 1) return false
  await tx.query('delete from public.analysis_results where job_id = $1', [jobId])
  await tx.query(
    `insert into public.analysis_results (job_id, test_name, device_id, summary, metrics)
     select $1, * from unnest($2::text[], $3::text[], $4::jsonb[], $5::jsonb[])`,
    [
      jobId,
      results.map((result) => result.testName),
      results.map((result) => result.deviceId),
      results.map((result) => JSON.stringify(result.summary)),
      results.map((result) => JSON.stringify(result.metrics)),
    ],
  )
  return true
}

/** Ends the job as failed with a sentence its user can act on. */
export async function failAnalysis(db: Queryable, jobId: string, message: string): Promise<void> {
  await db.query(
    `update public.analysis_jobs set status = 'failed', error_message = $2, completed_at = now()
     where id = $1 and status in ('queued', 'running')`,
    [jobId, message],
  )
}

/**
 * Keeps days from being dropped until the transaction ends. Before its first query: then a snapshot that still lacks a chunk finds
 * the day that the chunk's samples are in.
 */
export async function keepDays(tx: Queryable): Promise<void> {
  await tx.query('lock table only public.entropy_samples in access share mode')
}

/**
 * Bytes of chunks that are read for these devices in [from, to), once a device if each is analyzed `alone`. A chunk counts as
 * `leastBytes` or more, as each is a request.
 */
export async function measureChunks(
  db: Queryable,
  deviceIds: readonly string[],
  from: string,
  to: string,
  { alone, leastBytes }: { alone: boolean; leastBytes: number },
): Promise<number> {
  const { rows } = await db.query<{ bytes: number }>(
    `select coalesce(sum(greatest(size_bytes, $5) * case when $4
         then (select count(*) from unnest(device_ids) as id where id = any ($1::text[])) else 1 end), 0)::float8 as bytes
     from public.storj_chunks
     where status = 'uploaded' and device_ids && $1::text[]
       and max_timestamp >= $2::timestamptz and min_timestamp < $3::timestamptz`,
    [deviceIds, from, to, alone, leastBytes],
  )
  return rows[0].bytes
}

/** The objects of all uploaded chunks that may hold samples of these devices in [from, to), one preferred replica each. */
export async function listChunksOfDevices(
  tx: Queryable,
  deviceIds: readonly string[],
  from: string,
  to: string,
  preferred: string,
): Promise<Replica[]> {
  const { rows } = await tx.query<Replica>(
    `select distinct on (r.chunk_id) r.chunk_id as "chunkId", r.kind, r.backend, r.bucket, r.object_key as "objectKey",
            r.size::float8 as size, r.sha256
     from public.storj_chunks c join public.chunk_replicas r on r.chunk_id = c.id and r.kind = 'chunk'
     where c.status = 'uploaded' and c.device_ids && $1::text[]
       and c.max_timestamp >= $2::timestamptz and c.min_timestamp < $3::timestamptz
     order by r.chunk_id, r.verified_at is null, r.backend <> $4`,
    [deviceIds, from, to, preferred],
  )
  return rows
}
