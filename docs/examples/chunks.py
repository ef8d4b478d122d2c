"""Opens a chunk, or a file of an export, wherever it is.

    pip install pyarrow

    chunks.open("chunks/….arrow")                      a path
    chunks.open("https://…")                           a link: of an export, or signed by Supabase Storage or Storj
    chunks.open("s3://entropy-chunks/v1/2026/…arrow")  an object of Storj or another S3 service, with the settings that the
                                                       pipeline has: STORJ_ENDPOINT, STORJ_REGION, STORJ_ACCESS_KEY_ID, …
"""

import os
from urllib.parse import urlsplit
from urllib.request import urlopen

import pyarrow as pa
import pyarrow.fs


def open(place):
    """A pyarrow table."""
    scheme = urlsplit(place).scheme
    if scheme == "s3":
        source = _s3().open_input_file(place.removeprefix("s3://"))
    elif scheme in ("http", "https"):
        source = pa.BufferReader(urlopen(place).read())
    else:
        source = pa.memory_map(place)
    return pa.ipc.open_file(source).read_all()


def _s3():
    endpoint = urlsplit(os.environ.get("STORJ_ENDPOINT", "https://gateway.storjshare.io"))
    return pa.fs.S3FileSystem(
        endpoint_override=endpoint.netloc,
        scheme=endpoint.scheme,
        region=os.environ.get("STORJ_REGION", "us-east-1"),
        access_key=os.environ["STORJ_ACCESS_KEY_ID"],
        secret_key=os.environ["STORJ_SECRET_ACCESS_KEY"],
    )
