import type { Queryable } from './pool.ts'

/** What `coherence console` shows of the whole database: rows as JSON, as PostgREST gives them of the same views. */

/** `{}`-shaped rows of a statement; `order` and `limit` belong into it. */
async function readRows<Row>(db: Queryable, sql: string, values: readonly unknown[] = []): Promise<Row[]> {
  const { rows } = await db.query<{ rows: Row[] }>(`select coalesce(json_agg(r), '[]') as rows from (${sql}) r`, [
    ...values,
  ])
  return rows[0].rows
}

/** The one row of pipeline_health. */
export async function readHealthRow<Row>(db: Queryable): Promise<Row> {
  return (await readRows<Row>(db, 'select * from public.pipeline_health'))[0]
}

/** Queues that have jobs which did not end, by name. */
export async function listQueues<Row>(db: Queryable, leaveOut: string): Promise<Row[]> {
  return await readRows(
    db,
    `select name as queue, count(*) filter (where state < 'active' and start_after <= now()) as ready,
            count(*) filter (where state < 'active' and start_after > now()) as later,
            count(*) filter (where state = 'active') as active,
            min(greatest(created_on, start_after)) filter (where state < 'active' and start_after <= now()) as oldest_ready
     from pgboss.job where state < 'completed' and name <> $1 group by name order by name`,
    [leaveOut],
  )
}

/** Dead letters, the newest first. */
export async function listDeadLetterRows<Row>(db: Queryable, name: string, limit: number): Promise<Row[]> {
  return await readRows(
    db,
    `select id, source_name as queue, created_on as failed_at,
            coalesce(source_output ->> 'message', source_output #>> '{value,message}') as error
     from pgboss.job where name = $1 and state = 'created' order by created_on desc limit $2`,
    [name, limit],
  )
}

const CHUNK_COLUMNS =
  'id, status, sample_count, byte_count, min_timestamp, max_timestamp, verified_at, last_error, updated_at'

/** Chunks that failed, or whose last attempt did, the newest first. */
export async function listTroubledChunkRows<Row>(db: Queryable, limit: number): Promise<Row[]> {
  return await readRows(
    db,
    `select ${CHUNK_COLUMNS} from public.storj_chunks
     where status = 'failed' or (last_error is not null and verified_at is null) order by updated_at desc limit $1`,
    [limit],
  )
}

/** Analyses or exports that failed in the last week, the newest first. */
export async function listFailedRequests<Row>(
  db: Queryable,
  table: 'analysis_jobs' | 'sample_exports',
  limit: number,
): Promise<Row[]> {
  return await readRows(
    db,
    `select id, error_message, completed_at from public.${table}
     where status = 'failed' and completed_at > now() - interval '7 days' order by completed_at desc limit $1`,
    [limit],
  )
}

/** What the last report that was written says of itself; null if there is none. */
export async function readLastReport<Row>(db: Queryable): Promise<Row | null> {
  const rows = await readRows<{ details: Row }>(
    db,
    `select details from public.maintenance_log where operation_type = 'report' order by executed_at desc limit 1`,
  )
  return rows[0]?.details ?? null
}

/** Every device, by name. */
export async function listDeviceActivity<Row>(db: Queryable): Promise<Row[]> {
  return await readRows(db, 'select * from public.device_activity order by name, device_id')
}

/** Devices of which samples wait to be packed. */
export async function listBacklog<Row>(db: Queryable): Promise<Row[]> {
  return await readRows(db, 'select device_id, samples from public.chunk_backlog')
}

/** network_deviation() by buckets of so many seconds. Times are ISO 8601. */
export async function readNetworkDeviation<Row>(
  db: Queryable,
  range: { from: string; to: string; bucketSeconds: number },
): Promise<Row[]> {
  return await readRows(
    db,
    `select * from public.network_deviation($1, $2, 'all_bits', make_interval(secs => $3)) order by bucket_start`,
    [range.from, range.to, range.bucketSeconds],
  )
}

/** The newest chunks. */
export async function listChunkRows<Row>(db: Queryable, limit: number): Promise<Row[]> {
  return await readRows(
    db,
    `select ${CHUNK_COLUMNS} from public.storj_chunks order by max_timestamp desc, id limit $1`,
    [limit],
  )
}
