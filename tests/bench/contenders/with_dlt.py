"""What one would pick instead: dlt, merging every record on its id into a table of its own, raw and a few columns.

Arguments: the file, the database. Its folder is where it runs.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}
dlt = importlib.import_module("dlt")

path, uri = sys.argv[1:]


def records() -> Iterator[dict[str, Any]]:
    """The columns that a report needs, each of one type, and the whole record next to them."""
    for record in json.loads(Path(path).read_text(encoding="utf-8"))["records"]:
        yield {
            "id": int(record["id"]),
            "car": str(record.get("car")),
            "litres": str(record.get("liters")),
            "amount": str(record.get("amount")),
            "raw": record,
        }


resource = dlt.resource(
    records,
    name="records",
    primary_key="id",
    write_disposition={"disposition": "merge", "strategy": "upsert"},
    columns={"id": {"data_type": "bigint"}, "raw": {"data_type": "json"}},
)
pipeline = dlt.pipeline(
    pipeline_name="fuel",
    pipelines_dir=str(Path("dlt").resolve()),
    destination=dlt.destinations.postgres(uri),
    dataset_name="loaded",
)
pipeline.run(resource)
print(json.dumps({"loader": f"dlt {dlt.__version__}"}))
