import type { Queryable } from './pool.ts'

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
       and (extract(epoch from bucket_start)::float8, extract(epoch from bucket_end)::float8, profile, normalization) not in (
         select * from unnest($4::float8[], $5::float8[], $6::text[], $7::text[]))`,
    [
      bounds.from,
      bounds.to,
      bounds.least,
      rows.map((row) => row.start),
      rows.map((row) => row.end),
      rows.map((row) => row.profile),
      rows.map((row) => row.normalization),
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
     on conflict (bucket_start, bucket_end, profile, normalization) do update
       set device_count = excluded.device_count, device_set_hash = excluded.device_set_hash, sums = excluded.sums,
           netvar = excluded.netvar, pair = excluded.pair, devvar = excluded.devvar, covar = excluded.covar,
           max_abs_stouffer = excluded.max_abs_stouffer, method_version = excluded.method_version
       where (s.device_count, s.device_set_hash, s.sums, s.netvar, s.pair, s.devvar, s.covar, s.max_abs_stouffer,
              s.method_version)
         is distinct from
             (excluded.device_count, excluded.device_set_hash, excluded.sums, excluded.netvar, excluded.pair,
              excluded.devvar, excluded.covar, excluded.max_abs_stouffer, excluded.method_version)`,
    [JSON.stringify(rows), methodVersion],
  )
  return (removed.rowCount ?? 0) + (written.rowCount ?? 0)
}

/** An hour as the day needs it. */
export interface NetworkHour {
  readonly profile: string
  readonly normalization: string
  readonly sums: object
  readonly maxAbsStouffer: number | null
  readonly deviceSetHash: string
}

/** The hours of a day that begins at `day`, in order of profile, normalisation, time. */
export async function readNetworkHours(tx: Queryable, day: number): Promise<NetworkHour[]> {
  const { rows } = await tx.query<NetworkHour>(
    `select profile, normalization, sums, max_abs_stouffer as "maxAbsStouffer", device_set_hash as "deviceSetHash"
     from public.network_stats
     where bucket_start >= to_timestamp($1) and bucket_end <= to_timestamp($1) + interval '1 day'
       and bucket_end - bucket_start = interval '1 hour'
     order by profile, normalization, bucket_start`,
    [day],
  )
  return rows
}

/** A row of device_trials: the scores z of one device, hour and profile, and what they were normalised by, if they were. */
export interface DeviceTrials {
  readonly deviceId: string
  readonly profile: string
  readonly trials: number
  readonly failed: number
  readonly sumZ: number
  readonly sumZ2: number
  readonly referenceTrials: number | null
  readonly referenceMean: number | null
  readonly referenceVariance: number | null
}

/** Makes the rows of an hour exactly `rows`, as `replaceNetwork` does. */
export async function replaceDeviceTrials(
  tx: Queryable,
  hour: number,
  methodVersion: string,
  rows: readonly DeviceTrials[],
): Promise<void> {
  await tx.query(
    `delete from public.device_trials where bucket_start = to_timestamp($1)
       and (device_id, profile) not in (select * from unnest($2::uuid[], $3::text[]))`,
    [hour, rows.map((row) => row.deviceId), rows.map((row) => row.profile)],
  )
  await tx.query(
    `insert into public.device_trials as t
       (device_id, bucket_start, profile, trials, failed, sum_z, sum_z2, reference_trials, reference_mean,
        reference_variance, method_version)
     select r."deviceId", to_timestamp($2), r.profile, r.trials, r.failed, r."sumZ", r."sumZ2", r."referenceTrials",
            r."referenceMean", r."referenceVariance", $3
     from jsonb_to_recordset($1) as r (
       "deviceId" uuid, profile text, trials int, failed int, "sumZ" float8, "sumZ2" float8, "referenceTrials" bigint,
       "referenceMean" float8, "referenceVariance" float8)
     on conflict (bucket_start, profile, device_id) do update
       set trials = excluded.trials, failed = excluded.failed, sum_z = excluded.sum_z, sum_z2 = excluded.sum_z2,
           reference_trials = excluded.reference_trials, reference_mean = excluded.reference_mean,
           reference_variance = excluded.reference_variance, method_version = excluded.method_version
       where (t.trials, t.failed, t.sum_z, t.sum_z2, t.reference_trials, t.reference_mean, t.reference_variance,
              t.method_version)
         is distinct from
             (excluded.trials, excluded.failed, excluded.sum_z, excluded.sum_z2, excluded.reference_trials,
              excluded.reference_mean, excluded.reference_variance, excluded.method_version)`,
    [JSON.stringify(rows), hour, methodVersion],
  )
}

/** Sums over a device's hours in [from, to), seconds since 1970. */
export async function sumDeviceTrials(
  tx: Queryable,
  from: number,
  to: number,
): Promise<{ deviceId: string; profile: string; trials: number; sumZ: number; sumZ2: number }[]> {
  const { rows } = await tx.query<{ deviceId: string; profile: string; trials: number; sumZ: number; sumZ2: number }>(
    // In one order, so that a recomputation gives the same digits.
    `select device_id as "deviceId", profile, sum(trials)::float8 as trials, sum(sum_z order by bucket_start) as "sumZ",
            sum(sum_z2 order by bucket_start) as "sumZ2"
     from public.device_trials
     where bucket_start >= to_timestamp($1) and bucket_start < to_timestamp($2)
     group by device_id, profile`,
    [from, to],
  )
  return rows
}
