-- The devices' door: a role of their own, tokens kept as hashes, and the functions that take their samples.

do $$
begin
  if not exists (select from pg_roles where rolname = 'device') then
    create role device nologin noinherit;
  end if;
  -- PostgREST becomes it for a JWT that says so; the owner of these functions may, to test them.
  execute format('grant device to authenticator, %I', current_user);
end
$$;
grant usage on schema public to device;

create table if not exists app_private.device_tokens (
  id uuid primary key default gen_random_uuid(),
  device_id uuid not null references public.devices (id) on delete cascade,
  token_hash bytea not null unique,
  created_at timestamptz not null default now(),
  last_used_at timestamptz,
  revoked_at timestamptz
);
comment on table app_private.device_tokens is
  'SHA-256 of every token. devices.device_token may still hold a token in plain text, as it did before; rotating it ends that.';
create index if not exists idx_device_tokens_device on app_private.device_tokens (device_id);
alter table app_private.device_tokens enable row level security;

create table if not exists app_private.ingest_limits (
  only_row boolean primary key default true check (only_row),
  samples_per_second double precision not null default 1000,
  burst_samples double precision not null default 100000,
  batch_samples integer not null default 10000,
  batch_bytes integer not null default 16777216,
  most_future interval not null default '5 minutes',
  most_past interval not null default '366 days'
);
comment on table app_private.ingest_limits is 'What one device may send; the maintainer may change it.';
insert into app_private.ingest_limits default values on conflict do nothing;
alter table app_private.ingest_limits enable row level security;

-- A row is locked while a device's batch is stored: of two that are the same, the second finds the first. What the rate limit
-- counts is not worth a WAL record.
create unlogged table if not exists app_private.device_ingest (
  device_id uuid primary key references public.devices (id) on delete cascade,
  budget double precision not null,
  refilled_at timestamptz not null
);
alter table app_private.device_ingest enable row level security;

create or replace function app_private.token_hash(token text) returns bytea
language sql immutable strict set search_path = ''
as $$ select sha256(convert_to(token, 'UTF8')) $$;
revoke all on function app_private.token_hash(text) from public;

-- Keeps device_tokens with what is written to devices.device_token, by the app or by hand: the new token works, others of the
-- device no longer. 'sha256:…' stands for a token whose plain text is not kept.
create or replace function app_private.keep_device_token() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  kept bytea;
begin
  if new.device_token like 'sha256:%' then
    select t.token_hash into kept from app_private.device_tokens t
    where t.device_id = new.id and t.revoked_at is null and 'sha256:' || encode(t.token_hash, 'hex') = new.device_token;
    if kept is null then
      raise exception 'device_token cannot begin with sha256:'
        using errcode = 'check_violation', hint = 'rotate_device_token() makes a token that is kept as its hash.';
    end if;
  else
    kept := app_private.token_hash(new.device_token);
    insert into app_private.device_tokens as t (device_id, token_hash) values (new.id, kept)
    on conflict (token_hash) do update set revoked_at = null where t.device_id = excluded.device_id;
    if not found then
      raise exception 'this token was another device''s' using errcode = 'unique_violation';
    end if;
  end if;
  update app_private.device_tokens set revoked_at = now()
  where device_id = new.id and token_hash <> kept and revoked_at is null;
  return null;
end;
$$;
revoke all on function app_private.keep_device_token() from public;
create or replace trigger keep_device_tokens after insert or update of device_token on public.devices
  for each row execute function app_private.keep_device_token();

insert into app_private.device_tokens (device_id, token_hash)
select id, app_private.token_hash(device_token) from public.devices on conflict do nothing;

-- Whose token this is. Looked up by its hash, so that the time of an answer says nothing about how much of a guess was right.
create or replace function public.authenticate_device(device_token text)
returns table (device_id uuid, token_id uuid, profiles jsonb)
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
  update app_private.device_tokens t set last_used_at = now()
  where t.token_hash = app_private.token_hash(authenticate_device.device_token) and t.revoked_at is null
    and (t.last_used_at is null or t.last_used_at < now() - interval '1 minute');
  return query
  select d.id, t.id, (
    select coalesce(jsonb_agg(jsonb_build_object('id', p.id, 'label', p.label, 'sample_rate_hz', p.sample_rate_hz,
      'sample_size_bytes', p.sample_size_bytes) order by p.label, p.id), '[]')
    from public.sampling_profiles p where p.device_id = d.id and p.is_active)
  from app_private.device_tokens t join public.devices d on d.id = t.device_id
  where t.token_hash = app_private.token_hash(authenticate_device.device_token) and t.revoked_at is null
    and d.status = 'active';
end;
$$;

create or replace function app_private.require_owner(device uuid) returns void
language plpgsql stable set search_path = ''
as $$
begin
  if current_setting('role') in ('anon', 'authenticated', 'device') and not exists (
    select from public.devices d where d.id = device and d.user_id = (select auth.uid())
  ) then
    raise exception 'no device of yours has this id' using errcode = 'insufficient_privilege';
  end if;
end;
$$;
revoke all on function app_private.require_owner(uuid) from public;

-- The new token, in plain text this once. The old one no longer works.
create or replace function public.rotate_device_token(device_id uuid) returns text
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  -- 244 random bits from the server's strong generator.
  token text := 'dt_' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
