-- A new partition, and devices that send meanwhile: locks in one order, and no deadlock that costs a device its batch.

-- As before, but that ATTACH finds its locks on the referenced tables held already. Inserts lock devices, for last_seen_at, and then the
-- partition that the sample goes to; ATTACH locks the default partition first, and an insert of a stray would close the circle.
-- Whoever has it the other way round waits for less than deadlock_timeout, as this gives up before.
create or replace function app_private.ensure_partitions(first_day date, last_day date) returns integer
language plpgsql security definer set search_path = '' set timezone = 'UTC' set datestyle = 'ISO' set lock_timeout = '500ms'
as $$
declare
  day date;
  name text;
  created integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('coherence.ensure_partitions'));
  for day in select first_day + n from generate_series(0, last_day - first_day) n loop
    name := 'entropy_samples_' || to_char(day, 'YYYYMMDD');
    continue when to_regclass('entropy_partitions.' || name) is not null
      or exists (select from entropy_partitions.entropy_samples_default
                 where "timestamp" >= day::timestamptz and "timestamp" < (day + 1)::timestamptz)
      or exists (
        select from pg_inherits i join pg_class c on c.oid = i.inhrelid
        cross join regexp_match(pg_get_expr(c.relpartbound, c.oid),
          $re$FROM \((?:MINVALUE|'([^']+)')\) TO \((?:MAXVALUE|'([^']+)')\)$re$) as bound
        where i.inhparent = 'public.entropy_samples'::regclass
          and coalesce(bound[1]::timestamptz, '-infinity') < (day + 1)::timestamptz
          and coalesce(bound[2]::timestamptz, 'infinity') > day::timestamptz and bound is not null);
    begin
      execute format('create table entropy_partitions.%I (like public.entropy_samples including all)', name);
      execute format('alter table entropy_partitions.%I enable row level security', name);
      lock table public.devices, public.sampling_profiles in share row exclusive mode;
      execute format(
        'alter table public.entropy_samples attach partition entropy_partitions.%I for values from (%L) to (%L)',
        name, day::timestamptz, (day + 1)::timestamptz);
      created := created + 1;
    exception
      when check_violation then null;     -- a stray of this day came in just now
      when lock_not_available then exit;  -- busy
    end;
  end loop;
  return created;
end;
$$;

-- As before, but that the chunks are listed once, not for each row where the planner reads them all.
create or replace view public.chunk_backlog with (security_invoker = true) as
select device_id,
       count(*) as samples,
       sum(octet_length(sample_data)) as bytes,
       min(created_at) as oldest
from public.entropy_samples
where storj_chunk_id is null or storj_chunk_id = any ((select app_private.unpacked_chunks())::uuid[])
group by device_id;

create or replace view public.pipeline_health with (security_invoker = true) as
with waiting as (
  select count(*) as samples, min(created_at) as oldest from public.entropy_samples
  where storj_chunk_id is null or storj_chunk_id = any ((select app_private.unpacked_chunks())::uuid[])
)
select
  (select samples from waiting) as waiting_samples,
  (select oldest from waiting) as oldest_waiting,
  count(*) filter (where status = 'pending') as pending_chunks,
  count(*) filter (where status = 'uploading') as uploading_chunks,
  count(*) filter (where status = 'uploaded' and verified_at is null) as unverified_chunks,
  count(*) filter (where status = 'uploaded' and verified_at is not null) as verified_chunks,
  count(*) filter (where status = 'failed') as failed_chunks,
  count(*) filter (where last_error is not null and (status <> 'uploaded' or verified_at is null)) as chunks_with_errors,
  max(uploaded_at) as last_upload,
  max(verified_at) as last_verification,
  (select count(*) from public.analysis_jobs where status = 'queued') as queued_analyses,
  (select count(*) from public.analysis_jobs where status = 'running') as running_analyses,
  (select max(executed_at) from public.maintenance_log where operation_type = 'prune') as last_prune
from public.storj_chunks;
