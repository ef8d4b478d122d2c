"""The same in SQL: DuckDB reads the Arrow tables that pyarrow opens, without a copy.

    pip install duckdb pyarrow
    python netvar_duckdb.py 2026-01-05T12:00:00Z 2026-01-05T13:00:00Z chunks/*.arrow
"""

import json
import sys

import duckdb
import pyarrow as pa

NETVAR = """
with samples as (
  select distinct on (device_id, profile_id, "timestamp", sequence)
    device_id, date_trunc('second', "timestamp") as second, sample_data
  from chunks where "timestamp" >= $start::timestamptz and "timestamp" < $end::timestamptz
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
    start, end, *paths = sys.argv[1:]
    chunks = pa.concat_tables([pa.ipc.open_file(pa.memory_map(path)).read_all() for path in paths])
    seconds, chi2 = duckdb.execute(NETVAR, {"start": start, "end": end}).fetchone()
    print(json.dumps({"seconds": seconds, "chi2": float(chi2)}))
