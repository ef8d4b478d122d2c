import type { Queryable } from './pool.ts'

/**
 * True if a chunk of ours, an analysis or an export is not done and has not been given up: what a reconcile looks after. By
 * indexes on what waits, whatever has been done.
 */
export async function hasUnfinished(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ found: boolean }>(
    `select exists (select from public.storj_chunks where status in ('pending', 'uploading') and format_version is not null)
       or exists (select from public.storj_chunks c
         where status = 'uploaded' and verified_at is null and format_version is not null
           and not exists (select from pgboss.job d where d.name = 'dead-letter' and d.source_name = 'test-chunk'
             and d.state = 'created' and d.singleton_key = c.id::text and d.created_on >= c.uploaded_at))
       or exists (select from public.analysis_jobs where status in ('queued', 'running'))
       or exists (select from public.sample_exports where status in ('queued', 'running')) as found`,
  )
  return rows[0].found
}

/** True if a stray is older than retention: a row that no day has room for, in a proved chunk. */
export async function hasExpiredStray(db: Queryable, retentionDays: number): Promise<boolean> {
  // Mostly there are no strays, and then no chunk is looked at.
  const { rows } = await db.query<{ found: boolean }>(
    `select case when exists (select from entropy_partitions.entropy_samples_default) then exists (
       select from public.storj_chunks c
       where c.status = 'uploaded' and c.verified_at is not null
         and least(c.max_timestamp, c.created_at) < now() - $1 * interval '1 day'
         and exists (select from entropy_partitions.entropy_samples_default s where s.storj_chunk_id = c.id)
     ) else false end as found`,
    [retentionDays],
  )
  return rows[0].found
}
