"""The least an unchanged run can cost: map the file, cut it, hash each record, read ids and fingerprints, join.

Arguments: the file, the database, the seed of the fingerprints.
"""

import json
import mmap
import sys
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import msgspec
import polars as pl
import pyarrow as pa
import xxhash


class Envelope(msgspec.Struct):
    records: list[msgspec.Raw]


path, uri, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Path(path).open("rb") as file:
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
records = msgspec.json.decode(memoryview(content), type=Envelope).records
digest = xxhash.xxh3_128_digest
read = pl.DataFrame({"fingerprint": pl.Series([digest(record, seed) for record in records], dtype=pl.Binary)})

with adbc.connect(uri) as connection, connection.cursor() as cursor:
    cursor.execute("select id, fingerprint from fuel.records")
    table = cursor.fetch_arrow_table()
stored = table["fingerprint"].combine_chunks()
if isinstance(stored, pa.ExtensionArray):
    stored = stored.storage
held = pl.DataFrame({"id": pl.Series(table["id"]), "fingerprint": pl.Series(stored.cast(pa.binary()))})

same = read.join(held, on="fingerprint", how="inner")
print(json.dumps({"records": len(records), "same": same.height, "ids": same["id"].sum()}))
