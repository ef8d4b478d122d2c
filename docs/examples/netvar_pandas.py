"""Open chunks with pyarrow and pandas, and recompute the network's netvar (docs/statistics.md, network_stats).

    pip install pyarrow pandas
    python netvar_pandas.py 2026-01-05T12:00:00Z 2026-01-05T13:00:00Z chunks/*.arrow

Links and s3://bucket/key do as well as paths: chunks.py, beside this file, opens them. Prints {"seconds": T, "chi2": sum of S_t squared}: what network_stats has for that hour in `netvar`, profile all_bits.
"""

import json
import sys

import numpy as np
import pandas as pd
import pyarrow as pa

import chunks


def trials(table):
    """One row a device and second: bits, ones, and the score z of a fair source."""
    data = pd.DataFrame(
        {
            "device": [id.hex() for id in table["device_id"].to_pylist()],
            "profile": [id.hex() for id in table["profile_id"].to_pylist()],
            "timestamp": table["timestamp"].to_pandas(),
            "sequence": table["sequence"].to_numpy(),
            "payload": table["sample_data"].to_pylist(),
        }
    ).drop_duplicates(["device", "profile", "timestamp", "sequence"])
    data["bits"] = data["payload"].map(lambda bytes: 8 * len(bytes))
    data["ones"] = data["payload"].map(lambda bytes: int.from_bytes(bytes, "big").bit_count())
    data["second"] = data["timestamp"].dt.floor("s")
    sums = data.groupby(["second", "device"])[["bits", "ones"]].sum().reset_index()
    stuck = (sums.bits >= 64) & ((sums.ones == 0) | (sums.ones == sums.bits))
    sums = sums[(sums.bits > 0) & ~stuck]
    return sums.assign(z=(2 * sums.ones - sums.bits) / np.sqrt(sums.bits))


def netvar(trials):
    """Stouffer's S of each second, squared and summed: chi-squared with as many degrees of freedom as seconds."""
    by_second = trials.groupby("second")["z"]
    s = by_second.sum() / np.sqrt(by_second.count())
    return {"seconds": len(s), "chi2": float((s**2).sum())}


if __name__ == "__main__":
    start, end = (pd.Timestamp(text) for text in sys.argv[1:3])
    # Chunks differ in their dictionaries; pyarrow makes one of them.
    found = trials(pa.concat_tables([chunks.open(place) for place in sys.argv[3:]]).unify_dictionaries())
    print(json.dumps(netvar(found[(found.second >= start) & (found.second < end)])))
