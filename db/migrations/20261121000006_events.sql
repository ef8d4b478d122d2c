-- Events: a window and its one hypothesis, declared before the window is over, computed once, never changed. Kept apart from
-- network_stats, which is monitoring: those rows follow late data, these do not.

create table if not exists public.coherence_events (
  id uuid primary key default gen_random_uuid(),
  name text not null unique check (name ~ '\S' and length(name) <= 200),
  hypothesis text not null check (hypothesis in ('pair', 'netvar', 'devvar', 'covar')),
  tail text not null check (tail in ('upper', 'two_sided')),
  profile text not null default 'all_bits' check (profile in ('all_bits', 'gcp200')),
  event_start timestamptz not null check (event_start = date_trunc('second', event_start)),
  event_end timestamptz not null check (event_end = date_trunc('second', event_end)),
  device_ids uuid[] check (cardinality(device_ids) > 0),
  description text,
  control_seed text not null check (control_seed <> ''),
  declared_at timestamptz not null,
  declared_by uuid,
  declared_before_start boolean not null,
  withdrawn_at timestamptz check (withdrawn_at < event_start),
  status text not null default 'declared' check (status in ('declared', 'computed')),
  computed_at timestamptz,
  method_version text,
  result jsonb,
  constraint events_last_at_most_31_days check (event_start < event_end and event_end - event_start <= interval '31 days'),
  constraint events_say_when_they_were_declared check (declared_before_start = (declared_at < event_start)),
  constraint pairs_need_two_devices check (hypothesis in ('netvar', 'devvar') or cardinality(device_ids) > 1),
  constraint results_are_whole check (num_nulls(computed_at, method_version, result) = case status when 'computed' then 0 else 3 end),
  constraint withdrawn_events_have_no_result check (status = 'declared' or withdrawn_at is null)
);
comment on table public.coherence_events is
  'Hypotheses declared before their window was over, each computed once. Rows are never changed or deleted.';
comment on column public.coherence_events.hypothesis is 'The one test of pipeline/network.ts whose P-value counts.';
comment on column public.coherence_events.tail is
  'Left out: upper for pair and netvar (devices agreeing), two_sided for devvar and covar.';
comment on column public.coherence_events.event_start is 'The window is [event_start, event_end), whole seconds, of sample time.';
comment on column public.coherence_events.device_ids is 'Null: every device that sends.';
comment on column public.coherence_events.control_seed is 'Of the pseudo-random control network; the id, if left out.';
comment on column public.coherence_events.declared_by is 'The user who declared it; null from the command line.';
comment on column public.coherence_events.withdrawn_at is 'Set once, before the window begins; the row stays.';

-- Triggers hold for the table's owner and service_role too, whom row level security does not bind. A restore, which sets
-- session_replication_role or makes triggers last, gets past them.
-- clock_timestamp(): now() stands still in a transaction that waits until the window is over.
create or replace function app_private.declare_event() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  unknown uuid;
begin
  new.declared_at := clock_timestamp();
  new.declared_before_start := new.declared_at < new.event_start;
  new.declared_by := coalesce(auth.uid(), new.declared_by);
  new.status := 'declared';
  new.withdrawn_at := null;
  new.computed_at := null;
  new.method_version := null;
  new.result := null;
  new.tail := coalesce(new.tail, case when new.hypothesis in ('pair', 'netvar') then 'upper' else 'two_sided' end);
  new.control_seed := coalesce(new.control_seed, new.id::text);
  if new.event_end <= new.declared_at then
    raise exception 'the window is over: an event is declared before its window ends'
      using errcode = 'check_violation', hint = 'What has been seen already is no test of a hypothesis. Declare a window to come.';
  end if;
  if new.device_ids is not null then
    -- In one order and without repeats: the check of how many there are counts devices.
    new.device_ids := array(select distinct wanted.id from unnest(new.device_ids) wanted (id) order by wanted.id);
    unknown := (select wanted.id from unnest(new.device_ids) wanted (id)
      where not exists (select from public.devices d where d.id = wanted.id) limit 1);
    if unknown is not null or array_position(new.device_ids, null) is not null then
      raise exception 'there is no device %', coalesce(unknown::text, 'null')
        using errcode = 'check_violation', hint = 'Name devices that exist, or none for all of them.';
    end if;
  end if;
  return new;
end;
$$;
revoke all on function app_private.declare_event() from public;
create or replace trigger declare_events before insert on public.coherence_events
  for each row execute function app_private.declare_event();

create or replace function app_private.guard_event() returns trigger
language plpgsql set search_path = ''
as $$
declare
  settable text[];
begin
  if tg_op = 'UPDATE' and old.status = 'declared' and old.withdrawn_at is null then
    if new.withdrawn_at is not null then
      if clock_timestamp() >= old.event_start then
        raise exception 'event % has begun: it can no longer be withdrawn', old.name using errcode = 'check_violation';
      end if;
      new.withdrawn_at := clock_timestamp();
      settable := array['withdrawn_at'];
    elsif new.status = 'computed' then
      if clock_timestamp() < old.event_end then
        raise exception 'the window of event % is not over', old.name using errcode = 'check_violation';
      end if;
      new.computed_at := clock_timestamp();
      settable := array['status', 'computed_at', 'method_version', 'result'];
    end if;
    if to_jsonb(new) - settable = to_jsonb(old) - settable then
      return new;
    end if;
  end if;
  raise exception 'an event is declared once and computed once; nothing of it is changed or deleted'
    using errcode = 'insufficient_privilege',
      hint = 'Before it begins it can be withdrawn (withdrawn_at); the row stays. Declare another under another name.';
end;
$$;
revoke all on function app_private.guard_event() from public;
create or replace trigger guard_events before update or delete on public.coherence_events
  for each row execute function app_private.guard_event();
create or replace trigger guard_events_truncate before truncate on public.coherence_events
  for each statement execute function app_private.guard_event();

alter table public.coherence_events enable row level security;
drop policy if exists "Signed-in users can view events" on public.coherence_events;
create policy "Signed-in users can view events" on public.coherence_events
  for select to authenticated using (true);
drop policy if exists "Admins can declare events" on public.coherence_events;
create policy "Admins can declare events" on public.coherence_events
  for insert to authenticated with check (exists (
    select from public.profiles p where p.id = (select auth.uid()) and p.role = 'admin'));
drop policy if exists "Admins can withdraw events" on public.coherence_events;
create policy "Admins can withdraw events" on public.coherence_events
  for update to authenticated using (exists (
    select from public.profiles p where p.id = (select auth.uid()) and p.role = 'admin'));

revoke all on public.coherence_events from anon, authenticated, service_role;
grant select on public.coherence_events to authenticated, service_role;
grant insert (name, hypothesis, tail, profile, event_start, event_end, device_ids, description, control_seed)
  on public.coherence_events to authenticated, service_role;
grant insert (declared_by) on public.coherence_events to service_role;
grant update (withdrawn_at) on public.coherence_events to authenticated, service_role;
