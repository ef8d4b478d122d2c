import type { Queryable } from './pool.ts'

/** [from, to) of sample time, of one device or (null) of all, made by one version or by any. */
export interface Range {
  readonly from: Date
  readonly to: Date
  readonly deviceId: string | null
  readonly version?: string
}

/** What one job of a backfill is about: how much of the samples, and whether it would make what is there already. */
export interface Extent {
  readonly samples: number
  readonly bytes: number
  readonly made: boolean
}

/**
 * An upload that failed, or one whose proof failed while Postgres still has every row of it: writing the object anew from
 * fewer rows than it holds would lose those that are pruned.
 */
const REVIVABLE = `(c.status = 'failed' or (c.status = 'uploaded' and c.verified_at is null and c.sample_count = (
  select count(*) from public.entropy_samples s where s.storj_chunk_id = c.id)))`

/** Chunks in trouble whose samples are still in Postgres: failed uploads, and uploads whose proof failed. */
export async function listRevivableChunks(db: Queryable, range: Range): Promise<({ id: string } & Extent)[]> {
  const { rows } = await db.query(
    `select id, sample_count::int as samples, byte_count::float8 as bytes, false as made
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

/** Uploaded chunks of a range. Made: proved, and tested by `battery` since the object was written. */
export async function listUploadedChunks(
  db: Queryable,
  range: Range,
  battery: string,
): Promise<({ id: string } & Extent)[]> {
  const { rows } = await db.query(
    `select id, sample_count::int as samples, byte_count::float8 as bytes,
       verified_at is not null
         and exists (select from public.chunk_analysis a
           where a.chunk_id = c.id and a.tests ->> 'version' = $5 and a.created_at >= c.uploaded_at)
         and exists (select from public.chunk_replicas r where r.chunk_id = c.id and r.kind = 'slices') as made
     from public.storj_chunks c
     where status = 'uploaded' and sha256 is not null
       and max_timestamp >= $1 and min_timestamp < $2 and ($3::text is null or $3 = any (device_ids))
       and ($4::text is null or exists (
         select from public.chunk_analysis a where a.chunk_id = c.id and a.tests ->> 'version' = $4))
     order by created_at`,
    [range.from, range.to, range.deviceId, range.version, battery],
  )
  return rows
}

/**
 * The hours that verified chunks touch, from the one that `from` is in to the last that begins before `to`; samples and bytes of a chunk
 * in equal parts to its devices and hours.
 */
const TOUCHED = `touched as (
  select device, hour, c.sample_count::float8 / parts as samples, c.byte_count::float8 / parts as bytes
  from public.storj_chunks c
  cross join lateral (
    select cardinality(device_ids) * (1 + extract(epoch from
      date_trunc('hour', max_timestamp, 'UTC') - date_trunc('hour', min_timestamp, 'UTC')) / 3600)::float8 as parts) p
  cross join lateral unnest(device_ids) as member (device)
  cross join lateral generate_series(
    greatest(date_trunc('hour', min_timestamp, 'UTC'), date_trunc('hour', $1::timestamptz, 'UTC')),
    least(max_timestamp, $2::timestamptz - interval '1 microsecond'), interval '1 hour') as hour
  where verified_at is not null and max_timestamp >= $1 and min_timestamp < $2
)`
const EPOCH = 'extract(epoch from hour)::bigint'

/** A rollup that was given up has not made its hour, whatever the hour had before. */
const givenUp = (queue: string, key: string) => `exists (
  select from pgboss.job d where d.name = 'dead-letter' and d.source_name = '${queue}' and d.state = 'created' and d.singleton_key = ${key})`

/**
 * The hours of a range that verified chunks touch, by device. With a version, those whose time slices it has made. Made: by
 * `method`; or the device has no samples there. A mark of newer samples is in the queue, and does its hour without a backfill.
 */
export async function listSliceHours(
  db: Queryable,
  range: Range,
  method: string,
): Promise<({ deviceId: string; hour: number } & Extent)[]> {
  const { rows } = await db.query(
    `with ${TOUCHED}, hours as (
       select device, hour, sum(samples) as samples, sum(bytes) as bytes from touched
       where $3::text is null or device = $3 group by device, hour
     )
     select device as "deviceId", ${EPOCH}::float8 as hour, samples, bytes,
       case when s.method_version is not null then s.method_version = $5
         else not exists (select from public.chunk_slices p
           where p.device_id = device::uuid and p.slice_start >= hour and p.slice_start < hour + interval '1 hour') end
       and not ${givenUp('rollup-slice', `device || ':' || ${EPOCH}`)} as made
     from hours left join public.device_timeslice_stats s
       on s.device_id = device::uuid and s.bucket_start = hour and s.bucket_end = hour + interval '1 hour'
         and s.method_version is not null
     where $4::text is null or s.method_version = $4
     order by 2, 1`,
    [range.from, range.to, range.deviceId, range.version, method],
  )
  return rows
}

/**
 * The hours of a range that verified chunks touch. With a version, those whose network or pairs it has made. Made: network and
 * pairs by these methods, no row by another; or nobody has samples there.
 */
export async function listCoherenceHours(
  db: Queryable,
  range: Range,
  methods: { network: string; pairs: string },
): Promise<({ hour: number } & Extent)[]> {
  const { rows } = await db.query(
    `with ${TOUCHED}, hours as (
       select hour, hour + interval '1 hour' as ends, sum(samples) as samples, sum(bytes) as bytes from touched
       group by hour having $3::text is null or $3 = any (array_agg(device))
     )
     select ${EPOCH}::float8 as hour, samples, bytes,
       not exists (select from public.device_trials t where t.bucket_start = hour and t.method_version <> $5)
         and not exists (select from public.network_stats n
           where n.bucket_start = hour and n.bucket_end = ends and n.method_version <> $5)
         and not exists (select from public.coherence_stats p
           where p.bucket_start = hour and p.bucket_end = ends and p.method_version <> $6)
         and (exists (select from public.device_trials t where t.bucket_start = hour)
           or not exists (select from public.chunk_slices p where p.slice_start >= hour and p.slice_start < ends))
         and not ${givenUp('rollup-coherence', `${EPOCH}::text`)} as made
     from hours
     where $4::text is null
       or exists (select from public.network_stats n
         where n.bucket_start = hour and n.bucket_end = ends and n.method_version = $4)
       or exists (select from public.coherence_stats p
         where p.bucket_start = hour and p.bucket_end = ends and p.method_version = $4)
     order by 1`,
    [range.from, range.to, range.deviceId, range.version, methods.network, methods.pairs],
  )
  return rows
}
