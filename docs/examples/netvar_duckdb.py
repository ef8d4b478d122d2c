"""The same in SQL: DuckDB reads the Arrow tables that pyarrow opens, without a copy.

    pip install duckdb pyarrow
    python netvar_duckdb.py 2026-01-05T12:00:00Z 2026-01-05T13:00:00Z chunks/*.arrow

Links and s3://bucket/key do as well as paths: chunks.py, beside this file, opens them.
"""

import json
import sys

import duckdb
import pyarrow as pa

import chunks

NETVAR = """
with samples as (
  select distinct on (device_id, profile_id, "timestamp", sequence)
    device_id, date_trunc('second', "timestamp") as second, sample_data
  from opened where "timestamp" >= $start::timestamptz and "timestamp" < $end::timestamptz
), trials as (
  select second, device_id, sum(8 * octet_length(sample_data)) as bits, sum(bit_count(sample_data::bit)) as ones
  from samples group by all
), scores as (
  select second, (2 * ones - bits) / sqrt(bits) as z from trials
  where bits > 0 and not (bits >= 64 and ones in (0, bits))
), stouffer as (
  select second, sum(z) / sqrt(count(*)) as s from scores group by second
)
select count(*) as seconds, sum(s * s) as chi2 from stouffer
"""

if __name__ == "__main__":
    start, end, *places = sys.argv[1:]
    # By this name the query finds it.
    opened = pa.concat_tables([chunks.open(place) for place in places])
    seconds, chi2 = duckdb.execute(NETVAR, {"start": start, "end": end}).fetchone()
    print(json.dumps({"seconds": seconds, "chi2": float(chi2)}))
