-- The doors, closed where they stood ajar: ids of devices that are gone, what a device's JWT says, tokens that were revoked, values
-- without bounds, and whose samples are in a chunk.

-- Files and statistics outlive a device, and belong to whoever has its id: an id that was a device's once is nobody's again.
create table if not exists app_private.former_devices (
  id uuid primary key,
  gone_at timestamptz not null default now()
);
comment on table app_private.former_devices is
  'Ids that no device may have again. To put back a device that was deleted by mistake, the maintainer deletes its row here.';
alter table app_private.former_devices enable row level security;

create or replace function app_private.bury_device() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if tg_op = 'DELETE' or new.id <> old.id then
    insert into app_private.former_devices (id) values (old.id) on conflict do nothing;
  end if;
  return null;
end;
$$;
revoke all on function app_private.bury_device() from public;
create or replace trigger bury_devices after delete or update of id on public.devices
  for each row execute function app_private.bury_device();

-- Those that were gone before. From device to device along the index, as statistics have a row a minute.
do $$
declare
  source record;
begin
  for source in
    select * from (values
      ('device_timeslice_stats', 'device_id'), ('coherence_stats', 'device_a_id'), ('coherence_stats', 'device_b_id'),
      ('chunk_slices', 'device_id'), ('device_trials', 'device_id')) as sources (relation, attribute)
  loop
    execute format($f$
      with recursive found (id) as (
        (select %1$I from public.%2$I order by 1 limit 1)
        union all
        select (select %1$I from public.%2$I where %1$I > found.id order by 1 limit 1) from found where found.id is not null)
      insert into app_private.former_devices (id)
      select id from found where id is not null and not exists (select from public.devices d where d.id = found.id)
      on conflict do nothing
    $f$, source.attribute, source.relation);
  end loop;
  insert into app_private.former_devices (id)
  select named.id::uuid
  from (
    select unnest(device_ids) from public.storj_chunks
    union select unnest(device_ids)::text from public.coherence_events
    union select device_id from public.analysis_results
  ) as named (id)
  where named.id ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
    and not exists (select from public.devices d where d.id = named.id::uuid)
  on conflict do nothing;
end
$$;

-- After the row is there: an upsert of a device that exists is no new one, and by now whoever deleted the id has committed it.
create or replace function app_private.guard_device_id() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' and new.id = old.id then
    return null;
  end if;
  if exists (select from app_private.former_devices f where f.id = new.id) then
    raise exception 'this id was another device''s, which is gone'
      using errcode = 'insufficient_privilege', hint = 'Leave the id out: the database makes a new one.';
  end if;
  if exists (select from public.profiles p where p.id = new.id) or exists (select from auth.users u where u.id = new.id) then
    raise exception 'this id is a user''s'
      using errcode = 'insufficient_privilege', hint = 'Leave the id out: the database makes a new one.';
  end if;
  return null;
end;
$$;
create or replace trigger guard_device_ids after insert or update of id on public.devices
  for each row execute function app_private.guard_device_id();

-- When a device was made and last seen is the pipeline's to say. An app that writes whole rows back is not refused for it.
create or replace function app_private.keep_device_times() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if current_user in ('anon', 'authenticated') then
    new.created_at := case when tg_op = 'INSERT' then now() else old.created_at end;
    new.last_seen_at := case when tg_op = 'INSERT' then null else old.last_seen_at end;
  end if;
  return new;
end;
$$;
revoke all on function app_private.keep_device_times() from public;
create or replace trigger keep_device_times before insert or update of created_at, last_seen_at on public.devices
  for each row execute function app_private.keep_device_times();

-- No constraint: each batch updates last_seen_at, and would fail for a device whose text was longer before.
create or replace function app_private.bound_device() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if length(new.name) > 200 and (tg_op = 'INSERT' or new.name <> old.name)
    or length(new.description) > 2000 and (tg_op = 'INSERT' or new.description is distinct from old.description)
  then
    raise exception 'a device''s name has at most 200 characters, its description 2000' using errcode = 'check_violation';
  end if;
  return null;
end;
$$;
revoke all on function app_private.bound_device() from public;
create or replace trigger bound_devices after insert or update of name, description on public.devices
  for each row execute function app_private.bound_device();

