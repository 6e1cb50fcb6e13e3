"""What is usually written: parse the file, upsert every record.

Arguments: the file, the database.
"""

import importlib
import json
import sys
from pathlib import Path

psycopg = importlib.import_module("psycopg")
jsonb = importlib.import_module("psycopg.types.json").Jsonb

path, uri = sys.argv[1:]
records = json.loads(Path(path).read_text(encoding="utf-8"))["records"]
with psycopg.connect(uri) as connection, connection.cursor() as cursor:
    cursor.executemany(
        "insert into fuel.records (id, raw) values (%s, %s) on conflict (id) do update set raw = excluded.raw",
        [(int(record["id"]), jsonb(record)) for record in records],
    )
print(json.dumps({"records": len(records)}))
