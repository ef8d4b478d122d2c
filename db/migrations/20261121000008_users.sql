-- The users' door: analyses of one's own devices only, in turn with everybody else's, not too many at once, and ended on request;
-- and what the web app hears of by itself.

create table if not exists app_private.user_limits (
  only_row boolean primary key default true check (only_row),
  waiting_analyses integer not null default 1000
);
comment on table app_private.user_limits is 'What one user may have waiting; the maintainer may change it. Admins have no limit.';
insert into app_private.user_limits default values on conflict do nothing;
alter table app_private.user_limits enable row level security;

alter table public.analysis_jobs add column if not exists queue_rank bigint not null default 0;
comment on column public.analysis_jobs.queue_rank is 'Whose turn it is: lower ranks first. Set by the pipeline.';
create index if not exists idx_analysis_jobs_waiting on public.analysis_jobs (queue_rank) where status = 'queued';
create index if not exists idx_analysis_jobs_waiting_of_user on public.analysis_jobs (user_id, queue_rank) where status = 'queued';

-- The rank of a new analysis: behind the user's own that wait, and at the front of everybody else's. Thus users take turns, however
-- many one has put in, and nobody who comes later overtakes without end (start-time fair queueing, Goyal et al. 1996).
create or replace function app_private.next_queue_rank(of_user uuid) returns bigint
language sql volatile set search_path = ''
as $$
  select greatest(
    coalesce((select min(queue_rank) from public.analysis_jobs where status = 'queued'), 0),
    (select max(queue_rank) + 1 from public.analysis_jobs where status = 'queued' and user_id = of_user))
$$;
revoke all on function app_private.next_queue_rank(uuid) from public;

-- Runs as the caller, so current_user is the role PostgREST took on, and it sees what the caller may. Users ask; only the pipeline
-- answers.
create or replace function app_private.guard_analysis_job() returns trigger
language plpgsql set search_path = ''
as $$
declare
  foreign_devices text;
begin
  if current_user not in ('anon', 'authenticated') then
    return new;
  end if;
  if cardinality(new.device_ids) > 1000 or cardinality(new.test_names) > 100 or pg_column_size(new.parameters) > 65536 then
    raise exception 'an analysis has at most 1000 devices, 100 tests and 64 KB of parameters'
      using errcode = 'invalid_parameter_value', hint = 'No device_ids at all means every device of yours.';
  end if;
  if tg_op = 'INSERT' or new.device_ids is distinct from old.device_ids then
    select string_agg(coalesce(wanted, 'null'), ', ') into foreign_devices
    from (select wanted from unnest(new.device_ids) as wanted where wanted is null or not exists (
      select from public.devices d where d.id::text = lower(wanted) and d.user_id = (select auth.uid())) limit 10) f;
    if foreign_devices is not null
      and not exists (select from public.profiles where id = (select auth.uid()) and role = 'admin')
    then
      raise exception 'these are not devices of yours: %', foreign_devices using errcode = 'insufficient_privilege';
    end if;
  end if;
  if tg_op = 'INSERT' then
    new.status := 'queued';
    new.error_message := null;
    new.created_at := now();
    new.started_at := null;
    new.completed_at := null;
    return new;
  end if;
  if (new.status, new.error_message, new.created_at, new.started_at, new.completed_at, new.user_id, new.id, new.queue_rank)
    is distinct from
    (old.status, old.error_message, old.created_at, old.started_at, old.completed_at, old.user_id, old.id, old.queue_rank)
  then
    raise exception 'status, times and owner of an analysis job are set by the pipeline'
      using errcode = 'insufficient_privilege',
        hint = 'cancel_analysis_job() or deleting the row ends it; insert a new row to ask again.';
  end if;
  return new;
end;
$$;

-- The setting `role` is the caller's, also in a function with its owner's rights.
create or replace function app_private.rank_analysis_job() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  most constant integer := (select waiting_analyses from app_private.user_limits);
begin
  if current_setting('role') in ('anon', 'authenticated')
    and most <= (
      select count(*) from (
        select from public.analysis_jobs where user_id = new.user_id and status = 'queued' limit most) waiting)
    and not exists (select from public.profiles where id = new.user_id and role = 'admin')
  then
    raise exception 'you have % analyses waiting, which is the most', most
      using errcode = 'PT429', hint = 'Ask again when some are done, or delete some.';
  end if;
  new.queue_rank := app_private.next_queue_rank(new.user_id);
  return new;