-- Rows that are there keep what they have.
do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('sampling_profiles', 'label_of_at_most_200_characters', 'length(label) <= 200'),
      -- NaN is above every number.
      ('sampling_profiles', 'sample_rate_above_0', 'sample_rate_hz > 0 and sample_rate_hz <= 1000000'),
      ('sampling_profiles', 'sample_size_of_1_byte_to_1_mib', 'sample_size_bytes between 1 and 1048576'),
      ('sampling_profiles', 'metadata_of_at_most_16_kib', 'octet_length(metadata::text) <= 16384'),
      ('sampling_profiles', 'times_are_finite', 'isfinite(created_at) and isfinite(updated_at)'),
      ('profiles', 'email_of_at_most_320_characters', 'length(email) <= 320')) as bounds (relation, name, condition)
  loop
    if not exists (
      select from pg_constraint where conrelid = ('public.' || wanted.relation)::regclass and conname = wanted.name)
    then
      execute format('alter table public.%I add constraint %I check (%s) not valid',
        wanted.relation, wanted.name, wanted.condition);
    end if;
  end loop;
end
$$;

alter table app_private.user_limits add column if not exists devices integer not null default 1000;

-- Once a statement. Whoever adds devices waits for others who add some of the same user, and then counts theirs too.
create or replace function app_private.limit_devices() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  most constant integer := (select devices from app_private.user_limits);
  owner constant uuid := auth.uid();
begin
  -- The setting `role` is the caller's, also in a function with its owner's rights. An upsert may have added none.
  if current_setting('role') not in ('anon', 'authenticated') or not exists (select from added)
    or exists (select from public.profiles where id = owner and role = 'admin')
  then
    return null;
  end if;
  perform pg_advisory_xact_lock(7268154, hashtext(owner::text));
  if most < (select count(*) from (select from public.devices where user_id = owner limit most + 1) had) then
    raise exception 'a user has at most % devices', most
      using errcode = 'PT429', hint = 'Delete some, or ask the maintainer for more.';
  end if;
  return null;
end;
$$;
revoke all on function app_private.limit_devices() from public;
create or replace trigger limit_devices after insert on public.devices
  referencing new table as added for each statement execute function app_private.limit_devices();

-- One sentence for a token that is easy to guess and for one that is somebody else's: it tells nobody that a guess was right.
create or replace function app_private.refuse_device_token() returns void
language plpgsql set search_path = ''
as $$
begin
  raise exception 'this cannot be a device_token'
    using errcode = 'check_violation',
      hint = 'Take 16 to 1000 characters that nobody can guess, not beginning with sha256:, or let rotate_device_token() make them.';
end;
$$;
revoke all on function app_private.refuse_device_token() from public;

-- What stands in devices.device_token, as its hash: a token, or 'sha256:…' for one whose plain text is not kept.
create or replace function app_private.hash_of_device_token(written text) returns bytea
language sql immutable strict set search_path = ''
as $$
  select case when written ~ '^sha256:[0-9a-f]{64}$' then decode(substr(written, 8), 'hex') else app_private.token_hash(written) end
$$;
revoke all on function app_private.hash_of_device_token(text) from public;

-- Before the unique index looks, which names a token that is taken. Only those who own a device learn that a token is its own.
create or replace function app_private.guard_device_token() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  caller constant uuid := case when current_setting('role') in ('anon', 'authenticated') then auth.uid() else new.user_id end;
  known record;
begin
  select t.device_id, t.revoked_at, d.user_id, d.device_token into known
  from app_private.device_tokens t join public.devices d on d.id = t.device_id
  where t.token_hash = app_private.hash_of_device_token(new.device_token);
  if known.device_id = new.id and known.user_id = caller then
    -- What stands there already is no new token; an upsert tries an INSERT of it first.
    if known.device_token = new.device_token or known.revoked_at is null then
      return new;
    end if;
    raise exception 'this device_token was revoked, and works no more'
      using errcode = 'check_violation', hint = 'Read the row again, leave device_token out, or give the device a new token.';
  end if;
  if new.device_token like 'sha256:%' or length(new.device_token) not between 16 and 1000 or known.user_id <> caller then
    perform app_private.refuse_device_token();
  end if;
  return new;
end;
$$;
revoke all on function app_private.guard_device_token() from public;
create or replace trigger guard_device_tokens before insert or update of device_token on public.devices
  for each row execute function app_private.guard_device_token();

