-- What a list of devices shows: when each was last seen, and its newest hour with any sample. seconds_covered are the seconds of
-- that hour in which some came.

create or replace view public.device_activity with (security_invoker = true) as
select d.id as device_id, d.name, d.status, d.last_seen_at, s.bucket_start, s.sample_count, s.byte_count, s.entropy_estimate,
       (s.extra ->> 'seconds_covered')::integer as seconds_covered
from public.devices d
left join lateral (
  select * from public.device_timeslice_stats t
  where t.device_id = d.id and t.method_version is not null and t.bucket_end - t.bucket_start = interval '1 hour'
  order by t.bucket_start desc limit 1
) s on true;
revoke all on public.device_activity from anon, authenticated;
grant all on public.device_activity to service_role;
grant select on public.device_activity to authenticated;
