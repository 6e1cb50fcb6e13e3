"""The least a run with a few changed records can cost: find them as the unchanged floor does, COPY and update those.

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

    new = read.with_row_index("position").join(held, on="fingerprint", how="anti")
    texts = pa.array([bytes(records[position]) for position in new["position"]], type=pa.binary()).cast(pa.string())
    prints = pa.array(new["fingerprint"].to_list(), type=pa.binary(16))
    batch = pa.RecordBatch.from_arrays(
        [pa.ExtensionArray.from_storage(pa.json_(), texts), pa.ExtensionArray.from_storage(pa.uuid(), prints)],
        schema=pa.schema([("raw", pa.json_()), ("fingerprint", pa.uuid())]),
    )
    cursor.execute("create temporary table stage (raw jsonb, fingerprint uuid) on commit drop")
    cursor.adbc_ingest("stage", batch, mode="append", temporary=True)
    cursor.execute(
        "update fuel.records r set raw = s.raw, fingerprint = s.fingerprint, last_changed_at = now()"
        " from stage s where r.id = (s.raw ->> 'id')::bigint"
    )
    connection.commit()
print(json.dumps({"records": len(records), "same": len(records) - new.height}))