-- As before, but a token that was revoked stays so, and a row that is written back unchanged changes no token.
create or replace function app_private.keep_device_token() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  kept constant bytea := app_private.hash_of_device_token(new.device_token);
begin
  if tg_op = 'UPDATE' and new.device_token = old.device_token then
    return null;
  end if;
  insert into app_private.device_tokens (device_id, token_hash) values (new.id, kept) on conflict do nothing;
  if not exists (
    select from app_private.device_tokens where device_id = new.id and token_hash = kept and revoked_at is null)
  then
    perform app_private.refuse_device_token();
  end if;
  update app_private.device_tokens set revoked_at = now()
  where device_id = new.id and token_hash <> kept and revoked_at is null;
  return null;
end;
$$;

-- Migration 7, run a second time, takes 'sha256:…' for a token.
delete from app_private.device_tokens t using public.devices d
where d.id = t.device_id and d.device_token like 'sha256:%' and t.token_hash = app_private.token_hash(d.device_token);

-- The JWT of a device names it in device_id and has no `sub`: Supabase Auth takes whatever the project's secret has signed for the
-- user whose id is in there.
create or replace function app_private.require_sender(device uuid) returns void
language plpgsql stable set search_path = ''
as $$
declare
  claims jsonb := auth.jwt();
begin
  if current_setting('role') in ('anon', 'authenticated') or (current_setting('role') = 'device' and (
    claims ->> 'aud' is distinct from 'device' or claims ? 'sub' or claims ->> 'device_id' is distinct from device::text
    or not exists (
      select from app_private.device_tokens t
      where t.device_id = device and t.id::text = claims ->> 'token_id' and t.revoked_at is null)
  )) then
    raise exception 'this token is not of this device, or was revoked'
      using errcode = 'insufficient_privilege', hint = 'Get a new one from device-auth.';
  end if;
  if not exists (select from public.devices d where d.id = device and d.status = 'active') then
    raise exception 'this device is not active'
      using errcode = 'insufficient_privilege', hint = 'Its owner may set its status to active.';
  end if;
end;
$$;

alter table app_private.ingest_limits
  add column if not exists bytes_per_second double precision not null default 1048576,
  add column if not exists burst_bytes double precision not null default 67108864;
alter table app_private.device_ingest add column if not exists byte_budget double precision;

-- Takes samples and bytes off the device's budgets, which refill as time passes; raises if it does not have them.
drop function if exists app_private.spend_budget(uuid, integer, app_private.ingest_limits);
create or replace function app_private.spend_budget(
  device uuid, samples integer, bytes integer, limits app_private.ingest_limits)
returns void
language plpgsql set search_path = ''
as $$
declare
  has record;
  waits double precision[];
begin
  insert into app_private.device_ingest as i (device_id, budget, byte_budget, refilled_at)
  values (device, limits.burst_samples, limits.burst_bytes, clock_timestamp()) on conflict (device_id) do update
    set budget = least(limits.burst_samples, i.budget
          + limits.samples_per_second * greatest(0, extract(epoch from clock_timestamp() - i.refilled_at))),
        byte_budget = least(limits.burst_bytes, coalesce(i.byte_budget, limits.burst_bytes)
          + limits.bytes_per_second * greatest(0, extract(epoch from clock_timestamp() - i.refilled_at))),
        refilled_at = clock_timestamp()
  returning i.budget, i.byte_budget into has;
  -- The service sends for many, and for years at once.
  if current_setting('role') <> 'device' then
    return;
  end if;
  waits := array[(samples - has.budget) / limits.samples_per_second, (bytes - has.byte_budget) / limits.bytes_per_second];
  if greatest(waits[1], waits[2]) > 0 then
    raise exception 'this device sends more than % a second', case when waits[1] > waits[2]
        then limits.samples_per_second || ' samples' else limits.bytes_per_second || ' bytes' end
      using errcode = 'PT429', hint = format('retry in %s seconds', ceil(greatest(waits[1], waits[2])));
  end if;
  update app_private.device_ingest set budget = budget - samples, byte_budget = byte_budget - bytes where device_id = device;
end;
$$;
revoke all on function app_private.spend_budget(uuid, integer, integer, app_private.ingest_limits) from public;

-- As before; a time that no partition takes is the fault of its sample alone, and bytes have their budget.
create or replace function app_private.store_samples(
  device_id uuid,
  profile_ids uuid[],
  timestamps timestamptz[],
  sequences bigint[],
  payloads bytea[]
)
returns table (index integer, status text, reason text)
language plpgsql security definer set search_path = ''
  -- Of a few samples among a day's millions: by the index, never a scan.
  set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  device constant uuid := store_samples.device_id;
  batch constant integer := coalesce(cardinality(profile_ids), -1);
  limits app_private.ingest_limits;
