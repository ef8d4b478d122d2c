-- What the pipeline adds to the public contract: the chunk's fences and proofs, where each object really is, additive
-- slice partials, the network's statistics, and the views a dashboard reads.

alter table public.storj_chunks
  add column if not exists attempt integer not null default 0,
  add column if not exists sha256 text,
  add column if not exists format_version smallint,
  add column if not exists verified_at timestamptz,
  add column if not exists claimed jsonb,
  add column if not exists slices_evicted_at timestamptz,
  add column if not exists last_error text,
  add column if not exists updated_at timestamptz not null default now();
comment on column public.storj_chunks.attempt is 'Fence: only the attempt that began last may mark the chunk uploaded.';
comment on column public.storj_chunks.claimed is
  'Rows by "device/profile" as the claim froze them: what may be missing later is only what went with one of these.';
comment on column public.storj_chunks.sha256 is 'SHA-256 of the object, lower-case hex.';
comment on column public.storj_chunks.format_version is 'Arrow chunk format; null for rows that this pipeline did not make.';
comment on column public.storj_chunks.verified_at is 'When the object was read back, hashed, decoded and tested.';
comment on column public.storj_chunks.slices_evicted_at is 'Since when the slice partials are only in the sidecar object.';
create or replace trigger update_storj_chunks_updated_at before update on public.storj_chunks
  for each row execute function public.update_updated_at_column();
create index if not exists idx_storj_chunks_unverified on public.storj_chunks (created_at)
  where status = 'uploaded' and verified_at is null;

create table if not exists public.chunk_replicas (
  chunk_id uuid not null references public.storj_chunks (id) on delete cascade,
  kind text not null default 'chunk' check (kind in ('chunk', 'slices')),
  backend text not null check (backend in ('local', 'supabase', 'storj')),
  bucket text not null,
  object_key text not null,
  size bigint not null,
  sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  stored_at timestamptz not null default now(),
  verified_at timestamptz,
  primary key (chunk_id, kind, backend, bucket)
);
comment on table public.chunk_replicas is 'Where each object is. Reads go by these rows, so a change of configuration strands nothing.';
create index if not exists idx_chunk_replicas_object_key on public.chunk_replicas (object_key);

create table if not exists public.chunk_slices (
  chunk_id uuid not null references public.storj_chunks (id) on delete cascade,
  device_id uuid not null,
  slice_start timestamptz not null,
  partial bytea not null,
  primary key (chunk_id, device_id, slice_start)
);
comment on table public.chunk_slices is 'Additive partials of one chunk, device and minute; once their day is pruned they live in the sidecar object alone.';
create index if not exists idx_chunk_slices_device_slice on public.chunk_slices (device_id, slice_start);
create index if not exists idx_chunk_slices_slice on public.chunk_slices (slice_start);

create table if not exists public.network_stats (
  bucket_start timestamptz not null,
  bucket_end timestamptz not null,
  profile text not null default 'all_bits',
  device_count integer not null,
  device_set_hash text not null,
  sums jsonb not null,
  netvar jsonb not null,
  pair jsonb not null,
  devvar jsonb not null,
  covar jsonb not null,
  max_abs_stouffer double precision,
  normalization text not null,
  method_version text not null,
  created_at timestamptz not null default now(),
  primary key (bucket_start, bucket_end, profile)
);
comment on column public.network_stats.sums is 'Additive: the sums of minutes are the sums of their hour.';

-- Rollups are upserts. The predicate keeps rows that others wrote before out of the unique key.
alter table public.device_timeslice_stats add column if not exists method_version text;
create unique index if not exists device_timeslice_stats_key on public.device_timeslice_stats
  (device_id, bucket_start, bucket_end) where method_version is not null;
alter table public.coherence_stats add column if not exists method_version text;
create unique index if not exists coherence_stats_key on public.coherence_stats
  (device_a_id, device_b_id, bucket_start, bucket_end) where method_version is not null;
create index if not exists idx_coherence_stats_bucket on public.coherence_stats (bucket_start);
create index if not exists idx_coherence_stats_device_b_bucket on public.coherence_stats (device_b_id, bucket_start);

create table if not exists app_private.retention_holds (
  id bigint generated always as identity primary key,
  reason text not null,
  range_start timestamptz not null default '-infinity',
  range_end timestamptz not null default 'infinity',
  created_at timestamptz not null default now(),
  check (range_start < range_end)
);
comment on table app_private.retention_holds is 'While a row overlaps a range of sample time, nothing of that range is pruned.';

alter table public.chunk_replicas enable row level security;
alter table public.chunk_slices enable row level security;
alter table public.network_stats enable row level security;
alter table app_private.retention_holds enable row level security;

drop policy if exists "Signed-in users can view network stats" on public.network_stats;
create policy "Signed-in users can view network stats" on public.network_stats
  for select to authenticated using (true);
drop policy if exists "Users can view own chunk slices" on public.chunk_slices;
create policy "Users can view own chunk slices" on public.chunk_slices
  for select using (exists (
    select from public.devices d where d.id = chunk_slices.device_id and d.user_id = (select auth.uid())));

create or replace view public.chunk_backlog with (security_invoker = true) as
select device_id,
       count(*) as samples,
       sum(octet_length(sample_data)) as bytes,
       min(created_at) as oldest
from public.entropy_samples
where storj_chunk_id is null
group by device_id;

create or replace view public.pipeline_health with (security_invoker = true) as
select
  (select count(*) from public.entropy_samples where storj_chunk_id is null) as waiting_samples,
  (select min(created_at) from public.entropy_samples where storj_chunk_id is null) as oldest_waiting,
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

create or replace view public.device_health with (security_invoker = true) as
select d.id as device_id, d.name, d.status, d.last_seen_at,
       s.bucket_start, s.bucket_end, s.sample_count, s.byte_count, s.entropy_estimate,
       s.extra -> 'frequency' as frequency, s.runs_test, s.uniformity_chi_square
from public.devices d
left join lateral (
  select * from public.device_timeslice_stats t
  where t.device_id = d.id and t.method_version is not null and t.bucket_end - t.bucket_start = interval '1 hour'
  order by t.bucket_start desc limit 1
) s on true;
