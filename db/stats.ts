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
