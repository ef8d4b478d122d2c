import type { Queryable } from './pool.ts'

export interface Partition {
  readonly name: string
  /** Inclusive lower bound of its sample times, full precision; -infinity if it has none. */
  readonly lower: string
  /** Exclusive upper bound of its sample times, full precision. */
  readonly upper: string
  /** It should have gone a day ago or earlier. */
  readonly isOverdue: boolean
}

export interface PartitionMeasure {
  readonly rows: number
  /** Bytes of the table with its indexes and TOAST. */
  readonly bytes: number
}

/** The daily (and adopted) partitions whose whole range is older than retention, oldest first. */
export async function listExpiredPartitions(db: Queryable, retentionDays: number): Promise<Partition[]> {
  const { rows } = await db.query<Partition>(
    `select name, coalesce(lower, '-infinity') as lower, upper,
       upper::timestamptz <= now() - ($1 + 1) * interval '1 day' as "isOverdue"
     from (
       select c.relname as name,
              (regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$FROM \\('([^']+)'\\)$re$))[1] as lower,
              (regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$TO \\('([^']+)'\\)$re$))[1] as upper
       from pg_inherits i join pg_class c on c.oid = i.inhrelid
       where i.inhparent = 'public.entropy_samples'::regclass
     ) p
     where upper is not null and upper::timestamptz <= now() - $1 * interval '1 day'
     order by upper::timestamptz`,
    [retentionDays],
  )
  return rows
}

/**
 * Why a partition may not be dropped, as sentences; empty when every row of it is in a verified chunk whose slices are
 * stored, and no hold wants its range. Walks the index on storj_chunk_id from chunk to chunk, so the cost is that of the
 * number of chunks, not of rows.
 */
export async function listPruneBlockers(tx: Queryable, partition: Partition): Promise<string[]> {
  const table = `entropy_partitions.${identifier(partition.name)}`
  const { rows } = await tx.query<{ blocker: string }>(
    `with recursive ${chunksIn(table)}
     select 'samples that no chunk has claimed' as blocker
     where exists (select from ${table} where storj_chunk_id is null)
        or exists (select from chunks where id is not null and not exists (select from public.storj_chunks c where c.id = chunks.id))
     union all
     select 'chunk ' || id || ' is not verified (' || status || coalesce(': ' || last_error, '') || ')'
     from chunks join public.storj_chunks c using (id) where (status = 'uploaded' and verified_at is not null) is not true
     union all
     select 'chunk ' || id || ' has no stored slices'
     from chunks join public.storj_chunks c using (id)
     where not exists (select from public.chunk_replicas r where r.chunk_id = c.id and r.kind = 'slices')
     union all
     select 'hold ' || id || ': ' || reason from app_private.retention_holds
     where range_start < $2::timestamptz and range_end > $1::timestamptz`,
    [partition.lower, partition.upper],
  )
  return rows.map((row) => row.blocker)
}

/** Days for which analyses may keep what is past retention. Later they read it from chunks, as they may at any time. */
const ANALYSIS_GRACE_DAYS = 1

/**
 * The first three analyses, as sentences, that keep a partition for a while: they wait or run, and one of the devices that the
 * worker would take for them has samples there.
 */
export async function listWaitingReaders(
  db: Queryable,
  partition: Partition,
  retentionDays: number,
): Promise<string[]> {
  const { rows } = await db.query<{ blocker: string }>(
    `with asked as materialized (
       select a.id, a.status, a.user_id, a.created_at, lower(a.device_ids::text)::text[] as device_ids, p.role = 'admin' as of_admin
       from public.analysis_jobs a join public.profiles p on p.id = a.user_id
       where a.status in ('queued', 'running') and a.time_range_start < a.time_range_end
         and a.time_range_start < $2::timestamptz and a.time_range_end > $1::timestamptz
         and $2::timestamptz > now() - $3 * interval '1 day'
     ), present as materialized (
       select d.id::text as id, d.user_id from public.devices d
       where exists (select from asked a where a.of_admin or a.user_id = d.user_id)
         and exists (select from entropy_partitions.${identifier(partition.name)} s where s.device_id = d.id)
     )
     select 'analysis ' || a.id || ' is ' || a.status as blocker from asked a
     where case when cardinality(a.device_ids) = 0
       then exists (select from present d where a.of_admin or d.user_id = a.user_id)
       else exists (select from unnest(a.device_ids) as named join present d on d.id = named
                    where a.of_admin or d.user_id = a.user_id) end
     order by a.created_at limit 3`,
    [partition.lower, partition.upper, retentionDays + ANALYSIS_GRACE_DAYS],
  )
  return rows.map((row) => row.blocker)
}

/**
 * Rows and bytes of a partition that may be dropped. The rows of chunks that lie within it are known by their claims, less those that
 * have left with their device or profile; only those of chunks that reach into other days are counted.
 */
export async function measurePartition(db: Queryable, { name, lower, upper }: Partition): Promise<PartitionMeasure> {
  const table = `entropy_partitions.${identifier(name)}`
  const { rows } = await db.query<PartitionMeasure>(
    `with recursive ${chunksIn(table)}, within as (
       select c.id, c.sample_count, a.members
       from chunks join public.storj_chunks c using (id) left join app_private.chunk_claims a on a.chunk_id = c.id
       where c.min_timestamp >= $1::timestamptz and c.max_timestamp < $2::timestamptz
     )
     select ((select coalesce(sum(sample_count), 0) from within where members is null)
           + (select coalesce(sum(member.rows::bigint), 0) from within, jsonb_each_text(members) as member (pair, rows)
              where exists (select from public.devices d where d.id = split_part(member.pair, '/', 1)::uuid)
                and exists (select from public.sampling_profiles p where p.id = split_part(member.pair, '/', 2)::uuid))
           + (select coalesce(sum((select count(*) from ${table} s where s.storj_chunk_id = further.id)), 0)
              from (select id from chunks except select id from within) as further))::float8 as rows,
            pg_total_relation_size($3::regclass)::float8 as bytes`,
    [lower, upper, table],
  )
  return rows[0]
}