begin
  select * into strict limits from app_private.ingest_limits;
  perform app_private.require_sender(device);
  if batch < 0 or (batch > 0 and (1, 1, 1, 1) is distinct from
      (array_ndims(profile_ids), array_ndims(timestamps), array_ndims(sequences), array_ndims(payloads)))
    or (batch, batch, batch) is distinct from (cardinality(timestamps), cardinality(sequences), cardinality(payloads))
  then
    raise exception 'profile_ids, timestamps, sequences and payloads must be four lists of one length'
      using errcode = 'invalid_parameter_value';
  end if;
  if batch > limits.batch_samples or pg_column_size(payloads) > limits.batch_bytes then
    raise exception 'a batch has at most % samples and % bytes', limits.batch_samples, limits.batch_bytes
      using errcode = 'PT413', hint = 'Send it in parts.';
  end if;
  perform app_private.spend_budget(device, batch, pg_column_size(payloads), limits);
  update public.devices d set last_seen_at = now()
  where d.id = device and (d.last_seen_at is null or d.last_seen_at < now() - interval '1 minute');
  return query
  with sent as materialized (
    select (s.ordinal - 1)::integer as index, s.profile_id, s.at, s.sequence, s.payload,
      case
        when s.profile_id is null or s.at is null or s.sequence is null or s.payload is null
          then 'profile_id, timestamp, sequence and data are all needed'
        when p.id is null then 'this device has no such profile'
        when not p.is_active then 'this profile is not active'
        when octet_length(s.payload) <> p.sample_size_bytes
          then format('%s bytes, where the profile says %s', octet_length(s.payload), p.sample_size_bytes)
        when s.sequence < 0 then 'sequence is below 0'
        when s.at < '0001-01-01 00:00:00+00' or s.at >= '10000-01-01 00:00:00+00'
          then 'timestamp is outside of the years 1 to 9999'
        when s.at > now() + limits.most_future then format('timestamp is more than %s ahead', limits.most_future)
        -- The service imports archives.
        when s.at < now() - limits.most_past and current_setting('role') = 'device' then format('timestamp is more than %s ago', limits.most_past)
      end as reason
    from unnest(profile_ids, timestamps, sequences, payloads) with ordinality as s (profile_id, at, sequence, payload, ordinal)
      left join public.sampling_profiles p on p.id = s.profile_id and p.device_id = device
  ), known as materialized (
    select s.*, exists (
        select from public.entropy_samples e
        where e.device_id = device and e."timestamp" = s.at and e.sequence = s.sequence and e.profile_id = s.profile_id
      ) as is_stored,
      -- Of the same sample twice in a batch, the first.
      row_number() over (partition by s.profile_id, s.at, s.sequence, s.reason is null order by s.index) as copy
    from sent s
  ), stored as (
    insert into public.entropy_samples (device_id, profile_id, "timestamp", sequence, byte_length, sample_data)
    select device, k.profile_id, k.at, k.sequence, octet_length(k.payload), k.payload
    from known k where k.reason is null and not k.is_stored and k.copy = 1
    order by k.at, k.sequence
  )
  select k.index,
    case when k.reason is not null then 'rejected' when k.is_stored or k.copy > 1 then 'duplicate' else 'accepted' end,
    k.reason
  from known k order by k.index;
end;
$$;
revoke all on function app_private.store_samples(uuid, uuid[], timestamptz[], bigint[], bytea[]) from public;

-- Who reads a row of storj_chunks has a device in the chunk; the others' devices, profiles and counts are not for them.
create table if not exists app_private.chunk_claims (
  chunk_id uuid primary key references public.storj_chunks (id) on delete cascade,
  members jsonb not null
);
comment on table app_private.chunk_claims is
  'Rows by "device/profile" as the claim froze them: what may be missing later is only what went with one of these.';
alter table app_private.chunk_claims enable row level security;
do $$
declare
  dependents text;
begin
  if exists (
    select from pg_attribute
    where attrelid = 'public.storj_chunks'::regclass and attname = 'claimed' and not attisdropped)
  then
    insert into app_private.chunk_claims (chunk_id, members)
    select id, claimed from public.storj_chunks where claimed is not null on conflict do nothing;
    alter table public.storj_chunks drop column claimed;
  end if;
exception
  when dependent_objects_still_exist then
    get stacked diagnostics dependents = pg_exception_detail;
    raise exception 'column claimed of storj_chunks cannot be dropped while there is: %', dependents
      using hint = 'Drop these, run the migration, and create them again without the column.';
end
$$;
