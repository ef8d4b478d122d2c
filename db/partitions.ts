import type { Queryable } from './pool.ts'

/** How many days ahead daily partitions are made: how long the tick may be down before rows become strays. */
export const PARTITION_DAYS_AHEAD = 7

/** Makes the daily partitions from today (UTC) to PARTITION_DAYS_AHEAD; returns how many are new. */
export async function ensurePartitions(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ created: number }>(
    `select app_private.ensure_partitions(today, today + $1::int) as created
     from (select (now() at time zone 'utc')::date as today) t`,
    [PARTITION_DAYS_AHEAD],
  )
  return rows[0].created
}

/** Makes the partition of one past day (UTC), before an archive of that day is loaded. */
export async function ensurePartitionOf(db: Queryable, day: Date): Promise<void> {
  const date = day.toISOString().slice(0, 10)
  await db.query('select app_private.ensure_partitions($1::date, $1::date)', [date])
}
