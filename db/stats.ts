import type { Queryable } from './pool.ts'

/** A row of device_timeslice_stats; times in seconds since 1970 UTC. */
export interface TimesliceRow {
  readonly bucketStart: number
  readonly bucketEnd: number
  readonly sampleCount: number
  readonly byteCount: number
  readonly entropyEstimate: number | null
  readonly uniformityChiSquare: object
  readonly runsTest: object
  readonly autocorrelation: object
  readonly extra: object
}

export interface CoherenceRow {
  readonly deviceA: string
  readonly deviceB: string
  readonly correlationMetrics: object
  readonly tests: object
}

export interface NetworkRow {
  /** Seconds since 1970 UTC. */
  readonly start: number
  readonly end: number
  readonly profile: string
  readonly deviceCount: number
  readonly deviceSetHash: string
  readonly sums: object
  readonly netvar: object
  readonly pair: object
  readonly devvar: object
  readonly covar: object
  readonly maxAbsStouffer: number | null
  readonly normalization: string
}

/** The first key of our advisory locks: "cohe". */
const LOCK_CLASS = 0x636f6865
/** Buckets share this many locks: a chunk may touch thousands of hours, and the server's table of locks is small. */
const LOCK_SLOTS = 128
const SLOT = `(abs(hashtextextended(name, 0) % ${LOCK_SLOTS}))::int`

/**
 * Serialises the recomputations of these buckets until the transaction ends, so that the one that starts last sees, and
 * writes, the newest partials. All that a transaction needs at once: in one order, they cannot wait for each other in a
 * circle. Works through a transaction-mode pooler.
 */
export async function lockBuckets(tx: Queryable, names: readonly string[]): Promise<void> {
  await tx.query(
    `select pg_advisory_xact_lock(${LOCK_CLASS}, slot)
     from (select distinct ${SLOT} as slot from unnest($1::text[]) as bucket (name) order by 1) slots`,
    [names],
  )
}

/**
 * Keeps the recomputations of these buckets waiting until the transaction ends, for one that changes partials; any number
 * may at once. Taken before their jobs are sent: a queued job that makes the send superfluous cannot read before the
 * partials are committed.
 */
export async function holdBuckets(tx: Queryable, names: readonly string[]): Promise<void> {
  await tx.query(
    `select pg_advisory_xact_lock_shared(${LOCK_CLASS}, slot)
     from (select distinct ${SLOT} as slot from unnest($1::text[]) as bucket (name) order by 1) slots`,
    [names],
  )
}

/**
 * Makes the rows of one device in [from, to) exactly `rows`: writes what changed, leaves what is equal untouched,
 * removes buckets that no partial supports any more. Returns how many rows changed.
 */
export async function replaceTimeslices(
  tx: Queryable,
  deviceId: string,
  from: number,
  to: number,
  methodVersion: string,
  rows: readonly TimesliceRow[],
): Promise<number> {
  const removed = await tx.query(
    `delete from public.device_timeslice_stats s
     where device_id = $1 and method_version is not null
       and bucket_start >= to_timestamp($2) and bucket_end <= to_timestamp($3)
       and (extract(epoch from bucket_start)::float8, extract(epoch from bucket_end)::float8) not in (
         select * from unnest($4::float8[], $5::float8[]))`,
    [deviceId, from, to, rows.map((row) => row.bucketStart), rows.map((row) => row.bucketEnd)],
  )
  const written = await tx.query(
    `insert into public.device_timeslice_stats as s
       (device_id, bucket_start, bucket_end, sample_count, byte_count, entropy_estimate, uniformity_chi_square,
        runs_test, autocorrelation, extra, method_version)
     select $1, to_timestamp(bucket_start), to_timestamp(bucket_end), sample_count, byte_count, entropy, chi, runs, auto,
            extra, $2
     from unnest($3::float8[], $4::float8[], $5::bigint[], $6::bigint[], $7::float8[], $8::jsonb[], $9::jsonb[],
                 $10::jsonb[], $11::jsonb[])
       as r (bucket_start, bucket_end, sample_count, byte_count, entropy, chi, runs, auto, extra)
     on conflict (device_id, bucket_start, bucket_end) where method_version is not null do update
       set sample_count = excluded.sample_count, byte_count = excluded.byte_count,
           entropy_estimate = excluded.entropy_estimate, uniformity_chi_square = excluded.uniformity_chi_square,
           runs_test = excluded.runs_test, autocorrelation = excluded.autocorrelation, extra = excluded.extra,
           method_version = excluded.method_version
       where (s.sample_count, s.byte_count, s.entropy_estimate, s.uniformity_chi_square, s.runs_test,
              s.autocorrelation, s.extra, s.method_version)
         is distinct from
             (excluded.sample_count, excluded.byte_count, excluded.entropy_estimate, excluded.uniformity_chi_square,
              excluded.runs_test, excluded.autocorrelation, excluded.extra, excluded.method_version)`,
    [
      deviceId,
      methodVersion,
      rows.map((row) => row.bucketStart),
      rows.map((row) => row.bucketEnd),
      rows.map((row) => row.sampleCount),
      rows.map((row) => row.byteCount),
      rows.map((row) => row.entropyEstimate),
      rows.map((row) => JSON.stringify(row.uniformityChiSquare)),
      rows.map((row) => JSON.stringify(row.runsTest)),
      rows.map((row) => JSON.stringify(row.autocorrelation)),
      rows.map((row) => JSON.stringify(row.extra)),
    ],
  )
  return (removed.rowCount ?? 0) + (written.rowCount ?? 0)
}

