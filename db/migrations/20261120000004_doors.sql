-- Who may do what, and how a user's INSERT becomes a job.

-- The one way SQL puts a job in a queue. Settings come from pgboss.queue, as boss.send takes them: a plain INSERT would
-- leave policy, dead letter and retries at the table's defaults.
create or replace function app_private.send_job(queue_name text, job_data jsonb, job_singleton_key text default null)
returns uuid
language plpgsql security definer set search_path = ''
as $$
declare
  job_id uuid;
begin
  if not exists (select from pgboss.queue q where q.name = queue_name) then
    raise exception 'queue % does not exist', queue_name using hint = 'Run `coherence migrate`; it creates the queues.';
  end if;
  insert into pgboss.job (
    name, data, singleton_key, start_after, created_on, keep_until, expire_seconds, deletion_seconds,
    retry_limit, retry_delay, retry_backoff, retry_delay_max, policy, dead_letter, heartbeat_seconds)
  select q.name, job_data, job_singleton_key, pgboss.job_now(), pgboss.job_now(),
    pgboss.job_now() + q.retention_seconds * interval '1s', q.expire_seconds, q.deletion_seconds,
    q.retry_limit, q.retry_delay, coalesce(q.retry_backoff, false), q.retry_delay_max, q.policy, q.dead_letter, q.heartbeat_seconds
  from pgboss.queue q where q.name = queue_name
  on conflict do nothing
  returning id into job_id;
  return job_id;
end;
$$;
revoke all on function app_private.send_job(text, jsonb, text) from public;

-- Runs as the caller, so current_user is the role PostgREST took on. Users ask; only the pipeline answers.
create or replace function app_private.guard_analysis_job() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if current_user not in ('anon', 'authenticated') then
    return new;
  end if;
  if tg_op = 'INSERT' then
    new.status := 'queued';
    new.error_message := null;
    new.created_at := now();
    new.started_at := null;
    new.completed_at := null;
    return new;
  end if;
  if (new.status, new.error_message, new.created_at, new.started_at, new.completed_at, new.user_id, new.id)
     is distinct from (old.status, old.error_message, old.created_at, old.started_at, old.completed_at, old.user_id, old.id) then
    raise exception 'status, times and owner of an analysis job are set by the pipeline'
      using errcode = 'insufficient_privilege', hint = 'Delete the row to cancel the job; insert a new row to ask again.';
  end if;
  return new;
end;
$$;
revoke all on function app_private.guard_analysis_job() from public;
create or replace trigger guard_analysis_jobs before insert or update on public.analysis_jobs
  for each row execute function app_private.guard_analysis_job();

create or replace function app_private.enqueue_analysis_job() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  -- Before `coherence migrate` has made the queues the row waits in its table, and reconcile calls a worker for it.
  if to_regclass('pgboss.queue') is null then
    return null;
  end if;
  perform app_private.send_job('run-analysis', jsonb_build_object('analysis_job_id', new.id), new.id::text);
  return null;
end;
$$;
revoke all on function app_private.enqueue_analysis_job() from public;
create or replace trigger enqueue_analysis_jobs after insert on public.analysis_jobs
  for each row when (new.status = 'queued') execute function app_private.enqueue_analysis_job();

-- Statistics outlive their device, and whoever owns a device of that id may read them: an id that was a device's once is
-- not for users to take again. The setting `role`, unlike current_user, is the caller's in a function with owner's rights.
create or replace function app_private.guard_device_id() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if current_setting('role') in ('anon', 'authenticated') and (tg_op = 'INSERT' or new.id <> old.id) and (
    exists (select from public.device_timeslice_stats where device_id = new.id)
    or exists (select from public.coherence_stats where device_a_id = new.id)
    or exists (select from public.coherence_stats where device_b_id = new.id)
    or exists (select from public.chunk_slices where device_id = new.id))
  then
    raise exception 'this id was another device''s'
      using errcode = 'insufficient_privilege', hint = 'Leave the id out: the database makes a new one.';
  end if;
  return new;
end;
$$;
revoke all on function app_private.guard_device_id() from public;
create or replace trigger guard_device_ids before insert or update of id on public.devices
  for each row execute function app_private.guard_device_id();

-- Grants, said in full, and only on our own tables: hosted projects differ in what new tables get by default.
do $grants$
declare
  ours constant text := 'public.profiles, public.devices, public.sampling_profiles, public.entropy_samples,
    public.storj_chunks, public.analysis_jobs, public.analysis_results, public.chunk_analysis,
    public.device_timeslice_stats, public.coherence_stats, public.maintenance_log, public.chunk_replicas,
    public.chunk_slices, public.network_stats, public.chunk_backlog, public.pipeline_health, public.device_health';
begin
  execute 'revoke all on ' || ours || ' from anon, authenticated';
  execute 'grant all on ' || ours || ' to service_role';
  -- A user's role is not the user's to set: it is what the admin policies trust. Columns that others added are as before.
  execute (select format('grant update (%s) on public.profiles to authenticated', string_agg(quote_ident(attname), ', '))
    from pg_attribute where attrelid = 'public.profiles'::regclass and attnum > 0 and not attisdropped
      and attname not in ('id', 'role', 'created_at', 'updated_at'));
end
$grants$;
grant select on public.profiles, public.devices, public.sampling_profiles, public.entropy_samples, public.storj_chunks,
  public.analysis_jobs, public.analysis_results, public.chunk_analysis, public.device_timeslice_stats,
  public.coherence_stats, public.maintenance_log, public.chunk_slices, public.network_stats,
  public.chunk_backlog, public.pipeline_health, public.device_health to authenticated;
grant insert, update, delete on public.devices, public.sampling_profiles, public.analysis_jobs to authenticated;
revoke all on function public.handle_new_user(), public.update_updated_at_column() from public, anon, authenticated;
