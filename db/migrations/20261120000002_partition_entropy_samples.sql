-- entropy_samples, partitioned by day. An existing plain table is adopted as the partition of everything before tomorrow.
-- Partitions live in a schema that PostgREST does not expose: a partition in `public` would be a door past the parent's RLS.

create schema if not exists entropy_partitions;
create schema if not exists app_private;
revoke all on schema entropy_partitions, app_private from public;

do $adopt$
declare
  plain regclass := to_regclass('public.entropy_samples');
  kind "char" := (select relkind from pg_class where oid = plain);
  blockers text;
  carried text[];
  item record;
  statement text;
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

    -- What would silently keep reading, guarding or sending only the old rows stops the migration instead.
    select string_agg(distinct what, ', ' order by what) into blockers from (
      select case d.classid
        when 'pg_rewrite'::regclass then (
          select case v.relkind when 'v' then 'view ' || v.oid::regclass when 'm' then 'materialized view ' || v.oid::regclass
            else 'rule ' || w.rulename || ' of ' || v.oid::regclass end
          from pg_rewrite w join pg_class v on v.oid = w.ev_class where w.oid = d.objid)
        else pg_describe_object(d.classid, d.objid, d.objsubid) end as what
      from pg_depend d
      where (d.refclassid = 'pg_class'::regclass and d.refobjid = plain
          or d.refclassid = 'pg_type'::regclass and d.refobjid in (
            select t.oid from pg_type t join pg_type r on t.oid in (r.oid, r.typarray) where r.typrelid = plain))
        and (d.classid in ('pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_publication_rel'::regclass)
          or d.classid = 'pg_trigger'::regclass and not (select tgisinternal from pg_trigger where oid = d.objid)
          or d.classid = 'pg_policy'::regclass and (select polrelid from pg_policy where oid = d.objid) <> plain
          or d.classid = 'pg_class'::regclass and d.deptype = 'n')
      union all
      select 'foreign key ' || conname || ' of ' || conrelid::regclass from pg_constraint
      where confrelid = plain and contype = 'f'
      union all
      select 'table ' || inhrelid::regclass || ', which inherits from ' || inhparent::regclass from pg_inherits
      where plain in (inhrelid, inhparent)
      union all
      -- Unique over all partitions means with the timestamp in the key, which is for its owner to decide.
      select 'unique index ' || indexrelid::regclass from pg_index
      where indrelid = plain and (indisunique and not indisprimary or indisexclusion)
      union all
      select 'column ' || attname || ', filled by a sequence (free it by ALTER SEQUENCE ... OWNED BY NONE, or by DROP IDENTITY)'
      from pg_attribute a
      where attrelid = plain and attnum > 0 and (attidentity <> '' or exists (
        select from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
        where d.classid = 'pg_class'::regclass and d.refobjid = plain and d.refobjsubid = a.attnum and d.deptype = 'a'))
      union all
      select 'rows with a timestamp outside the years 1 to 9999' from public.entropy_samples
      where not ("timestamp" >= '0001-01-01 00:00:00+00' and "timestamp" < '10000-01-01 00:00:00+00')
    ) found;
    if blockers is not null then
      raise exception 'entropy_samples cannot be partitioned while it has: %', blockers
        using hint = 'Drop or move these, run the migration, and create them again on the partitioned table.';
    end if;

    -- What its owners have put on the table and a partitioned table can have goes over to it, under the same name.
    select coalesce(array_agg(ddl), '{}') into carried from (
      select pg_get_indexdef(indexrelid) as ddl from pg_index where indrelid = plain and not indisunique
      union all
      select format('alter table public.entropy_samples add constraint %I %s', conname, pg_get_constraintdef(oid))
      from pg_constraint where conrelid = plain and contype = 'f'
      union all
      select format('create policy %I on public.entropy_samples as %s for %s to %s%s%s', polname,
        case when polpermissive then 'permissive' else 'restrictive' end,
        case polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
        (select string_agg(case when role = 0 then 'public' else quote_ident(pg_get_userbyid(role)) end, ', ')
         from unnest(polroles) as role),
        ' using (' || pg_get_expr(polqual, polrelid) || ')', ' with check (' || pg_get_expr(polwithcheck, polrelid) || ')')
      from pg_policy where polrelid = plain
      union all
      select format('grant %s on public.entropy_samples to %s%s', privilege_type,
        case when grantee = 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end,
        case when is_grantable then ' with grant option' else '' end)
      from pg_class c cross join aclexplode(c.relacl) where c.oid = plain and grantee <> c.relowner
      union all
      select format('comment on table public.entropy_samples is %L', obj_description(plain, 'pg_class'))
    ) found;

    alter table public.entropy_samples set schema entropy_partitions;
    alter table entropy_partitions.entropy_samples rename to entropy_samples_legacy;
    for item in select conname from pg_constraint where conrelid = plain and contype = 'p' loop
      execute format('alter table entropy_partitions.entropy_samples_legacy drop constraint %I', item.conname);
    end loop;
    for item in select polname from pg_policy where polrelid = plain loop
      execute format('drop policy %I on entropy_partitions.entropy_samples_legacy', item.polname);
    end loop;
    for item in select distinct grantee from pg_class c cross join aclexplode(c.relacl)
      where c.oid = plain and grantee <> c.relowner
    loop
      execute format('revoke all on entropy_partitions.entropy_samples_legacy from %s',
        case when item.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(item.grantee)) end);
    end loop;
    alter table entropy_partitions.entropy_samples_legacy enable row level security;

    -- A copy of the old table's own shape, so that columns someone added survive.
    create table public.entropy_samples (
      like entropy_partitions.entropy_samples_legacy
      including defaults including comments including constraints including storage including compression
      including generated
    ) partition by range ("timestamp");
    foreach statement in array carried loop
      execute statement;
    end loop;
  elsif kind <> 'p' or pg_get_partkeydef(plain) <> 'RANGE ("timestamp")' then
    raise exception 'public.entropy_samples is neither a plain table nor one partitioned by RANGE ("timestamp")'
      using hint = 'Move its rows to a plain table of that name, and run the migration again.';
  end if;
