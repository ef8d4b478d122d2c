import type { Queryable } from './pool.ts'

/** One additive partial as it is stored: of one chunk, device and UTC minute. */
export interface StoredSlice {
  readonly deviceId: string
  /** Seconds since 1970-01-01 UTC, a multiple of 60. */
  readonly sliceStart: number
  readonly partial: Uint8Array
}

/** Replaces the partials of one chunk. */
export async function replaceChunkSlices(
  tx: Queryable,
  chunkId: string,
  slices: readonly StoredSlice[],
): Promise<void> {
  await tx.query('delete from public.chunk_slices where chunk_id = $1', [chunkId])
  await tx.query(
    `insert into public.chunk_slices (chunk_id, device_id, slice_start, partial)
     select $1, device_id, to_timestamp(slice_start), partial
     from unnest($2::uuid[], $3::float8[], $4::bytea[]) as slice (device_id, slice_start, partial)`,
    [
      chunkId,
      slices.map((slice) => slice.deviceId),
      slices.map((slice) => slice.sliceStart),
      slices.map((slice) => Buffer.from(slice.partial)),
    ],
  )
}

/** The partials of [from, to), seconds since 1970, of one device or of all; ordered, so that sums never depend on it. */
export async function readSlices(db: Queryable, from: number, to: number, deviceId?: string): Promise<StoredSlice[]> {
  const { rows } = await db.query<{ deviceId: string; sliceStart: number; partial: Buffer }>(
    `select device_id as "deviceId", extract(epoch from slice_start)::float8 as "sliceStart", partial
     from public.chunk_slices
     where slice_start >= to_timestamp($1) and slice_start < to_timestamp($2) and ($3::uuid is null or device_id = $3)
     order by device_id, slice_start, chunk_id`,
    [from, to, deviceId ?? null],
  )
  return rows
}

/** The chunks of [from, to) whose partials have left the database and must be fetched from their sidecars first. */
export async function listEvictedChunks(db: Queryable, from: number, to: number): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from public.storj_chunks
     where slices_evicted_at is not null and max_timestamp >= to_timestamp($1) and min_timestamp < to_timestamp($2)`,
    [from, to],
  )
  return rows.map((row) => row.id)
}

/** Brings a chunk's partials back from its sidecar. Does nothing if someone else did already. */
export async function restoreChunkSlices(
  tx: Queryable,
  chunkId: string,
  slices: readonly StoredSlice[],
): Promise<void> {
  const { rowCount } = await tx.query(
    'update public.storj_chunks set slices_evicted_at = null where id = $1 and slices_evicted_at is not null',
    [chunkId],
  )
  if (rowCount === 1) await replaceChunkSlices(tx, chunkId, slices)
}

/**
 * Lets go of the partials of up to `limit` chunks whose samples are all pruned and whose sidecar is stored: from then on
 * the object store alone holds them. Returns how many chunks and rows, and the bytes of the rows.
 */
export async function evictSlices(
  tx: Queryable,
  retentionDays: number,
  limit: number,
): Promise<{ chunks: number; rows: number; bytes: number }> {
  const { rows } = await tx.query<{ chunks: number; rows: number; bytes: number }>(
    `with done as (
       select id from public.storj_chunks c
       where verified_at is not null and slices_evicted_at is null
         and least(max_timestamp, created_at) < now() - $1 * interval '1 day'
         and exists (select from public.chunk_replicas r where r.chunk_id = c.id and r.kind = 'slices')
         and not exists (select from public.entropy_samples s where s.storj_chunk_id = c.id)
       order by created_at limit $2 for update skip locked
     ), gone as (
       delete from public.chunk_slices where chunk_id in (select id from done) returning pg_column_size(partial) as size
     ), noted as (
       update public.storj_chunks set slices_evicted_at = now() where id in (select id from done)
     )
     select (select count(*) from done)::int as chunks, (select count(*) from gone)::int as rows,
            (select coalesce(sum(size), 0) from gone)::float8 as bytes`,
    [retentionDays, limit],
  )
  return rows[0]
}

/** Tables with a row a minute, whose hours stay when the minutes go. */
export const MINUTE_TABLES = ['device_timeslice_stats', 'network_stats'] as const

/** Drops the minutes of a table that are older than retention, how many and their bytes; a rollup can bring them back from the sidecars. */
export async function dropMinutes(
  tx: Queryable,
  table: (typeof MINUTE_TABLES)[number],
  retentionDays: number,
): Promise<{ rows: number; bytes: number }> {
  const { rows } = await tx.query<{ rows: number; bytes: number }>(
    `with gone as (
       delete from public.${table} m
       where method_version is not null and bucket_end - bucket_start < interval '1 hour'
         and bucket_end < now() - $1 * interval '1 day'
       returning pg_column_size(m.*) as size
     )
     select count(*)::int as rows, coalesce(sum(size), 0)::float8 as bytes from gone`,
    [retentionDays],
  )
  return rows[0]
}
