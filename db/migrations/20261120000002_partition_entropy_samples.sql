-- entropy_samples, partitioned by day. An existing plain table is adopted as the partition of everything before tomorrow.
-- Partitions live in a schema that PostgREST does not expose: a partition in `public` would be a door past the parent's RLS.

create schema if not exists entropy_partitions;
create schema if not exists app_private;
revoke all on schema entropy_partitions, app_private from public;

do $adopt$
declare
  kind "char" := (select relkind from pg_class where oid = to_regclass('public.entropy_samples'));
  tomorrow timestamptz := (date_trunc('day', now() at time zone 'utc') + interval '1 day') at time zone 'utc';
  blockers text;
  item record;
begin
  if kind is null then
    create table public.entropy_samples (
      id uuid not null default gen_random_uuid(),
      device_id uuid not null,
      profile_id uuid not null,
      "timestamp" timestamptz not null default now(),
      sequence bigint not null,
      byte_length integer not null,
      sample_data bytea not null,
      storj_chunk_id uuid,
      created_at timestamptz not null default now()
    ) partition by range ("timestamp");
  elsif kind = 'r' then
    lock table public.entropy_samples in access exclusive mode;

    -- What would silently keep reading or guarding only the old rows stops the migration instead.
    select string_agg(distinct what, ', ') into blockers from (
      select 'view ' || v.oid::regclass as what
      from pg_depend d join pg_rewrite w on w.oid = d.objid join pg_class v on v.oid = w.ev_class
      where d.refobjid = 'public.entropy_samples'::regclass and d.classid = 'pg_rewrite'::regclass
      union all
      select 'trigger ' || tgname from pg_trigger
      where tgrelid = 'public.entropy_samples'::regclass and not tgisinternal
      union all
      select 'foreign key ' || conname || ' of ' || conrelid::regclass from pg_constraint
      where confrelid = 'public.entropy_samples'::regclass and contype = 'f'
      union all
      select 'rows with a timestamp outside the years 1 to 9999' from public.entropy_samples
      where not ("timestamp" >= '0001-01-01 00:00:00+00' and "timestamp" < '10000-01-01 00:00:00+00')
    ) found;
    if blockers is not null then
      raise exception 'entropy_samples cannot be partitioned while it has: %', blockers
        using hint = 'Drop or move these, run the migration, and create them again on the partitioned table.';
    end if;

    alter table public.entropy_samples set schema entropy_partitions;
    alter table entropy_partitions.entropy_samples rename to entropy_samples_legacy;
    for item in select conname from pg_constraint
      where conrelid = 'entropy_partitions.entropy_samples_legacy'::regclass and contype in ('p', 'u')
    loop
      execute format('alter table entropy_partitions.entropy_samples_legacy drop constraint %I', item.conname);
    end loop;
    -- A copy of the old table's own shape, so that columns someone added survive.
    create table public.entropy_samples (
      like entropy_partitions.entropy_samples_legacy
      including defaults including comments including storage including compression including generated
    ) partition by range ("timestamp");
  end if;
end
$adopt$;

create table if not exists entropy_partitions.entropy_samples_default
  partition of public.entropy_samples default;

do $constraints$
begin
  if not exists (select from pg_constraint where conrelid = 'public.entropy_samples'::regclass and contype = 'p') then
    alter table public.entropy_samples add primary key (id, "timestamp");
  end if;
  -- Infinity and years that no other program can write are refused at the door; they could not leave in a file.
  if not exists (select from pg_constraint
    where conrelid = 'public.entropy_samples'::regclass and conname = 'entropy_samples_timestamp_range') then
    if to_regclass('entropy_partitions.entropy_samples_legacy') is not null then
      alter table entropy_partitions.entropy_samples_legacy add constraint entropy_samples_timestamp_range
        check ("timestamp" >= '0001-01-01 00:00:00+00' and "timestamp" < '10000-01-01 00:00:00+00');
    end if;
    alter table public.entropy_samples add constraint entropy_samples_timestamp_range
      check ("timestamp" >= '0001-01-01 00:00:00+00' and "timestamp" < '10000-01-01 00:00:00+00');
  end if;
  if not exists (select from pg_constraint
    where conrelid = 'public.entropy_samples'::regclass and conname = 'entropy_samples_device_id_fkey') then
    alter table public.entropy_samples add constraint entropy_samples_device_id_fkey
      foreign key (device_id) references public.devices (id) on delete cascade;
    alter table public.entropy_samples add constraint entropy_samples_profile_id_fkey
      foreign key (profile_id) references public.sampling_profiles (id) on delete cascade;
    alter table public.entropy_samples add constraint entropy_samples_storj_chunk_id_fkey
      foreign key (storj_chunk_id) references public.storj_chunks (id) on delete set null;
  end if;
end
$constraints$;

create index if not exists idx_entropy_samples_device_timestamp on public.entropy_samples (device_id, "timestamp");
create index if not exists idx_entropy_samples_storj_chunk_id on public.entropy_samples (storj_chunk_id);
create index if not exists idx_entropy_samples_timestamp on public.entropy_samples ("timestamp");

do $attach$
declare
  tomorrow timestamptz := (date_trunc('day', now() at time zone 'utc') + interval '1 day') at time zone 'utc';
  legacy regclass := to_regclass('entropy_partitions.entropy_samples_legacy');
begin
  if legacy is null or exists (select from pg_inherits where inhrelid = legacy) then
    return;
  end if;
  -- Clocks that run ahead: these few rows go where strays go, so that the adopted range can end tonight.
  with ahead as (
    delete from entropy_partitions.entropy_samples_legacy where "timestamp" >= tomorrow returning *
  )
  insert into entropy_partitions.entropy_samples_default select * from ahead;
  execute format(
    'alter table public.entropy_samples attach partition %s for values from (minvalue) to (%L)', legacy, tomorrow);
end
$attach$;

alter table public.entropy_samples enable row level security;
alter table entropy_partitions.entropy_samples_default enable row level security;
drop policy if exists "Users can view own entropy samples" on public.entropy_samples;
create policy "Users can view own entropy samples" on public.entropy_samples
  for select using (exists (
    select from public.devices d where d.id = entropy_samples.device_id and d.user_id = (select auth.uid())));

-- Makes the daily partitions of first_day..last_day that can be made; returns how many are new. A day that another
-- partition covers, or that already has rows in the default partition, is left as it is. ATTACH takes a weaker lock on
-- the parent than CREATE … PARTITION OF, so inserts go on meanwhile.
create or replace function app_private.ensure_partitions(first_day date, last_day date) returns integer
language plpgsql security definer set search_path = ''
as $$
declare
  day date;
  name text;
  created integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('coherence.ensure_partitions'));
  for day in select generate_series(first_day, last_day, interval '1 day')::date loop
    name := 'entropy_samples_' || to_char(day, 'YYYYMMDD');
    continue when to_regclass('entropy_partitions.' || name) is not null;
    begin
      execute format('create table entropy_partitions.%I (like public.entropy_samples including all)', name);
      execute format('alter table entropy_partitions.%I enable row level security', name);
      execute format(
        'alter table public.entropy_samples attach partition entropy_partitions.%I for values from (%L) to (%L)',
        name, day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00');
      created := created + 1;
    exception
      when invalid_object_definition then null;  -- another partition covers this day
      when check_violation then null;            -- strays of this day are in the default partition
    end;
  end loop;
  return created;
end;
$$;
revoke all on function app_private.ensure_partitions(date, date) from public;

select app_private.ensure_partitions(
  (now() at time zone 'utc')::date, (now() at time zone 'utc')::date + 7);
