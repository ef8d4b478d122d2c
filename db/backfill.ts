import type { Queryable } from './pool.ts'

/**
 * An upload that failed, or one whose proof failed while Postgres still has every row of it: writing the object anew from
 * fewer rows than it holds would lose those that are pruned.
 */
const REVIVABLE = `(c.status = 'failed' or (c.status = 'uploaded' and c.verified_at is null and c.sample_count = (
  select count(*) from public.entropy_samples s where s.storj_chunk_id = c.id)))`

/** Chunks in trouble whose samples are still in Postgres: failed uploads, and uploads whose proof failed. */
export async function listRevivableChunks(
  db: Queryable,
  range: Range,
): Promise<{ id: string; status: string; samples: number; bytes: number }[]> {
  const { rows } = await db.query(
    `select id, status::text, sample_count::int as samples, byte_count::float8 as bytes
     from public.storj_chunks c
     where (status = 'failed' or last_error is not null) and ${REVIVABLE}
       and max_timestamp >= $1 and min_timestamp < $2 and ($3::text is null or $3 = any (device_ids))
       and ($4::text is null or format_version::text = $4)
       and exists (select from public.entropy_samples s where s.storj_chunk_id = c.id)
     order by created_at`,
    [range.from, range.to, range.deviceId, range.version],
  )
  return rows
}

/** Puts chunks back to `pending`, so that an upload may begin; those that recovered meanwhile are left alone. */
export async function reviveChunks(tx: Queryable, ids: readonly string[]): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `update public.storj_chunks c set status = 'pending', last_error = null
     where id = any ($1) and ${REVIVABLE}
     returning id`,
    [ids],
  )
  return rows.map((row) => row.id)
}

/** Uploaded chunks of a range, to be tested anew. */
export async function listUploadedChunks(
  db: Queryable,
  range: Range,
): Promise<{ id: string; samples: number; bytes: number }[]> {
  const { rows } = await db.query(
    `select id, sample_count::int as samples, byte_count::float8 as bytes from public.storj_chunks c
     where status = 'uploaded' and sha256 is not null
       and max_timestamp >= $1 and min_timestamp < $2 and ($3::text is null or $3 = any (device_ids))
       and ($4::text is null or exists (
         select from public.chunk_analysis a where a.chunk_id = c.id and a.tests ->> 'version' = $4))
     order by created_at`,
    [range.from, range.to, range.deviceId, range.version],
  )
  return rows
}

/** The hours of a range that verified chunks touch, by device. With a version, those whose time slices it has made. */
export async function listSliceHours(db: Queryable, range: Range): Promise<{ deviceId: string; hour: number }[]> {
  const { rows } = await db.query(
    `select distinct device as "deviceId", extract(epoch from hour)::float8 as hour
     from public.storj_chunks c
     cross join lateral unnest(device_ids) as member (device)
     cross join lateral generate_series(
       greatest(date_trunc('hour', min_timestamp, 'UTC'), date_trunc('hour', $1::timestamptz, 'UTC')),
       least(max_timestamp, $2::timestamptz), interval '1 hour') as hour
     where verified_at is not null and max_timestamp >= $1 and min_timestamp < $2
       and ($3::text is null or device = $3)
       and ($4::text is null or exists (
         select from public.device_timeslice_stats s
         where s.device_id = device::uuid and s.bucket_start = hour and s.bucket_end = hour + interval '1 hour' and s.method_version = $4))
     order by 2, 1`,
    [range.from, range.to, range.deviceId, range.version],
  )
  return rows
}

/** The hours of a range that verified chunks touch. With a version, those whose network or pairs it has made. */
export async function listCoherenceHours(db: Queryable, range: Range): Promise<{ hour: number }[]> {
  const { rows } = await db.query(
    `select distinct extract(epoch from hour)::float8 as hour
     from public.storj_chunks c
     cross join lateral generate_series(
       greatest(date_trunc('hour', min_timestamp, 'UTC'), date_trunc('hour', $1::timestamptz, 'UTC')),
       least(max_timestamp, $2::timestamptz), interval '1 hour') as hour
     where verified_at is not null and max_timestamp >= $1 and min_timestamp < $2
       and ($3::text is null or $3 = any (device_ids))
       and ($4::text is null
         or exists (select from public.network_stats n
           where n.bucket_start = hour and n.bucket_end = hour + interval '1 hour' and n.method_version = $4)
         or exists (select from public.coherence_stats p
           where p.bucket_start = hour and p.bucket_end = hour + interval '1 hour' and p.method_version = $4))
     order by 1`,
    [range.from, range.to, range.deviceId, range.version],
  )
  return rows
}

/** How long a job of a queue has taken on average, in seconds, by those the queue still remembers; null if by none. */
export async function measureJobSeconds(db: Queryable, queue: string): Promise<number | null> {
  const { rows } = await db.query<{ seconds: number | null }>(
    `select avg(extract(epoch from completed_on - started_on))::float8 as seconds
     from (select started_on, completed_on from pgboss.job where name = $1 and state = 'completed'
           order by completed_on desc limit 1000) recent`,
    [queue],
  )
  return rows[0].seconds
}

/** [from, to) of sample time, of one device or (null) of all, made by one version or by any. */
export interface Range {
  readonly from: Date
  readonly to: Date
  readonly deviceId: string | null
  readonly version?: string
}
