-- A sample's profile is one of its own device, said by the foreign key, so that deleting a profile, or a device with its profiles, finds
-- the samples by the index on (device_id, "timestamp") instead of reading every partition. PostgREST embeds as before.
do $$
declare
  strays bigint;
  old_key name;
begin
  if not exists (
    select from pg_constraint
    where conrelid = 'public.entropy_samples'::regclass and conname = 'entropy_samples_device_id_profile_id_fkey')
  then
    -- Inserts wait meanwhile: a row that came in after the count would end the migration with a less helpful error.
    lock table public.sampling_profiles, public.entropy_samples in share row exclusive mode;
    select count(*) into strays from public.entropy_samples e
    where not exists (select from public.sampling_profiles p where p.id = e.profile_id and p.device_id = e.device_id);
    if strays > 0 then
      raise exception '% rows of public.entropy_samples have a sampling profile of another device', strays
        using hint = 'Give each device a profile of its own and set profile_id of these rows to it, then run the migration again.';
    end if;
    if not exists (
      select from pg_constraint
      where conrelid = 'public.sampling_profiles'::regclass and conname = 'sampling_profiles_device_id_id_key')
    then
      alter table public.sampling_profiles add constraint sampling_profiles_device_id_id_key unique (device_id, id);
    end if;
    alter table public.entropy_samples add constraint entropy_samples_device_id_profile_id_fkey
      foreign key (device_id, profile_id) references public.sampling_profiles (device_id, id) on delete cascade;
  end if;
  for old_key in
    select k.conname from pg_constraint k join pg_attribute a on a.attrelid = k.conrelid and k.conkey = array[a.attnum]
    where k.conrelid = 'public.entropy_samples'::regclass and k.contype = 'f' and a.attname = 'profile_id'
  loop
    execute format('alter table public.entropy_samples drop constraint %I', old_key);
  end loop;
end
$$;
