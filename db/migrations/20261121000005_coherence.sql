-- Coherence: rows of the network by how scores were normalised, the trials of each device and hour, pairs that users watch,
-- and the series that people plot first.

alter table public.network_stats drop constraint if exists network_stats_pkey;
alter table public.network_stats add primary key (bucket_start, bucket_end, profile, normalization);
comment on column public.network_stats.normalization is
  'theoretical: scores as they are; empirical: less the mean and by the standard deviation in device_trials.';

create table if not exists public.device_trials (
  device_id uuid not null,
  bucket_start timestamptz not null,
  profile text not null,
  trials integer not null,
  failed integer not null,
  sum_z double precision not null,
  sum_z2 double precision not null,
  reference_trials bigint,
  reference_mean double precision,
  reference_variance double precision,
  method_version text not null,
  primary key (bucket_start, profile, device_id)
);
comment on table public.device_trials is
  'Scores z of one device and hour, in sums; and the mean and variance of the days before, where the hour was normalised by them.';
create index if not exists idx_device_trials_device on public.device_trials (device_id, bucket_start);

create table if not exists public.watched_pairs (
  user_id uuid not null default auth.uid() references public.profiles (id) on delete cascade,
  device_a_id uuid not null references public.devices (id) on delete cascade,
  device_b_id uuid not null references public.devices (id) on delete cascade,
  created_at timestamptz not null default now(),
  primary key (user_id, device_a_id, device_b_id),
  check (device_a_id < device_b_id)
);
comment on table public.watched_pairs is
  'Pairs that get their rows in coherence_stats however many devices there are. The smaller id is device_a_id.';
create index if not exists idx_watched_pairs_device_a on public.watched_pairs (device_a_id);
create index if not exists idx_watched_pairs_device_b on public.watched_pairs (device_b_id);

-- Either order is fine to ask for.
create or replace function app_private.order_watched_pair() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if new.device_a_id > new.device_b_id then
    select new.device_b_id, new.device_a_id into new.device_a_id, new.device_b_id;
  end if;
  return new;
end;
$$;
revoke all on function app_private.order_watched_pair() from public;
create or replace trigger order_watched_pairs before insert on public.watched_pairs
  for each row execute function app_private.order_watched_pair();

alter table public.device_trials enable row level security;
alter table public.watched_pairs enable row level security;

drop policy if exists "Users can view own device trials" on public.device_trials;
create policy "Users can view own device trials" on public.device_trials for select to authenticated using (exists (
  select from public.devices d where d.id = device_trials.device_id and d.user_id = (select auth.uid())));
drop policy if exists "Users can view own watched pairs" on public.watched_pairs;
create policy "Users can view own watched pairs" on public.watched_pairs for select to authenticated
  using (user_id = (select auth.uid()));
drop policy if exists "Users can watch pairs of own devices" on public.watched_pairs;
create policy "Users can watch pairs of own devices" on public.watched_pairs for insert to authenticated with check (
  user_id = (select auth.uid()) and 2 = (
    select count(*) from public.devices d
    where d.id in (device_a_id, device_b_id) and d.user_id = (select auth.uid())));
drop policy if exists "Users can stop watching pairs" on public.watched_pairs;
create policy "Users can stop watching pairs" on public.watched_pairs for delete to authenticated
  using (user_id = (select auth.uid()));

revoke all on public.device_trials, public.watched_pairs from anon, authenticated;
grant all on public.device_trials, public.watched_pairs to service_role;
grant select on public.device_trials, public.watched_pairs to authenticated;
grant insert (device_a_id, device_b_id), delete on public.watched_pairs to authenticated;

-- As before, and the trials of a device are what its owner may read, too.
create or replace function app_private.guard_device_id() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if current_setting('role') in ('anon', 'authenticated') and (tg_op = 'INSERT' or new.id <> old.id) and (
    exists (select from public.device_timeslice_stats where device_id = new.id)
    or exists (select from public.coherence_stats where device_a_id = new.id)
    or exists (select from public.coherence_stats where device_b_id = new.id)
    or exists (select from public.chunk_slices where device_id = new.id)
    or exists (select from public.device_trials where device_id = new.id))
  then
    raise exception 'this id was another device''s'
      using errcode = 'insufficient_privilege', hint = 'Leave the id out: the database makes a new one.';
  end if;
  return new;
end;
$$;

-- Cumulative deviation of the network from expectation, with the value that 5 % of null walks exceed at that moment. It is
-- pointwise: at some moment more of them do (38 % of walks of 600 seconds).
-- netvar: sum of S^2 - 1 over seconds; chi-square quantile at .95 less its degrees of freedom, by the Cornish-Fisher expansion of
-- Goldberg & Levine 1946, within 0.0001 from 30 seconds on. pair: sum of z_i z_j over pairs, two-sided at .95.
create or replace function public.network_deviation(
  range_start timestamptz,
  range_end timestamptz,
  trial_profile text default 'all_bits',
  bucket interval default '1 minute',
  score_normalization text default 'theoretical'
)
returns table (
  bucket_start timestamptz,
  bucket_end timestamptz,
  seconds bigint,
  netvar_deviation double precision,
  netvar_pointwise_95 double precision,
  pair_deviation double precision,
  pair_pointwise_95 double precision
)
language sql stable security invoker set search_path = ''
as $$
  select w.bucket_start, w.bucket_end, w.t::bigint, w.s2 - w.t,
    sqrt(2 * w.t) * w.z + 2 * (w.z ^ 2 - 1) / 3 + (w.z ^ 3 - 7 * w.z) / (9 * sqrt(2 * w.t))
      - (6 * w.z ^ 4 + 14 * w.z ^ 2 - 32) / (405 * w.t)
      + (9 * w.z ^ 5 + 256 * w.z ^ 3 - 433 * w.z) / (4860 * sqrt(2.0) * w.t ^ 1.5),
    w.c, 1.959963984540054 * sqrt(w.pairs)
  from (
    select n.bucket_start, n.bucket_end, 1.6448536269514722::float8 as z,
      sum((n.sums ->> 'seconds')::float8) over up_to_here as t,
      sum((n.sums ->> 'sum_s2')::float8) over up_to_here as s2,
      sum((n.sums ->> 'sum_c')::float8) over up_to_here as c,
      sum((n.sums ->> 'sum_pairs')::float8) over up_to_here as pairs
    from public.network_stats n
    where n.bucket_start >= range_start and n.bucket_end <= range_end and n.bucket_end - n.bucket_start = bucket
      and n.profile = trial_profile and n.normalization = score_normalization and (n.sums ->> 'seconds')::float8 > 0
    window up_to_here as (order by n.bucket_start)
  ) w
  order by w.bucket_start
$$;
comment on function public.network_deviation(timestamptz, timestamptz, text, interval, text) is
  'Cumulative deviation of the network with POINTWISE 95 % envelopes: the last value is a test, a crossing on the way is not.';
revoke all on function public.network_deviation(timestamptz, timestamptz, text, interval, text) from public, anon;
grant execute on function public.network_deviation(timestamptz, timestamptz, text, interval, text)
  to authenticated, service_role;