/** Makes the pair rows of one bucket exactly `rows`, as `replaceTimeslices` does. */
export async function replaceCoherence(
  tx: Queryable,
  from: number,
  to: number,
  methodVersion: string,
  rows: readonly CoherenceRow[],
): Promise<number> {
  const removed = await tx.query(
    `delete from public.coherence_stats
     where method_version is not null and bucket_start = to_timestamp($1) and bucket_end = to_timestamp($2)
       and (device_a_id, device_b_id) not in (select * from unnest($3::uuid[], $4::uuid[]))`,
    [from, to, rows.map((row) => row.deviceA), rows.map((row) => row.deviceB)],
  )
  const written = await tx.query(
    `insert into public.coherence_stats as s
       (bucket_start, bucket_end, device_a_id, device_b_id, correlation_metrics, tests, method_version)
     select to_timestamp($1), to_timestamp($2), device_a, device_b, metrics, tests, $3
     from unnest($4::uuid[], $5::uuid[], $6::jsonb[], $7::jsonb[]) as r (device_a, device_b, metrics, tests)
     on conflict (device_a_id, device_b_id, bucket_start, bucket_end) where method_version is not null do update
       set correlation_metrics = excluded.correlation_metrics, tests = excluded.tests,
           method_version = excluded.method_version
       where (s.correlation_metrics, s.tests, s.method_version)
         is distinct from (excluded.correlation_metrics, excluded.tests, excluded.method_version)`,
    [
      from,
      to,
      methodVersion,
      rows.map((row) => row.deviceA),
      rows.map((row) => row.deviceB),
      rows.map((row) => JSON.stringify(row.correlationMetrics)),
      rows.map((row) => JSON.stringify(row.tests)),
    ],
  )
  return (removed.rowCount ?? 0) + (written.rowCount ?? 0)
}

/**
 * Makes the network's rows inside [from, to) that are no shorter than `least` seconds exactly `rows`: writes what changed, leaves
 * what is equal untouched, removes the others. Returns how many rows changed.
 */
export async function replaceNetwork(
  tx: Queryable,
  bounds: { from: number; to: number; least: number },
  methodVersion: string,
  rows: readonly NetworkRow[],
): Promise<number> {
  const removed = await tx.query(
    `delete from public.network_stats
     where bucket_start >= to_timestamp($1) and bucket_end <= to_timestamp($2)
       and bucket_end - bucket_start >= make_interval(secs => $3)
       and (extract(epoch from bucket_start)::float8, extract(epoch from bucket_end)::float8, profile) not in (
         select * from unnest($4::float8[], $5::float8[], $6::text[]))`,
    [
      bounds.from,
      bounds.to,
      bounds.least,
      rows.map((row) => row.start),
      rows.map((row) => row.end),
      rows.map((row) => row.profile),
    ],
  )
  const written = await tx.query(
    `insert into public.network_stats as s
       (bucket_start, bucket_end, profile, device_count, device_set_hash, sums, netvar, pair, devvar, covar,
        max_abs_stouffer, normalization, method_version)
     select to_timestamp(r.start), to_timestamp(r.end), r.profile, r."deviceCount", r."deviceSetHash", r.sums, r.netvar,
            r.pair, r.devvar, r.covar, r."maxAbsStouffer", r.normalization, $2
     from jsonb_to_recordset($1) as r (
       start float8, "end" float8, profile text, "deviceCount" int, "deviceSetHash" text, sums jsonb, netvar jsonb,
       pair jsonb, devvar jsonb, covar jsonb, "maxAbsStouffer" float8, normalization text)
     on conflict (bucket_start, bucket_end, profile) do update
       set device_count = excluded.device_count, device_set_hash = excluded.device_set_hash, sums = excluded.sums,
           netvar = excluded.netvar, pair = excluded.pair, devvar = excluded.devvar, covar = excluded.covar,
           max_abs_stouffer = excluded.max_abs_stouffer, normalization = excluded.normalization,
           method_version = excluded.method_version
       where (s.device_count, s.device_set_hash, s.sums, s.netvar, s.pair, s.devvar, s.covar, s.max_abs_stouffer,
              s.normalization, s.method_version)
         is distinct from
             (excluded.device_count, excluded.device_set_hash, excluded.sums, excluded.netvar, excluded.pair,
              excluded.devvar, excluded.covar, excluded.max_abs_stouffer, excluded.normalization, excluded.method_version)`,
    [JSON.stringify(rows), methodVersion],
  )
  return (removed.rowCount ?? 0) + (written.rowCount ?? 0)
}

/** The hours of a day that begins at `day`, in order of profile, then time. */
export async function readNetworkHours(
  tx: Queryable,
  day: number,
): Promise<{ profile: string; sums: object; maxAbsStouffer: number | null; deviceSetHash: string }[]> {
  const { rows } = await tx.query<{
    profile: string
    sums: object
    maxAbsStouffer: number | null
    deviceSetHash: string
  }>(
    `select profile, sums, max_abs_stouffer as "maxAbsStouffer", device_set_hash as "deviceSetHash"
     from public.network_stats
     where bucket_start >= to_timestamp($1) and bucket_end <= to_timestamp($1) + interval '1 day'
       and bucket_end - bucket_start = interval '1 hour'
     order by profile, bucket_start`,
    [day],
  )
  return rows
}
