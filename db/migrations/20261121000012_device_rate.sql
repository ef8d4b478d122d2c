-- A device's rate in its last hour: samples over the seconds in which any came.

create or replace view public.device_health with (security_invoker = true) as
select d.id as device_id, d.name, d.status, d.last_seen_at,
       s.bucket_start, s.bucket_end, s.sample_count, s.byte_count, s.entropy_estimate,
       s.extra -> 'frequency' as frequency, s.runs_test, s.uniformity_chi_square,
       (s.extra ->> 'seconds_covered')::integer as seconds_covered
from public.devices d
left join lateral (
  select * from public.device_timeslice_stats t
  where t.device_id = d.id and t.method_version is not null and t.bucket_end - t.bucket_start = interval '1 hour'
  order by t.bucket_start desc limit 1
) s on true;