end;
$$;
revoke all on function app_private.rank_analysis_job() from public;
create or replace trigger rank_analysis_jobs before insert on public.analysis_jobs
  for each row execute function app_private.rank_analysis_job();

-- As before, and with a priority: the higher, the sooner.
drop function if exists app_private.send_job(text, jsonb, text);
create or replace function app_private.send_job(
  queue_name text, job_data jsonb, job_singleton_key text default null, job_priority integer default 0)
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
    name, data, singleton_key, priority, start_after, created_on, keep_until, expire_seconds, deletion_seconds,
    retry_limit, retry_delay, retry_backoff, retry_delay_max, policy, dead_letter, heartbeat_seconds)
  select q.name, job_data, job_singleton_key, job_priority, pgboss.job_now(), pgboss.job_now(),
    pgboss.job_now() + q.retention_seconds * interval '1s', q.expire_seconds, q.deletion_seconds,
    q.retry_limit, q.retry_delay, coalesce(q.retry_backoff, false), q.retry_delay_max, q.policy, q.dead_letter, q.heartbeat_seconds
  from pgboss.queue q where q.name = queue_name
  on conflict do nothing
  returning id into job_id;
  return job_id;
end;
$$;
revoke all on function app_private.send_job(text, jsonb, text, integer) from public;

create or replace function app_private.enqueue_analysis_job() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  -- Before `coherence migrate` has made the queues the row waits in its table, and reconcile calls a worker for it.
  if to_regclass('pgboss.queue') is null then
    return null;
  end if;
  perform app_private.send_job('run-analysis', jsonb_build_object('analysis_job_id', new.id), new.id::text,
    (-least(new.queue_rank, 2147483647))::integer);
  return null;
end;
$$;

-- Takes the job of an analysis out of its queue. A worker that has it already finds that out by its next heartbeat, and stops.
create or replace function app_private.cancel_analysis(analysis uuid) returns void
language plpgsql security definer set search_path = ''
as $$
begin
  if to_regclass('pgboss.job') is not null then
    update pgboss.job set state = 'cancelled', completed_on = pgboss.job_now()
    where name = 'run-analysis' and singleton_key = analysis::text and state < 'completed';
  end if;
end;
$$;
revoke all on function app_private.cancel_analysis(uuid) from public;

create or replace function app_private.cancel_deleted_analysis() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  perform app_private.cancel_analysis(old.id);
  return null;
end;
$$;
revoke all on function app_private.cancel_deleted_analysis() from public;
create or replace trigger cancel_deleted_analyses after delete on public.analysis_jobs
  for each row when (old.status in ('queued', 'running')) execute function app_private.cancel_deleted_analysis();

-- Ends an analysis of one's own (an admin: anybody's) that is not done. False if there is none such.
create or replace function public.cancel_analysis_job(job_id uuid) returns boolean
language plpgsql security definer set search_path = ''
as $$
begin
  update public.analysis_jobs j
  set status = 'failed', error_message = 'Cancelled.', completed_at = now()
  where j.id = cancel_analysis_job.job_id and j.status in ('queued', 'running') and (
    current_setting('role') not in ('anon', 'authenticated', 'device') or j.user_id = (select auth.uid())
    or exists (select from public.profiles where id = (select auth.uid()) and role = 'admin'));
  if not found then
    return false;
  end if;
  perform app_private.cancel_analysis(cancel_analysis_job.job_id);
  return true;
end;
$$;
revoke all on function public.cancel_analysis_job(uuid) from public, anon;
grant execute on function public.cancel_analysis_job(uuid) to authenticated, service_role;

-- What the web app hears of by itself, as far as row level security shows it to who listens.
do $$
declare
  wanted text;
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables) then
    return;
  end if;
  foreach wanted in array array['analysis_jobs', 'analysis_results', 'device_timeslice_stats', 'network_stats'] loop
    if not exists (
      select from pg_publication_tables
      where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = wanted)
    then
      execute format('alter publication supabase_realtime add table public.%I', wanted);
    end if;
  end loop;
exception
  when insufficient_privilege then
    raise notice 'Realtime is not set up: publication supabase_realtime belongs to somebody else. Add the tables in the dashboard.';
end
$$;
