import { keepDays } from './analysis.ts'
import type { Queryable } from './pool.ts'
import type { NewSample } from './samples.ts'

/** Until the transaction ends no day is pruned. Taken before anything is read: what is read then holds. */
export async function holdDays(tx: Queryable): Promise<void> {
  await tx.query('set transaction isolation level repeatable read')
  await keepDays(tx)
}

/**
 * The uploaded chunks that may hold a sample of this device at one of these times, and of which rows have left Postgres: what they
 * hold is known, though an insert does not find it.
 */
export async function listPrunedChunks(
  db: Queryable,
  deviceId: string,
  timestamps: readonly (Date | string)[],
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `with sent as materialized (select at from unnest($2::timestamptz[]) as t (at))
     select c.id from public.storj_chunks c
     where c.status = 'uploaded' and c.format_version is not null and $1::text = any (c.device_ids)
       and c.max_timestamp >= (select min(at) from sent) and c.min_timestamp <= (select max(at) from sent)
       and exists (select from sent where at between c.min_timestamp and c.max_timestamp)
       and c.sample_count > (
         select count(*) from public.entropy_samples s
         where s.storj_chunk_id = c.id and s."timestamp" between c.min_timestamp and c.max_timestamp)
     order by c.min_timestamp, c.id`,
    [deviceId, timestamps],
  )
  return rows.map(({ id }) => id)
}

/** Of samples that are stored, by their place: those that are stored with other bytes. */
export async function listOtherBytes(
  db: Queryable,
  deviceId: string,
  samples: readonly NewSample[],
): Promise<Set<number>> {
  const { rows } = await db.query<{ place: number }>(
    `select place::int - 1 as place
     from unnest($2::uuid[], $3::timestamptz[], $4::bigint[], $5::bytea[]) with ordinality
       as s (profile_id, at, sequence, payload, place)
     where not exists (
       select from public.entropy_samples e
       where e.device_id = $1 and e."timestamp" = s.at and e.sequence = s.sequence and e.profile_id = s.profile_id
         and e.sample_data = s.payload)`,
    [
      deviceId,
      samples.map(({ profileId }) => profileId),
      samples.map(({ timestamp }) => timestamp),
      samples.map(({ sequence }) => sequence),
      samples.map(({ data }) => data),
    ],
  )
  return new Set(rows.map(({ place }) => place))
}

/** Microseconds since 1970 of times as Postgres reads them. */
export async function readMicroseconds(db: Queryable, timestamps: readonly (Date | string)[]): Promise<bigint[]> {
  const { rows } = await db.query<{ us: string }>(
    `select (extract(epoch from at) * 1000000)::bigint as us
     from unnest($1::timestamptz[]) with ordinality as t (at, place) order by place`,
    [timestamps],
  )
  return rows.map(({ us }) => BigInt(us))
}

/** The days (UTC) of these times that are over and have no partition of their own, oldest first; no more than may be made. */
export async function listDaysToMake(
  db: Queryable,
  timestamps: readonly (Date | string)[],
  mostPartitions: number,
): Promise<Date[]> {
  const { rows } = await db.query<{ day: Date }>(
    `select day from (
       select distinct date_trunc('day', at, 'UTC') as day from unnest($1::timestamptz[]) as t (at)
       where at >= '0001-01-01 00:00:00+00' and at < now()) days
     where to_regclass('entropy_partitions.entropy_samples_' || to_char(day at time zone 'UTC', 'YYYYMMDD')) is null
     order by day
     limit greatest(0, $2 - (select count(*) from pg_inherits where inhparent = 'public.entropy_samples'::regclass))`,
    [timestamps, mostPartitions],
  )
  return rows.map(({ day }) => day)
}
