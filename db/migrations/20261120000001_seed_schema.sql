-- The public contract of CoherenceLab: tables, enums, indexes, triggers and policies that other programs rely on by name.
-- A database that already has them keeps every row; whatever is missing is created. entropy_samples follows in the next file.

create schema if not exists extensions;
create extension if not exists "uuid-ossp" with schema extensions;

do $$
begin
  if to_regtype('public.user_role') is null then
    create type public.user_role as enum ('user', 'admin');
  end if;
  if to_regtype('public.device_client_type') is null then
    create type public.device_client_type as enum ('raspi', 'android', 'ios', 'linux', 'unknown');
  end if;
  if to_regtype('public.device_status') is null then
    create type public.device_status as enum ('active', 'inactive', 'error');
  end if;
  if to_regtype('public.analysis_job_status') is null then
    create type public.analysis_job_status as enum ('queued', 'running', 'completed', 'failed');
  end if;
  if to_regtype('public.storj_chunk_status') is null then
    create type public.storj_chunk_status as enum ('pending', 'uploading', 'uploaded', 'failed');
  end if;
end
$$;

create table if not exists public.profiles (
  id uuid primary key references auth.users (id) on delete cascade,
  email text not null,
  role public.user_role not null default 'user',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table if not exists public.devices (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.profiles (id) on delete cascade,
  name text not null,
  description text,
  client_type public.device_client_type not null default 'unknown',
  device_token text not null unique,
  status public.device_status not null default 'active',
  created_at timestamptz not null default now(),
  last_seen_at timestamptz
);
create index if not exists idx_devices_user_id on public.devices (user_id);
create index if not exists idx_devices_device_token on public.devices (device_token);

create table if not exists public.sampling_profiles (
  id uuid primary key default gen_random_uuid(),
  device_id uuid not null references public.devices (id) on delete cascade,
  label text not null,
  sample_rate_hz decimal(10, 6) not null,
  sample_size_bytes integer not null,
  metadata jsonb not null default '{}',
  is_active boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index if not exists idx_sampling_profiles_device_id on public.sampling_profiles (device_id);

create table if not exists public.storj_chunks (
  id uuid primary key default gen_random_uuid(),
  bucket text not null,
  object_key text not null,
  size_bytes bigint not null,
  byte_count bigint not null,
  sample_count integer not null,
  min_timestamp timestamptz not null,
  max_timestamp timestamptz not null,
  device_ids text[] not null,
  uploaded_at timestamptz,
  status public.storj_chunk_status not null default 'pending',
  created_at timestamptz not null default now()
);
create index if not exists idx_storj_chunks_status on public.storj_chunks (status);
create index if not exists idx_storj_chunks_timestamps on public.storj_chunks (min_timestamp, max_timestamp);

create table if not exists public.analysis_jobs (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.profiles (id) on delete cascade,
  device_ids text[] not null default '{}',
  time_range_start timestamptz not null,
  time_range_end timestamptz not null,
  test_names text[] not null,
  parameters jsonb not null default '{}',
  status public.analysis_job_status not null default 'queued',
  error_message text,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz
);
create index if not exists idx_analysis_jobs_user_id on public.analysis_jobs (user_id);
create index if not exists idx_analysis_jobs_status on public.analysis_jobs (status);

create table if not exists public.analysis_results (
  id uuid primary key default gen_random_uuid(),
  job_id uuid not null references public.analysis_jobs (id) on delete cascade,
  test_name text not null,
  device_id text,
  summary jsonb not null,
  metrics jsonb not null,
  created_at timestamptz not null default now()
);
create index if not exists idx_analysis_results_job_id on public.analysis_results (job_id);

create table if not exists public.chunk_analysis (
  id uuid primary key default gen_random_uuid(),
  chunk_id uuid not null references public.storj_chunks (id) on delete cascade,
  tests jsonb not null,
  metrics jsonb not null,
  created_at timestamptz not null default now()
);
create index if not exists idx_chunk_analysis_chunk_id on public.chunk_analysis (chunk_id);

create table if not exists public.device_timeslice_stats (
  id uuid primary key default gen_random_uuid(),
  device_id uuid not null,
  bucket_start timestamptz not null,
  bucket_end timestamptz not null,
  sample_count bigint not null,
  byte_count bigint not null,
  entropy_estimate double precision,
  uniformity_chi_square jsonb,
  runs_test jsonb,
  autocorrelation jsonb,
  extra jsonb not null default '{}',
  created_at timestamptz not null default now()
);
create index if not exists idx_device_timeslice_stats_device_bucket
  on public.device_timeslice_stats (device_id, bucket_start);

create table if not exists public.coherence_stats (
  id uuid primary key default gen_random_uuid(),
  bucket_start timestamptz not null,
  bucket_end timestamptz not null,
  device_a_id uuid not null,
  device_b_id uuid not null,
  correlation_metrics jsonb not null,
  tests jsonb not null default '{}',
  created_at timestamptz not null default now()
);
create index if not exists idx_coherence_stats_devices_bucket
  on public.coherence_stats (device_a_id, device_b_id, bucket_start);

create table if not exists public.maintenance_log (
  id uuid primary key default gen_random_uuid(),
  operation_type text not null,
  target_table text not null,
  details jsonb not null default '{}',
  rows_affected bigint,
  bytes_freed bigint,
  executed_at timestamptz not null default now(),
  duration_ms integer
);

-- A sign-up makes a profile. The search path is pinned: the function runs with its owner's rights. Both names are common
-- ones: a function that differs from the seed schema's does something more for its owner, and stays as it is.
do $functions$
declare
  blanks constant text := '[\s;]+';
  body text;
begin
  body := (select prosrc from pg_proc where oid = to_regprocedure('public.handle_new_user()'));
  if body is null or regexp_replace(lower(body), blanks, '', 'g')
    = 'begininsertintopublic.profiles(id,email,role)values(new.id,new.email,''user'')returnnewend'
  then
    create or replace function public.handle_new_user() returns trigger
    language plpgsql security definer set search_path = ''
    as $$
    begin
      insert into public.profiles (id, email, role)
      values (new.id, coalesce(new.email, ''), 'user')
      on conflict (id) do nothing;
      return new;
    end;
    $$;
  end if;

  body := (select prosrc from pg_proc where oid = to_regprocedure('public.update_updated_at_column()'));
  if body is null or regexp_replace(lower(body), blanks, '', 'g') = 'beginnew.updated_at=now()returnnewend' then
    create or replace function public.update_updated_at_column() returns trigger
    language plpgsql set search_path = ''
    as $$
    begin
      new.updated_at = now();
      return new;
    end;
    $$;
  end if;
end
$functions$;

do $$
begin
  -- `create or replace trigger` would need ownership of auth.users, which hosted projects do not have.
  if not exists (select from pg_trigger where tgrelid = 'auth.users'::regclass and tgname = 'on_auth_user_created') then
    create trigger on_auth_user_created after insert on auth.users
      for each row execute function public.handle_new_user();
  end if;
end
$$;
create or replace trigger update_profiles_updated_at before update on public.profiles
  for each row execute function public.update_updated_at_column();
create or replace trigger update_sampling_profiles_updated_at before update on public.sampling_profiles
  for each row execute function public.update_updated_at_column();

alter table public.profiles enable row level security;
alter table public.devices enable row level security;
alter table public.sampling_profiles enable row level security;
alter table public.analysis_jobs enable row level security;
alter table public.analysis_results enable row level security;
alter table public.storj_chunks enable row level security;
alter table public.chunk_analysis enable row level security;
alter table public.device_timeslice_stats enable row level security;
alter table public.coherence_stats enable row level security;
alter table public.maintenance_log enable row level security;

-- People who signed up before there were profiles.
insert into public.profiles (id, email)
select id, coalesce(email, '') from auth.users where not exists (select from public.profiles);

-- Policies. `(select auth.uid())` is evaluated once a statement instead of once a row.
drop policy if exists "Users can view own profile" on public.profiles;
create policy "Users can view own profile" on public.profiles
  for select using ((select auth.uid()) = id);
drop policy if exists "Users can update own profile" on public.profiles;
create policy "Users can update own profile" on public.profiles
  for update using ((select auth.uid()) = id) with check ((select auth.uid()) = id);

drop policy if exists "Users can view own devices" on public.devices;
create policy "Users can view own devices" on public.devices
  for select using ((select auth.uid()) = user_id);
drop policy if exists "Users can create own devices" on public.devices;
create policy "Users can create own devices" on public.devices
  for insert with check ((select auth.uid()) = user_id);
drop policy if exists "Users can update own devices" on public.devices;
create policy "Users can update own devices" on public.devices
  for update using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
drop policy if exists "Users can delete own devices" on public.devices;
create policy "Users can delete own devices" on public.devices
  for delete using ((select auth.uid()) = user_id);

drop policy if exists "Users can view own sampling profiles" on public.sampling_profiles;
create policy "Users can view own sampling profiles" on public.sampling_profiles
  for select using (exists (
    select from public.devices d where d.id = sampling_profiles.device_id and d.user_id = (select auth.uid())));
drop policy if exists "Users can create sampling profiles for own devices" on public.sampling_profiles;
create policy "Users can create sampling profiles for own devices" on public.sampling_profiles
  for insert with check (exists (
    select from public.devices d where d.id = sampling_profiles.device_id and d.user_id = (select auth.uid())));
drop policy if exists "Users can update own sampling profiles" on public.sampling_profiles;
create policy "Users can update own sampling profiles" on public.sampling_profiles
  for update using (exists (
    select from public.devices d where d.id = sampling_profiles.device_id and d.user_id = (select auth.uid())))
  with check (exists (
    select from public.devices d where d.id = sampling_profiles.device_id and d.user_id = (select auth.uid())));
drop policy if exists "Users can delete own sampling profiles" on public.sampling_profiles;
create policy "Users can delete own sampling profiles" on public.sampling_profiles
  for delete using (exists (
    select from public.devices d where d.id = sampling_profiles.device_id and d.user_id = (select auth.uid())));

drop policy if exists "Users can view own analysis jobs" on public.analysis_jobs;
create policy "Users can view own analysis jobs" on public.analysis_jobs
  for select using ((select auth.uid()) = user_id);
drop policy if exists "Users can create own analysis jobs" on public.analysis_jobs;
create policy "Users can create own analysis jobs" on public.analysis_jobs
  for insert with check ((select auth.uid()) = user_id);
drop policy if exists "Users can update own analysis jobs" on public.analysis_jobs;
create policy "Users can update own analysis jobs" on public.analysis_jobs
  for update using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
drop policy if exists "Users can delete own analysis jobs" on public.analysis_jobs;
create policy "Users can delete own analysis jobs" on public.analysis_jobs
  for delete using ((select auth.uid()) = user_id);

drop policy if exists "Users can view own analysis results" on public.analysis_results;
create policy "Users can view own analysis results" on public.analysis_results
  for select using (exists (
    select from public.analysis_jobs j where j.id = analysis_results.job_id and j.user_id = (select auth.uid())));

drop policy if exists "Users can view chunks with their devices" on public.storj_chunks;
create policy "Users can view chunks with their devices" on public.storj_chunks
  for select using (exists (
    select from public.devices d
    where d.user_id = (select auth.uid()) and d.id::text = any (storj_chunks.device_ids)));

drop policy if exists "Users can view own device timeslice stats" on public.device_timeslice_stats;
create policy "Users can view own device timeslice stats" on public.device_timeslice_stats
  for select using (exists (
    select from public.devices d
    where d.id = device_timeslice_stats.device_id and d.user_id = (select auth.uid())));

drop policy if exists "Users can view coherence stats for their devices" on public.coherence_stats;
create policy "Users can view coherence stats for their devices" on public.coherence_stats
  for select using (exists (
    select from public.devices d
    where d.user_id = (select auth.uid()) and d.id in (coherence_stats.device_a_id, coherence_stats.device_b_id)));

drop policy if exists "Admins can view maintenance log" on public.maintenance_log;
create policy "Admins can view maintenance log" on public.maintenance_log
  for select using (exists (
    select from public.profiles p where p.id = (select auth.uid()) and p.role = 'admin'));
