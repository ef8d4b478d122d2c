import type { NetworkSums } from '../pipeline/network.ts'
import type { DeviceHour, KnownDevice } from '../pipeline/report/device-part.ts'
import type { DevicePValues } from '../pipeline/report/tests-part.ts'
import type { Queryable } from './pool.ts'

/** A range of time [from, to), seconds since 1970, and the devices of interest; null: all. */
export interface ReportWindow {
  readonly from: number
  readonly to: number
  readonly deviceIds: readonly string[] | null
}

const bounds = ({ from, to, deviceIds }: ReportWindow) => [from, to, deviceIds]
const HOUR_ROWS = `method_version is not null and bucket_end - bucket_start = interval '1 hour'
  and bucket_start >= to_timestamp($1) and bucket_end <= to_timestamp($2)`
/** UTC with milliseconds, as JavaScript writes it. */
const iso = (time: string) => `to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

/** The begin of the newest hour with a device's rows before `before`, seconds since 1970; null if there is none. */
export async function findNewestHour(db: Queryable, before: number): Promise<number | null> {
  const { rows } = await db.query<{ hour: number | null }>(
    `select extract(epoch from max(bucket_start))::float8 as hour from public.device_timeslice_stats
     where method_version is not null and bucket_end - bucket_start = interval '1 hour' and bucket_start < to_timestamp($1)`,
    [before],
  )
  return rows[0].hour
}

/** Whether any hour of [from, to) has a device's row. */
export async function hasDeviceHours(db: Queryable, from: number, to: number): Promise<boolean> {
  const { rows } = await db.query<{ found: boolean }>(
    `select exists (select from public.device_timeslice_stats where ${HOUR_ROWS}) as found`,
    [from, to],
  )
  return rows[0].found
}

export interface NetworkBucketRow {
  /** Seconds since 1970. */
  readonly end: number
  readonly seconds: number
  readonly sums: NetworkSums
  readonly methodVersion: string
}

/** The network's buckets of so many seconds, profile all_bits, theoretical, in the order of time. */
export async function readNetworkBuckets(
  db: Queryable,
  { from, to }: ReportWindow,
  bucketSeconds: number,
): Promise<NetworkBucketRow[]> {
  const { rows } = await db.query<NetworkBucketRow>(
    `select extract(epoch from bucket_end)::float8 as end, $3::float8 as seconds,
            sums || jsonb_build_object('max_abs_stouffer', max_abs_stouffer) as sums, method_version as "methodVersion"
     from public.network_stats
     where bucket_start >= to_timestamp($1) and bucket_end <= to_timestamp($2)
       and bucket_end - bucket_start = make_interval(secs => $3) and profile = 'all_bits' and normalization = 'theoretical'
     order by bucket_start`,
    [from, to, bucketSeconds],
  )
  return rows
}

/** Every device, or those asked for, by name. */
export async function listReportDevices(db: Queryable, deviceIds: readonly string[] | null): Promise<KnownDevice[]> {
  const { rows } = await db.query<KnownDevice>(
    `select id, name, status::text, client_type::text as "clientType", ${iso('last_seen_at')} as "lastSeenAt"
     from public.devices where $1::uuid[] is null or id = any ($1) order by name, id`,
    [deviceIds],
  )
  return rows
}

/** The hours of the devices, in the order of time; of devices that were deleted too. */
export async function readDeviceHours(
  db: Queryable,
  window: ReportWindow,
): Promise<(DeviceHour & { methodVersion: string })[]> {
  const { rows } = await db.query<DeviceHour & { methodVersion: string }>(
    `select device_id as "deviceId", sample_count::float8 as samples, byte_count::float8 as bytes, entropy_estimate as entropy,
            (extra -> 'frequency' ->> 'ones')::float8 as ones, (extra -> 'frequency' ->> 'n_bits')::float8 as bits,
            (extra ->> 'gaps')::float8 as gaps, (extra ->> 'duplicates')::float8 as duplicates,
            (extra ->> 'seconds_covered')::float8 as "secondsCovered",
            (uniformity_chi_square ->> 'statistic')::float8 as "chiSquare", method_version as "methodVersion"
     from public.device_timeslice_stats
     where ${HOUR_ROWS} and ($3::uuid[] is null or device_id = any ($3))
     order by bucket_start, device_id`,
    bounds(window),
  )
  return rows
}

/** Trials and failed seconds of each device over the window, profile all_bits. */
export async function sumTrials(
  db: Queryable,
  window: ReportWindow,
): Promise<{ deviceId: string; trials: number; failed: number }[]> {
  const { rows } = await db.query<{ deviceId: string; trials: number; failed: number }>(
    `select device_id as "deviceId", sum(trials)::float8 as trials, sum(failed)::float8 as failed
     from public.device_trials
     where bucket_start >= to_timestamp($1) and bucket_start < to_timestamp($2) and profile = 'all_bits'
       and ($3::uuid[] is null or device_id = any ($3))
     group by device_id`,
    bounds(window),
  )
  return rows
}

/** Verified chunks that begin in the window: each chunk is in one day's report. */
const CHUNK_RESULTS = `from public.storj_chunks c join public.chunk_analysis a on a.chunk_id = c.id
  where c.verified_at is not null and c.min_timestamp >= to_timestamp($1) and c.min_timestamp < to_timestamp($2)`

/** The P-values of the chunks that begin in the window, by device, test and place among the test's P-values. */
export async function readChunkPValues(db: Queryable, window: ReportWindow): Promise<DevicePValues[]> {
  const { rows } = await db.query<DevicePValues>(
    `with results as materialized (
       select d.device_id, r.test, r.status, r.p_values
       from (select a.tests ${CHUNK_RESULTS}) a,
         jsonb_to_recordset(a.tests -> 'devices') as d (device_id uuid, results jsonb),
         jsonb_to_recordset(d.results) as r (test text, status text, p_values float8[])
       where $3::uuid[] is null or d.device_id = any ($3)
     ), counts as (
       select device_id, test, max(cardinality(p_values)) as of,
              jsonb_build_object('ok', count(*) filter (where status = 'ok'),
                'insufficient', count(*) filter (where status = 'insufficient'),
                'not_applicable', count(*) filter (where status = 'not_applicable')) as results
       from results group by device_id, test
     ), found as (
       select device_id, test, place, array_agg(p) as p_values
       from results, unnest(p_values) with ordinality as each (p, place) group by device_id, test, place
     )
     select device_id as "deviceId", test, coalesce(place - 1, 0)::int as index, of, results,
            coalesce(p_values, '{}') as "pValues"
     from counts left join found using (device_id, test)
     order by test, place, device_id`,
    bounds(window),
  )
  return rows
}

/** Alarms of the chunks that begin in the window, by device; how many such chunks there are; and what tested them. */
export async function readChunkAlarms(
  db: Queryable,
  window: ReportWindow,
): Promise<{ chunks: number; alarms: Record<string, number>; versions: string[] }> {
  const { rows } = await db.query<{ chunks: number; alarms: Record<string, number>; versions: string[] }>(
    `with analysed as materialized (select a.metrics, a.tests ->> 'version' as version ${CHUNK_RESULTS}),
     alarms as (
       select d.device_id, sum(jsonb_array_length(d.alarms))::int as count
       from analysed a, jsonb_to_recordset(a.metrics -> 'devices') as d (device_id uuid, alarms jsonb)
       where $3::uuid[] is null or d.device_id = any ($3) group by d.device_id
     )
     select (select count(*)::int from analysed) as chunks,
            coalesce((select jsonb_object_agg(device_id, count) from alarms where count > 0), '{}') as alarms,
            array(select distinct version from analysed where version is not null order by 1) as versions`,
    bounds(window),
  )
  return rows[0]
}

export interface ReportChunk {
  readonly id: string
  readonly sha256: string
  readonly rows: number
  readonly bytes: number
  readonly from: string
  readonly to: string
  readonly verified_at: string | null
  readonly status: string
}

/** The chunks that overlap the window, those not verified too, in order of id. */
export async function listReportChunks(db: Queryable, window: ReportWindow): Promise<ReportChunk[]> {
  const { rows } = await db.query<ReportChunk>(
    `select id, sha256, sample_count as rows, byte_count::float8 as bytes, ${iso('min_timestamp')} as from,
            ${iso('max_timestamp')} as to, ${iso('verified_at')} as verified_at, status::text
     from public.storj_chunks
     where min_timestamp < to_timestamp($2) and max_timestamp >= to_timestamp($1)
       and ($3::uuid[] is null or device_ids && $3::text[])
     order by id`,
    bounds(window),
  )
  return rows
}

export interface PairHour {
  readonly hour: string
  readonly a: string
  readonly b: string
  readonly seconds: number
  readonly r: number | null
  readonly p: number | null
  readonly q: number | null
  readonly productZ: number | null
  readonly productQ: number | null
  readonly bestLag: number | null
}

/** Hours of pairs, the smallest P of Pearson's r first. */
export async function readPairHours(db: Queryable, window: ReportWindow, limit: number): Promise<PairHour[]> {
  const { rows } = await db.query<PairHour>(
    `select ${iso('bucket_start')} as hour, device_a_id as a, device_b_id as b,
            (correlation_metrics ->> 'n_seconds')::float8 as seconds, (correlation_metrics ->> 'pearson_r')::float8 as r,
            (tests -> 'pearson' ->> 'p')::float8 as p, (tests -> 'pearson' ->> 'q_value')::float8 as q,
            (correlation_metrics ->> 'product_z')::float8 as "productZ",
            (tests -> 'product' ->> 'q_value')::float8 as "productQ",
            (correlation_metrics -> 'lag' ->> 'best_lag')::float8 as "bestLag"
     from public.coherence_stats
     where ${HOUR_ROWS} and ($3::uuid[] is null or device_a_id = any ($3) and device_b_id = any ($3))
     order by p nulls last, bucket_start, a, b limit $4`,
    [...bounds(window), limit],
  )
  return rows
}

/** How many pairs were tested in the window's hours, all hours together, and by which methods. */
export async function countPairHours(
  db: Queryable,
  window: ReportWindow,
): Promise<{ tested: number; versions: string[] }> {
  const { rows } = await db.query<{ tested: number; versions: string[] }>(
    `with hours as (
       select bucket_start, max((tests -> 'product' ->> 'n_tests')::float8) as tested,
              array_agg(distinct method_version) as versions
       from public.coherence_stats where ${HOUR_ROWS} group by bucket_start
     )
     select coalesce(sum(tested), 0)::float8 as tested,
            coalesce((select array_agg(distinct v order by v) from hours, unnest(versions) v), '{}') as versions
     from hours`,
    [window.from, window.to],
  )
  return rows[0]
}

/** The object key of a report that was written of that day and set of chunks; null if none was. */
export async function findReport(db: Queryable, from: string, chunkSetHash: string): Promise<string | null> {
  const { rows } = await db.query<{ key: string }>(
    `select details ->> 'key' as key from public.maintenance_log
     where operation_type = 'report' and details ->> 'from' = $1 and details ->> 'chunk_set_hash' = $2 limit 1`,
    [from, chunkSetHash],
  )
  return rows[0]?.key ?? null
}
