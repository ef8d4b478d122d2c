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
       and exists (select from public.entropy_samples s where s.storj_chunk_id = c.id)
     order by created_at`,
    [range.from, range.to, range.deviceId],
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
    `select id, sample_count::int as samples, byte_count::float8 as bytes from public.storj_chunks
     where status = 'uploaded' and sha256 is not null
       and max_timestamp >= $1 and min_timestamp < $2 and ($3::text is null or $3 = any (device_ids))
     order by created_at`,
    [range.from, range.to, range.deviceId],
  )
  return rows
}

/** The hours of a range that verified chunks touch, by device. */
export async function listSliceHours(db: Queryable, range: Range): Promise<{ deviceId: string; hour: number }[]> {
  const { rows } = await db.query(
    `select distinct device_id as "deviceId", extract(epoch from hour)::float8 as hour
     from public.storj_chunks c
     cross join lateral unnest(device_ids) as device_id
     cross join lateral generate_series(
       greatest(date_trunc('hour', min_timestamp, 'UTC'), date_trunc('hour', $1::timestamptz, 'UTC')),
       least(max_timestamp, $2::timestamptz), interval '1 hour') as hour
     where verified_at is not null and max_timestamp >= $1 and min_timestamp < $2
       and ($3::text is null or device_id = $3)
     order by 2, 1`,
    [range.from, range.to, range.deviceId],
  )
  return rows
}

/** [from, to) of sample time, of one device or (null) of all. */
export interface Range {
  readonly from: Date
  readonly to: Date
  readonly deviceId: string | null
}
