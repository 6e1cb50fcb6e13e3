"""The least a first load can cost: cut the file, COPY the same texts, insert them through the same trigger, and mark
their vehicles in one go.

Arguments: the file, the database.
"""

import json
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import msgspec
import pyarrow as pa

BATCH = 20_000


class Envelope(msgspec.Struct):
    records: list[msgspec.Raw]


path, uri = sys.argv[1:]
with Path(path).open("rb") as file:
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
records = msgspec.json.decode(memoryview(content), type=Envelope).records
schema = pa.schema([("raw", pa.json_())])


def batches() -> Iterator[pa.RecordBatch]:
    for first in range(0, len(records), BATCH):
        texts = pa.array([*map(bytes, records[first : first + BATCH])], type=pa.binary()).cast(pa.string())
        yield pa.RecordBatch.from_arrays([pa.ExtensionArray.from_storage(pa.json_(), texts)], schema=schema)


with adbc.connect(uri) as connection, connection.cursor() as cursor:
    cursor.execute("create temporary table stage (raw jsonb) on commit drop")
    stream = pa.RecordBatchReader.from_batches(schema, batches())
    cursor.adbc_ingest("stage", stream, mode="append", temporary=True)
    cursor.execute("select set_config('fuel.marks_plates', 'on', true)")
    cursor.execute(
        "with written as ("
        "insert into fuel.records (id, raw) select (raw ->> 'id')::bigint, raw from stage returning vehicle"
        ") insert into fuel.stale_vehicles (vehicle) select distinct vehicle from written where vehicle is not null"
    )
    connection.commit()
print(json.dumps({"records": len(records)}))
