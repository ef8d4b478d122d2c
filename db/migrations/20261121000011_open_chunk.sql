-- A sample is stamped with its chunk when it is inserted, so that packing rewrites no row. Chunks form a series: one is open, inserts
-- take part in it, and it is sealed by opening the next. docs/chunk-lifecycle.md says why nothing can come into a sealed chunk once its
-- advisory lock was had; docs/decisions/008-open-chunks.md what it costs and saves.

-- Numbers of the series. Its last value is the open chunk. A sequence, because its value is the same in every snapshot: an insert
-- in a long REPEATABLE READ transaction sees a chunk sealed as soon as everybody else does.
create sequence if not exists app_private.chunk_series;
-- Rows stamped, and how many of them make a chunk: the insert that completes one opens the next. Packing sets the latter by the
-- size of samples.
create sequence if not exists app_private.chunk_stamps;
create sequence if not exists app_private.chunk_rows;

create table if not exists app_private.packing (
  only_row boolean primary key default true check (only_row),
  adopted_through bigint not null default 0
);
comment on table app_private.packing is 'Up to which number every chunk of the series has its row in storj_chunks, or no samples.';
insert into app_private.packing default values on conflict do nothing;
alter table app_private.packing enable row level security;

-- The ids of a series differ between databases in their first 64 bits (UUIDv8, RFC 9562).
do $$
declare
  noise constant text := gen_random_uuid()::text;
  prefix constant text := left(noise, 14) || '8' || substr(noise, 16, 9);
begin
  if to_regprocedure('app_private.chunk_of(bigint)') is not null then
    return;
  end if;
  perform setval('app_private.chunk_series', 1), setval('app_private.chunk_rows', 8192);
  execute format($f$
    create function app_private.chunk_of(number bigint) returns uuid
    language sql immutable parallel safe set search_path = ''
    as $body$ select (%L || lpad(to_hex(number), 12, '0'))::uuid $body$
  $f$, prefix);
  -- For each row of an insert, so: expressions only, no queries.
  execute format($f$
    create function app_private.open_chunk() returns uuid
    language plpgsql volatile security definer set search_path = ''
    as $body$
    declare
      number bigint;
    begin
      if nextval('app_private.chunk_stamps'::regclass) %% pg_sequence_last_value('app_private.chunk_rows'::regclass) = 0 then
        number := nextval('app_private.chunk_series'::regclass);
      end if;
      for attempt in 1..1000 loop
        number := pg_sequence_last_value('app_private.chunk_series'::regclass);
        -- Held until the transaction ends. Whoever seals looks for these locks after the next chunk was opened: this one is either
        -- seen there, or sees here that the chunk is not the open one any more.
        if pg_try_advisory_xact_lock_shared(7268153, number::integer)
          and number = pg_sequence_last_value('app_private.chunk_series'::regclass)
        then
          return (%L || lpad(to_hex(number), 12, '0'))::uuid;
        end if;
      end loop;
      raise exception 'no open chunk: somebody holds advisory locks (7268153, %%)', number
        using errcode = 'lock_not_available', hint = 'These locks are the pipeline''s. Find the other program in pg_locks.';
    end;
    $body$
  $f$, prefix);
end
$$;
revoke all on function app_private.chunk_of(bigint), app_private.open_chunk() from public;
grant execute on function app_private.open_chunk() to service_role;
alter table public.entropy_samples alter column storj_chunk_id set default app_private.open_chunk();

-- A foreign key would lock the row of the one open chunk in every insert. What it did when a chunk is deleted, a trigger does.
do $$
declare
  old_key name;
begin
  for old_key in
    select conname from pg_constraint
    where conrelid = 'public.entropy_samples'::regclass and contype = 'f' and confrelid = 'public.storj_chunks'::regclass
  loop
    execute format('alter table public.entropy_samples drop constraint %I', old_key);
  end loop;
end
$$;
create or replace function app_private.release_samples_of_deleted_chunks() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  update public.entropy_samples s set storj_chunk_id = null from deleted d where s.storj_chunk_id = d.id;
  return null;
end;
$$;
revoke all on function app_private.release_samples_of_deleted_chunks() from public;
create or replace trigger release_samples_of_deleted_chunks after delete on public.storj_chunks
  referencing old table as deleted for each statement execute function app_private.release_samples_of_deleted_chunks();

-- Chunks of the series that have no row in storj_chunks yet: the open one, and those that are sealed and not packed.
create or replace function app_private.unpacked_chunks() returns uuid[]
language sql stable security definer set search_path = ''
as $$
  select array(
    select app_private.chunk_of(number)
    from app_private.packing, generate_series(adopted_through + 1, pg_sequence_last_value('app_private.chunk_series'::regclass)) number
    where not exists (select from public.storj_chunks c where c.id = app_private.chunk_of(number)))
$$;
revoke all on function app_private.unpacked_chunks() from public;
grant execute on function app_private.unpacked_chunks() to authenticated, service_role;

-- Notes that a chunk of the series has its row, or has no samples, and with it all that follow and have theirs.
create or replace function app_private.note_adopted(number bigint) returns void
language plpgsql set search_path = ''
as $$
declare
  reached bigint;
begin
  select adopted_through into reached from app_private.packing for update;
  if number <> reached + 1 then
    return;
  end if;
  reached := number;
  while exists (select from public.storj_chunks c where c.id = app_private.chunk_of(reached + 1)) loop
    reached := reached + 1;
  end loop;
  update app_private.packing set adopted_through = reached;
end;
$$;
revoke all on function app_private.note_adopted(bigint) from public;

-- Samples stamped with a chunk that is neither in storj_chunks nor one that the series has yet to pack (they came from another
-- database, or somebody wrote a number of his own) are packed with those that have no stamp. Returns how many.
create or replace function app_private.release_strays() returns bigint
language plpgsql set search_path = ''
as $$
declare
  part regclass;
  chunk uuid;
  released bigint := 0;
  moved bigint;
begin
  for part in select inhrelid::regclass from pg_inherits where inhparent = 'public.entropy_samples'::regclass loop
    chunk := '00000000-0000-0000-0000-000000000000';
    loop
      -- From chunk to chunk along the index.
      execute format('select storj_chunk_id from %s where storj_chunk_id > $1 order by storj_chunk_id limit 1', part)
        into chunk using chunk;
      exit when chunk is null;
      continue when exists (select from public.storj_chunks c where c.id = chunk);
      continue when chunk = any (app_private.unpacked_chunks());
      execute format('update %s set storj_chunk_id = null where storj_chunk_id = $1', part) using chunk;
      get diagnostics moved = row_count;
      released := released + moved;
    end loop;
  end loop;
  return released;
end;
$$;
revoke all on function app_private.release_strays() from public;

create or replace view public.chunk_backlog with (security_invoker = true) as
select device_id,
       count(*) as samples,
       sum(octet_length(sample_data)) as bytes,
       min(created_at) as oldest
from public.entropy_samples
where storj_chunk_id is null or storj_chunk_id = any (app_private.unpacked_chunks())
group by device_id;

create or replace view public.pipeline_health with (security_invoker = true) as
with waiting as (
  select count(*) as samples, min(created_at) as oldest from public.entropy_samples
  where storj_chunk_id is null or storj_chunk_id = any (app_private.unpacked_chunks())
)
select
  (select samples from waiting) as waiting_samples,
  (select oldest from waiting) as oldest_waiting,
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
