-- What one person asks for, and what it costs the others: turns by who was served last, limits that hold for many connections at once,
-- ranges that end, questions that stay as they were answered, and one sample that is sent twice without its time.

create table if not exists app_private.turns (
  asked text not null,
  user_id uuid not null references public.profiles (id) on delete cascade,
  begun_rank bigint not null,
  primary key (user_id, asked)
);
comment on table app_private.turns is 'The highest rank of each user that a worker has begun, by the table that asks.';
create index if not exists idx_turns_begun on app_private.turns (asked, begun_rank);
alter table app_private.turns enable row level security;

insert into app_private.turns (asked, user_id, begun_rank)
select 'analysis_jobs', user_id, max(queue_rank) from public.analysis_jobs where status in ('running', 'completed') group by user_id
on conflict do nothing;

alter table public.sample_exports add column if not exists queue_rank bigint not null default 0;
comment on column public.sample_exports.queue_rank is 'Whose turn it is: lower ranks first. Set by the pipeline.';
create index if not exists idx_sample_exports_waiting on public.sample_exports (queue_rank) where status = 'queued';
create index if not exists idx_sample_exports_waiting_of_user on public.sample_exports (user_id, queue_rank) where status = 'queued';

-- The rank of a new request: behind the user's own, those that wait and those that were begun; else that of what was begun last, so
-- that a newcomer comes before whatever else waits of the one who was served last (start-time fair queueing, Goyal et al. 1996). Not
-- further before the first that waits than that takes: whoever took back half of what he asked keeps his turns.
drop function if exists app_private.next_queue_rank(uuid);
create or replace function app_private.next_queue_rank(asked text, of_user uuid) returns bigint
language plpgsql volatile set search_path = ''
as $$
declare
  begun constant bigint := (select max(t.begun_rank) from app_private.turns t where t.asked = next_queue_rank.asked);
  first_waiting bigint;
  last_own bigint;
begin
  -- Not made of the name: a thousand rows of one insert ask a thousand times, and a statement that stands here is planned once.
  if asked = 'analysis_jobs' then
    first_waiting := (select min(queue_rank) from public.analysis_jobs where status = 'queued');
    last_own := (select max(queue_rank) from public.analysis_jobs where status = 'queued' and user_id = of_user);
  else
    first_waiting := (select min(queue_rank) from public.sample_exports where status = 'queued');
    last_own := (select max(queue_rank) from public.sample_exports where status = 'queued' and user_id = of_user);
  end if;
  return coalesce(greatest(
    begun,
    case when begun is null then first_waiting else first_waiting - 1 end,
    last_own + 1,
    (select t.begun_rank + 1 from app_private.turns t where t.asked = next_queue_rank.asked and t.user_id = of_user)
  ), 0);
end;
$$;
revoke all on function app_private.next_queue_rank(text, uuid) from public;

create or replace function app_private.take_turn() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  new.queue_rank := app_private.next_queue_rank(tg_table_name, new.user_id);
  return new;
end;
$$;
revoke all on function app_private.take_turn() from public;

-- Only of what a worker has begun: somebody who takes back his last request has not been served up to there.
create or replace function app_private.note_turn() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into app_private.turns as t (asked, user_id, begun_rank) values (tg_table_name, new.user_id, new.queue_rank)
  on conflict (user_id, asked) do update set begun_rank = excluded.begun_rank where t.begun_rank < excluded.begun_rank;
  return null;
end;
$$;
revoke all on function app_private.note_turn() from public;

do $$
declare
  asked text;
