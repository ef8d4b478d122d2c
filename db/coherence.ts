import { once } from 'node:events'
import { finished } from 'node:stream/promises'
import type pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import type { Queryable } from './pool.ts'

export interface CoherenceRow {
  readonly deviceA: string
  readonly deviceB: string
  readonly correlationMetrics: object
  readonly tests: object
}

/**
 * Makes the pair rows of one bucket exactly `rows`: writes what changed, leaves what is equal untouched, removes the others.
 * They travel by COPY, so that many thousands cost no more memory than a few. Returns how many rows changed.
 */
export async function replaceCoherence(
  tx: pg.PoolClient,
  from: number,
  to: number,
  methodVersion: string,
  rows: readonly CoherenceRow[],
): Promise<number> {
  await tx.query(
    `create temporary table new_pairs (device_a uuid, device_b uuid, metrics jsonb, tests jsonb) on commit drop`,
  )
  const copy = tx.query(copyFrom('copy new_pairs from stdin (format csv)'))
  for (const row of rows) {
    const fields = [row.deviceA, row.deviceB, JSON.stringify(row.correlationMetrics), JSON.stringify(row.tests)]
    if (!copy.write(`${fields.map(quote).join(',')}\n`)) await once(copy, 'drain')
  }
  copy.end()
  await finished(copy)
  const removed = await tx.query(
    `delete from public.coherence_stats
     where method_version is not null and bucket_start = to_timestamp($1) and bucket_end = to_timestamp($2)
       and (device_a_id, device_b_id) not in (select device_a, device_b from new_pairs)`,
    [from, to],
  )
  const written = await tx.query(
    `insert into public.coherence_stats as s
       (bucket_start, bucket_end, device_a_id, device_b_id, correlation_metrics, tests, method_version)
     select to_timestamp($1), to_timestamp($2), device_a, device_b, metrics, tests, $3 from new_pairs
     on conflict (device_a_id, device_b_id, bucket_start, bucket_end) where method_version is not null do update
       set correlation_metrics = excluded.correlation_metrics, tests = excluded.tests,
           method_version = excluded.method_version
       where (s.correlation_metrics, s.tests, s.method_version)
         is distinct from (excluded.correlation_metrics, excluded.tests, excluded.method_version)`,
    [from, to, methodVersion],
  )
  await tx.query('drop table new_pairs')
  return (removed.rowCount ?? 0) + (written.rowCount ?? 0)
}

function quote(field: string): string {
  return `"${field.replaceAll('"', '""')}"`
}

/** Pairs that somebody watches, whose users may still read both devices. */
export async function listWatchedPairs(tx: Queryable): Promise<{ a: string; b: string }[]> {
  const { rows } = await tx.query<{ a: string; b: string }>(
    `select distinct w.device_a_id as a, w.device_b_id as b
     from public.watched_pairs w
       join public.devices a on a.id = w.device_a_id join public.devices b on b.id = w.device_b_id
       join public.profiles p on p.id = w.user_id
     where p.role = 'admin' or (a.user_id = w.user_id and b.user_id = w.user_id)`,
  )
  return rows
}