/** Head of a recursive query: `chunks`, the ids that samples of a partition bear, and a null. It walks the index, from id to id. */
const chunksIn = (table: string) => `chunks (id) as (
       (select storj_chunk_id from ${table} where storj_chunk_id is not null order by storj_chunk_id limit 1)
       union all
       select (select storj_chunk_id from ${table} where storj_chunk_id > chunks.id order by storj_chunk_id limit 1)
       from chunks where chunks.id is not null
     )`

/**
 * Keeps VACUUM and ANALYZE from a partition, and from that of the strays, which its drop locks too, until the transaction ends. Inserts
 * and reads go on, also while this waits. The server ends an autovacuum for it, after deadlock_timeout (1 s). Gives up after `timeoutMs`.
 */
export async function keepVacuumOut(tx: Queryable, name: string, timeoutMs: number): Promise<void> {
  await setLockTimeout(tx, timeoutMs)
  await tx.query(
    `lock table only entropy_partitions.${identifier(name)}, entropy_partitions.entropy_samples_default in share update exclusive mode`,
  )
}

/** Stops writes to all of entropy_samples until the transaction ends, or gives up after `timeoutMs`, in which inserts wait too. */
export async function lockSamples(tx: Queryable, timeoutMs: number): Promise<void> {
  await setLockTimeout(tx, timeoutMs)
  // DROP of a partition needs this lock on the parent in any case; taking the partition's first would deadlock with an
  // insert that holds the parent and waits for the partition.
  await tx.query('lock table only public.entropy_samples in access exclusive mode')
}

async function setLockTimeout(tx: Queryable, timeoutMs: number): Promise<void> {
  await tx.query(`select set_config('lock_timeout', $1, true)`, [String(timeoutMs)])
}

/** Drops the partition. Only after `lockSamples` and an empty `listPruneBlockers` in the same transaction. */
export async function dropPartition(tx: Queryable, name: string): Promise<void> {
  await tx.query(`drop table entropy_partitions.${identifier(name)}`)
}

/**
 * Deletes one chunk's rows from the default partition: strays have no day that could be dropped. Only rows of chunks that
 * are verified, sliced, expired, in no hold's range, and for a while of no waiting analysis. Returns null when there is none left.
 */
export async function deleteStrayChunk(
  tx: Queryable,
  retentionDays: number,
): Promise<{ chunkId: string; rows: number; bytes: number } | null> {
  const { rows } = await tx.query<{ chunkId: string; rows: number; bytes: number }>(
    `with stray as (
       select c.id, c.min_timestamp, c.max_timestamp from public.storj_chunks c
       where c.status = 'uploaded' and c.verified_at is not null
         and least(c.max_timestamp, c.created_at) < now() - $1 * interval '1 day'
         and exists (select from public.chunk_replicas r where r.chunk_id = c.id and r.kind = 'slices')
         and exists (select from entropy_partitions.entropy_samples_default s where s.storj_chunk_id = c.id)
         and not exists (select from app_private.retention_holds h
           where h.range_start <= c.max_timestamp and h.range_end > c.min_timestamp)
         and (least(c.max_timestamp, c.created_at) < now() - $2 * interval '1 day' or not exists (
           select from public.analysis_jobs a join public.profiles p on p.id = a.user_id
             join public.devices d on p.role = 'admin' or d.user_id = a.user_id
           where a.status in ('queued', 'running') and a.time_range_start < a.time_range_end
             and a.time_range_start <= c.max_timestamp and a.time_range_end > c.min_timestamp
             and d.id::text = any (c.device_ids)
             and (cardinality(a.device_ids) = 0 or d.id::text = any (lower(a.device_ids::text)::text[]))))
       order by c.created_at limit 1 for update skip locked
     ), gone as (
       delete from entropy_partitions.entropy_samples_default s using stray where s.storj_chunk_id = stray.id
       returning pg_column_size(s.*) as size
     )
     select (select id from stray) as "chunkId", count(*)::float8 as rows, coalesce(sum(size), 0)::float8 as bytes
     from gone`,
    [retentionDays, retentionDays + ANALYSIS_GRACE_DAYS],
  )
  return rows[0].chunkId === null ? null : rows[0]
}

/** Writes a row of maintenance_log. */
export async function logMaintenance(
  db: Queryable,
  entry: {
    operation: string
    table: string
    details: object
    rows: number | null
    bytes: number | null
    /** Null for what was done elsewhere. */
    durationMs: number | null
  },
): Promise<void> {
  await db.query(
    `insert into public.maintenance_log (operation_type, target_table, details, rows_affected, bytes_freed, duration_ms)
     values ($1, $2, $3, $4, $5, $6)`,
    [
      entry.operation,
      entry.table,
      JSON.stringify(entry.details),
      entry.rows,
      entry.bytes,
      entry.durationMs === null ? null : Math.round(entry.durationMs),
    ],
  )
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