begin
  foreach asked in array array['analysis_jobs', 'sample_exports'] loop
    execute format('create or replace trigger take_turns before insert on public.%I
      for each row execute function app_private.take_turn()', asked);
    execute format($f$create or replace trigger note_turns after update of status on public.%I for each row
      when (old.status = 'queued' and new.status in ('running', 'completed')) execute function app_private.note_turn()$f$, asked);
  end loop;
end
$$;

create or replace function app_private.enqueue_sample_export() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  -- Without queues the row waits in its table, and reconcile calls a worker for it.
  if to_regclass('pgboss.queue') is not null and exists (select from pgboss.queue where name = 'export-samples') then
    perform app_private.send_job('export-samples', jsonb_build_object('export_id', new.id), new.id::text,
      (-least(new.queue_rank, 2147483647))::integer);
  end if;
  return null;
end;
$$;

alter table app_private.user_limits add column if not exists analyses_a_day integer not null default 20000;

-- Whether the caller's requests are counted: a user's are, an admin's and the service's are not. The setting `role` is the caller's,
-- also in a function with its owner's rights.
create or replace function app_private.is_limited(of_user uuid) returns boolean
language sql stable set search_path = ''
as $$
  select current_setting('role') in ('anon', 'authenticated')
    and not exists (select from public.profiles where id = of_user and role = 'admin')
$$;
revoke all on function app_private.is_limited(uuid) from public;

-- One request of a user after the other: of several connections each sees what those before it have asked for.
create or replace function app_private.queue_up(of_user uuid) returns void
language sql volatile set search_path = ''
as $$ select pg_advisory_xact_lock(7268155, hashtext(of_user::text)) $$;
revoke all on function app_private.queue_up(uuid) from public;

create or replace function app_private.limit_analysis_jobs() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  most constant integer := (select waiting_analyses from app_private.user_limits);
begin
  if not app_private.is_limited(new.user_id) then
    return new;
  end if;
  perform app_private.queue_up(new.user_id);
  if most <= (
    select count(*) from (
      select from public.analysis_jobs where user_id = new.user_id and status = 'queued' limit most) waiting)
  then
    raise exception 'you have % analyses waiting, which is the most', most
      using errcode = 'PT429', hint = 'Ask again when some are done, or delete some.';
  end if;
  return new;
end;
$$;
revoke all on function app_private.limit_analysis_jobs() from public;
drop trigger if exists rank_analysis_jobs on public.analysis_jobs;
drop function if exists app_private.rank_analysis_job();
create or replace trigger limit_analysis_jobs before insert on public.analysis_jobs
  for each row execute function app_private.limit_analysis_jobs();

create table if not exists app_private.analyses_asked (
  user_id uuid primary key references public.profiles (id) on delete cascade,
  day date not null,
  analyses integer not null
);
comment on table app_private.analyses_asked is 'How many analyses a user has asked for in a day of UTC, those included that are deleted.';
alter table app_private.analyses_asked enable row level security;

-- By the statement: a row that is written anew for each of a thousand others would be slow to find.
create or replace function app_private.count_analyses() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  most constant integer := (select analyses_a_day from app_private.user_limits);
  today constant date := (now() at time zone 'utc')::date;
  counted record;
begin
  for counted in
    insert into app_private.analyses_asked as a (user_id, day, analyses)
    select user_id, today, count(*) from new_rows where app_private.is_limited(user_id) group by user_id
    on conflict (user_id) do update
      set day = today, analyses = excluded.analyses + case when a.day = today then a.analyses else 0 end
    returning *
  loop
    if counted.analyses > most then
      raise exception 'that is more than % analyses today, which is the most', most
        using errcode = 'PT429', hint = 'Ask again tomorrow; the day begins at midnight of UTC.';
    end if;
  end loop;
  return null;
end;
$$;
revoke all on function app_private.count_analyses() from public;
create or replace trigger count_analyses after insert on public.analysis_jobs
  referencing new table as new_rows for each statement execute function app_private.count_analyses();

create or replace function app_private.limit_sample_exports() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  most constant integer := (select exports_a_day from app_private.user_limits);
begin
  -- An admin's are counted, too: each is a file, kept for a day.
  if current_setting('role') not in ('anon', 'authenticated') then
    return new;
  end if;
  perform app_private.queue_up(new.user_id);
  if most <= (
    select count(*) from public.sample_exports where user_id = new.user_id and created_at > now() - interval '1 day')
  then
    raise exception 'you have asked for % exports in 24 hours, which is the most', most
      using errcode = 'PT429', hint = 'Ask again later, for a longer range of time.';
  end if;
  return new;
end;
$$;

-- Takes the job of an analysis out of its queue. One that no worker has leaves nothing behind, as with boss.deleteJob(); a worker that
-- has it finds out by its next heartbeat, and stops.
create or replace function app_private.cancel_analysis(analysis uuid) returns void
language plpgsql security definer set search_path = ''
as $$
begin
  if to_regclass('pgboss.job') is not null then
    delete from pgboss.job where name = 'run-analysis' and singleton_key = analysis::text and state < 'active';
    update pgboss.job set state = 'cancelled', completed_on = pgboss.job_now()
    where name = 'run-analysis' and singleton_key = analysis::text and state = 'active';
  end if;
end;
$$;

-- Runs as the caller, so current_user is the role PostgREST took on.
create or replace function app_private.guard_question() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if tg_op = 'INSERT' or (new.time_range_start, new.time_range_end) is distinct from (old.time_range_start, old.time_range_end)
  then
    if not isfinite(new.time_range_start) or not isfinite(new.time_range_end)
      -- The shortest hundred years there are, in seconds: an interval does not hold the longest.
      or extract(epoch from new.time_range_end) - extract(epoch from new.time_range_start) >= 36524 * 86400.0
    then
      raise exception 'an analysis is of less than 100 years, from time_range_start to time_range_end'
        using errcode = 'invalid_parameter_value', hint = 'Ask for a shorter range.';
    end if;
  end if;
  if tg_op = 'UPDATE' and old.status <> 'queued' and current_user in ('anon', 'authenticated')
    and (new.device_ids, new.time_range_start, new.time_range_end, new.test_names, new.parameters) is distinct from
      (old.device_ids, old.time_range_start, old.time_range_end, old.test_names, old.parameters)
  then
    raise exception 'this analysis was begun: what it asks for cannot be changed any more'
      using errcode = 'insufficient_privilege', hint = 'Insert a new row to ask again.';
  end if;
  return new;
end;
$$;
revoke all on function app_private.guard_question() from public;
create or replace trigger guard_questions before insert or update on public.analysis_jobs
  for each row execute function app_private.guard_question();

-- The time of a sample that was sent without one: that under which the same sample was stored a moment ago, by a call whose answer
-- was lost, or now. The same is the same profile, sequence and bytes within ten minutes: a device that starts anew counts from 0
-- again, but what it measures then are other bytes. One call of a device after the other, so that the second finds the first.
create or replace function app_private.time_of_untimed(device uuid, profile uuid, number bigint, payload bytea) returns timestamptz
language plpgsql volatile set search_path = ''
  -- By the index on (device_id, "timestamp").
  set enable_seqscan = off
as $$
begin
  -- Whoever may not send holds up nobody.
  perform app_private.require_sender(device);
  perform pg_advisory_xact_lock(7268156, hashtext(device::text));
  return coalesce((
    select e."timestamp" from public.entropy_samples e
    where e.device_id = device and e.profile_id = profile and e.sequence = number and e.sample_data = payload
      and e.created_at > now() - interval '10 minutes'
      and e."timestamp" between now() - interval '10 minutes' and now() + interval '10 minutes'
    order by e."timestamp" desc limit 1), now());
end;
$$;
revoke all on function app_private.time_of_untimed(uuid, uuid, bigint, bytea) from public;

-- One sample; the id it is stored under, whether now or before. Raises the reason if it is rejected.
create or replace function public.insert_entropy_sample(
  device_id uuid,
  profile_id uuid,
  sequence bigint,
  sample_data bytea,
  "timestamp" timestamptz default null
)
returns uuid
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  at constant timestamptz := coalesce(insert_entropy_sample."timestamp", app_private.time_of_untimed(
    insert_entropy_sample.device_id, insert_entropy_sample.profile_id, insert_entropy_sample.sequence,
    insert_entropy_sample.sample_data));
  outcome record;
begin
  select s.status, s.reason into outcome from app_private.store_samples(
    insert_entropy_sample.device_id, array[insert_entropy_sample.profile_id], array[at],
    array[insert_entropy_sample.sequence], array[insert_entropy_sample.sample_data]) s;
  if outcome.status = 'rejected' then
    raise exception '%', outcome.reason using errcode = 'invalid_parameter_value';
  end if;
  return (
    select e.id from public.entropy_samples e
    where e.device_id = insert_entropy_sample.device_id and e."timestamp" = at
      and e.sequence = insert_entropy_sample.sequence and e.profile_id = insert_entropy_sample.profile_id
    limit 1);
end;
$$;

-- Overwritten by the trigger that declares an event. With a default, generated types do not ask for what nobody may set.
alter table public.coherence_events
  alter column declared_at set default now(),
  alter column declared_before_start set default false;
