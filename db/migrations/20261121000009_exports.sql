-- A user's own data as files: a row asks for one device and a range of time, a worker answers with links. The chunks themselves are
-- for nobody to download, as each may hold other people's devices.

create table if not exists public.sample_exports (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null default auth.uid() references public.profiles (id) on delete cascade,
  device_id uuid not null references public.devices (id) on delete cascade,
  time_range_start timestamptz not null,
  time_range_end timestamptz not null,
  status public.analysis_job_status not null default 'queued',
  error_message text,
  sample_count bigint,
  files jsonb not null default '[]',
  links_expire_at timestamptz,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  constraint sample_exports_range check (time_range_start < time_range_end)
);
comment on table public.sample_exports is 'One device''s samples as Arrow files, on request.';
comment on column public.sample_exports.files is '[{url, file_name, bytes, sha256, samples}], in the order of time.';
create index if not exists idx_sample_exports_user_id on public.sample_exports (user_id, created_at);
create index if not exists idx_sample_exports_device_id on public.sample_exports (device_id);

alter table public.sample_exports enable row level security;
revoke all on public.sample_exports from anon, authenticated;
grant all on public.sample_exports to service_role;
-- No UPDATE and no DELETE: the pipeline answers, and what was asked today counts against the quota.
grant select, insert (user_id, device_id, time_range_start, time_range_end) on public.sample_exports to authenticated;
drop policy if exists "Users can view own sample exports" on public.sample_exports;
create policy "Users can view own sample exports" on public.sample_exports
  for select using (user_id = (select auth.uid()));
drop policy if exists "Users can ask for sample exports of own devices" on public.sample_exports;
create policy "Users can ask for sample exports of own devices" on public.sample_exports
  for insert with check (user_id = (select auth.uid()) and exists (
    select from public.devices d where d.id = sample_exports.device_id and d.user_id = (select auth.uid())));

alter table app_private.user_limits add column if not exists exports_a_day integer not null default 50;

create or replace function app_private.limit_sample_exports() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  most constant integer := (select exports_a_day from app_private.user_limits);
begin
  -- The setting `role` is the caller's, also in a function with its owner's rights.
  if current_setting('role') in ('anon', 'authenticated') and most <= (
    select count(*) from public.sample_exports where user_id = new.user_id and created_at > now() - interval '1 day')
  then
    raise exception 'you have asked for % exports in 24 hours, which is the most', most
      using errcode = 'PT429', hint = 'Ask again later, for a longer range of time.';
  end if;
  return new;
end;
$$;
revoke all on function app_private.limit_sample_exports() from public;
create or replace trigger limit_sample_exports before insert on public.sample_exports
  for each row execute function app_private.limit_sample_exports();

create or replace function app_private.enqueue_sample_export() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  -- Without queues the row waits in its table, and reconcile calls a worker for it.
  if to_regclass('pgboss.queue') is not null and exists (select from pgboss.queue where name = 'export-samples') then
    perform app_private.send_job('export-samples', jsonb_build_object('export_id', new.id), new.id::text);
  end if;
  return null;
end;
$$;
revoke all on function app_private.enqueue_sample_export() from public;
create or replace trigger enqueue_sample_exports after insert on public.sample_exports
  for each row execute function app_private.enqueue_sample_export();

do $$
begin
  if exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables)
    and not exists (
      select from pg_publication_tables
      where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'sample_exports')
  then
    alter publication supabase_realtime add table public.sample_exports;
  end if;
exception
  when insufficient_privilege then
    raise notice 'Realtime is not set up: publication supabase_realtime belongs to somebody else. Add the tables in the dashboard.';
end
$$;