end
$adopt$;

create table if not exists entropy_partitions.entropy_samples_default
  partition of public.entropy_samples default;

do $constraints$
declare
  foreign_key record;
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
  for foreign_key in
    select * from (values
      ('device_id', 'public.devices (id) on delete cascade'),
      ('profile_id', 'public.sampling_profiles (id) on delete cascade'),
      ('storj_chunk_id', 'public.storj_chunks (id) on delete set null')
    ) as wanted (column_name, target)
  loop
    continue when exists (
      select from pg_constraint k join pg_attribute a on a.attrelid = k.conrelid and k.conkey = array[a.attnum]
      where k.conrelid = 'public.entropy_samples'::regclass and k.contype = 'f' and a.attname = foreign_key.column_name);
    execute format('alter table public.entropy_samples add constraint %I foreign key (%I) references %s',
      'entropy_samples_' || foreign_key.column_name || '_fkey', foreign_key.column_name, foreign_key.target);
  end loop;
end
$constraints$;

create index if not exists idx_entropy_samples_device_timestamp on public.entropy_samples (device_id, "timestamp");
create index if not exists idx_entropy_samples_storj_chunk_id on public.entropy_samples (storj_chunk_id);
create index if not exists idx_entropy_samples_timestamp on public.entropy_samples ("timestamp");

do $attach$
declare
  tomorrow timestamptz := (date_trunc('day', now() at time zone 'utc') + interval '1 day') at time zone 'utc';
  legacy regclass := to_regclass('entropy_partitions.entropy_samples_legacy');
  columns text;
begin
  if legacy is null or exists (select from pg_inherits where inhrelid = legacy) then
    return;
  end if;
  -- Clocks that run ahead: these few rows go where strays go, so that the adopted range can end tonight.
  columns := (select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
    where attrelid = legacy and attnum > 0 and not attisdropped and attgenerated = '');
  execute format(
    'with ahead as (delete from %1$s where "timestamp" >= %3$L returning *)
     insert into entropy_partitions.entropy_samples_default (%2$s) select %2$s from ahead', legacy, columns, tomorrow);
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

-- Makes the daily partitions of first_day..last_day (UTC) that can be made; returns how many are new. A day that another
-- partition covers, or that already has rows in the default partition, is left as it is. ATTACH takes a weaker lock on
-- the parent than CREATE … PARTITION OF, so inserts go on meanwhile. It does lock the default partition and the
-- referenced tables for a moment: rather than wait for a long transaction, with everyone else waiting behind it, a day is
-- left to the next call.
create or replace function app_private.ensure_partitions(first_day date, last_day date) returns integer
language plpgsql security definer set search_path = '' set timezone = 'UTC' set datestyle = 'ISO' set lock_timeout = '2s'
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
revoke all on function app_private.ensure_partitions(date, date) from public;

select app_private.ensure_partitions(
  (now() at time zone 'utc')::date, (now() at time zone 'utc')::date + 7);