begin
  perform app_private.require_owner(rotate_device_token.device_id);
  insert into app_private.device_tokens (device_id, token_hash)
  values (rotate_device_token.device_id, app_private.token_hash(token));
  update public.devices set device_token = 'sha256:' || encode(app_private.token_hash(token), 'hex')
  where id = rotate_device_token.device_id;
  return token;
end;
$$;

-- No token of this device works any more, nor any JWT that was made from one, until it is rotated.
create or replace function public.revoke_device_token(device_id uuid) returns void
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
begin
  perform public.rotate_device_token(revoke_device_token.device_id);
  update app_private.device_tokens t set revoked_at = now()
  where t.device_id = revoke_device_token.device_id and t.revoked_at is null;
end;
$$;

-- Raises unless the caller may send for this device: a device for itself, while its token holds; the service.
create or replace function app_private.require_sender(device uuid) returns void
language plpgsql stable set search_path = ''
as $$
declare
  claims jsonb := auth.jwt();
begin
  if current_setting('role') in ('anon', 'authenticated') or (current_setting('role') = 'device' and (
    claims ->> 'aud' is distinct from 'device' or claims ->> 'sub' is distinct from device::text or not exists (
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
revoke all on function app_private.require_sender(uuid) from public;

-- Takes the samples off the device's budget, which refills as time passes; raises if it does not have them.
create or replace function app_private.spend_budget(device uuid, samples integer, limits app_private.ingest_limits)
returns void
language plpgsql set search_path = ''
as $$
declare
  left_over double precision;
begin
  insert into app_private.device_ingest as i (device_id, budget, refilled_at)
  values (device, limits.burst_samples, clock_timestamp()) on conflict (device_id) do update
    set budget = least(limits.burst_samples, i.budget
          + limits.samples_per_second * greatest(0, extract(epoch from clock_timestamp() - i.refilled_at))),
        refilled_at = clock_timestamp()
  returning i.budget into left_over;
  -- The service sends for many, and for years at once.
  if current_setting('role') <> 'device' then
    return;
  end if;
  if left_over < samples then
    raise exception 'this device sends more than % samples a second', limits.samples_per_second
      using errcode = 'PT429',
        hint = format('retry in %s seconds', ceil((samples - left_over) / limits.samples_per_second));
  end if;
  update app_private.device_ingest set budget = budget - samples where device_id = device;
end;
$$;
revoke all on function app_private.spend_budget(uuid, integer, app_private.ingest_limits) from public;

-- Stores a batch of one device. Every sample is accepted, a duplicate of one that is stored already (same profile, timestamp and
-- sequence: what a retry repeats), or rejected with the reason; none of them keeps another from being stored.
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
  perform app_private.spend_budget(device, batch, limits);
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

-- That, as [{index, status, reason}] in the order of the batch: of rows PostgREST gives no more than its db-max-rows, 1000 on
-- Supabase.
create or replace function public.insert_entropy_samples(
  device_id uuid,
  profile_ids uuid[],
  timestamps timestamptz[],
  sequences bigint[],
  payloads bytea[]
)
returns jsonb
language sql security definer set search_path = ''
as $$
  select coalesce(jsonb_agg(s order by s.index), '[]')
  from app_private.store_samples(device_id, profile_ids, timestamps, sequences, payloads) s
$$;

-- One sample; the id it is stored under, whether now or before. Raises the reason if it is rejected.
create or replace function public.insert_entropy_sample(
  device_id uuid,
  profile_id uuid,
  sequence bigint,
  sample_data bytea,
  "timestamp" timestamptz default now()
)
returns uuid
language plpgsql security definer set search_path = ''
as $$
#variable_conflict use_column
declare
  outcome record;
begin
  select s.status, s.reason into outcome from app_private.store_samples(
    insert_entropy_sample.device_id, array[insert_entropy_sample.profile_id], array[insert_entropy_sample."timestamp"],
    array[insert_entropy_sample.sequence], array[insert_entropy_sample.sample_data]) s;
  if outcome.status = 'rejected' then
    raise exception '%', outcome.reason using errcode = 'invalid_parameter_value';
  end if;
  return (
    select e.id from public.entropy_samples e
    where e.device_id = insert_entropy_sample.device_id and e."timestamp" = insert_entropy_sample."timestamp"
      and e.sequence = insert_entropy_sample.sequence and e.profile_id = insert_entropy_sample.profile_id
    limit 1);
end;
$$;

do $grants$
declare
  ours text;
begin
  foreach ours in array array['authenticate_device(text)', 'rotate_device_token(uuid)', 'revoke_device_token(uuid)',
    'insert_entropy_samples(uuid, uuid[], timestamptz[], bigint[], bytea[])',
    'insert_entropy_sample(uuid, uuid, bigint, bytea, timestamptz)']
  loop
    execute format('revoke all on function public.%s from public, anon, authenticated', ours);
    execute format('grant execute on function public.%s to service_role', ours);
  end loop;
end
$grants$;
grant execute on function public.rotate_device_token(uuid), public.revoke_device_token(uuid) to authenticated;
grant execute on function public.insert_entropy_samples(uuid, uuid[], timestamptz[], bigint[], bytea[]),
  public.insert_entropy_sample(uuid, uuid, bigint, bytea, timestamptz) to device;
