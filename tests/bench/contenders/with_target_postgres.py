"""What one would pick instead: the Singer target for PostgreSQL, given every record, merging on the id.

Arguments: the file, the database. It is run by the Python next to the program `target-postgres`.
"""

import importlib.metadata
import json
import subprocess
import sys
import tempfile
from pathlib import Path

path, uri = sys.argv[1:]
SCHEMA = {
    "type": "SCHEMA",
    "stream": "records",
    "key_properties": ["id"],
    "schema": {
        "properties": {
            "id": {"type": "integer"},
            **{name: {"type": ["string", "null"]} for name in ("car", "litres", "amount")},
            "raw": {"type": ["object", "null"], "additionalProperties": True},
        }
    },
}
with tempfile.TemporaryDirectory() as folder:
    config = Path(folder, "config.json")
    config.write_text(
        json.dumps(
            {
                "sqlalchemy_url": uri.replace("postgresql://", "postgresql+psycopg://"),
                "default_target_schema": "loaded",
                "add_record_metadata": False,
                "activate_version": False,
                "use_copy": True,
                "batch_size_rows": 100_000,
            }
        )
    )
    program = Path(sys.executable).with_name("target-postgres")
    with subprocess.Popen([program, "--config", config], stdin=subprocess.PIPE, stdout=sys.stderr) as target:
        assert target.stdin
        target.stdin.write(json.dumps(SCHEMA).encode() + b"\n")
        for record in json.loads(Path(path).read_text(encoding="utf-8"))["records"]:
            said = {
                "id": int(record["id"]),
                "car": str(record.get("car")),
                "litres": str(record.get("liters")),
                "amount": str(record.get("amount")),
                "raw": record,
            }
            target.stdin.write(json.dumps({"type": "RECORD", "stream": "records", "record": said}).encode() + b"\n")
        target.stdin.close()
    if target.returncode:
        sys.exit(target.returncode)
print(json.dumps({"loader": f"target-postgres {importlib.metadata.version('meltanolabs-target-postgres')}"}))
