"""A new field of the source is one line in the table of fields and one in the rules; the rest follows from them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from fleetfuel.packaged import packaged
from fleetfuel.rules import fields

PROGRAM = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from fleetfuel.rules import fields as table

source = Path(table.__file__).read_text(encoding="utf-8")
line = '    Field(name="station", kind="text", of_fill=True),\\n'
marker = '    Field(name="sender"'
assert marker in source
exec(compile(source.replace(marker, line + marker), table.__file__, "exec"), vars(table))

from fleetfuel.model.files import SourceFile
from fleetfuel.records import envelope, judge, values
from fleetfuel.records.rows import index_records, read_rows
from fleetfuel.rules.book import load_rules

rules = load_rules(Path(sys.argv[1]))
judge.prove_rules(rules)
content = b'[{"id": 1, "pump_station": "Twiga Road"}, {"id": 2, "deleted_at": "2026-06-01 10:00:00", "station": "x"}]'
now = datetime(2026, 6, 11, tzinfo=UTC)
file = SourceFile(key="k", etag="", size=len(content), modified_at=now, key_at=None, content=memoryview(content))
cut = envelope.cut_file(file, values.EAST_AFRICA)
rows = read_rows(index_records(cut, 0), [cut], rules, values.EAST_AFRICA, 0)
warned = judge.validate_rows(rows.typed, rules).notices.filter(rule="station_unknown")
print(json.dumps([
    rows.typed["station"].to_list(), rows.typed["carries_values"].to_list(), dict(rows.unknown_fields),
    warned["id"].to_list(), "station" in table.LOSABLE,
]))
"""


def test_a_new_field_is_one_line_in_the_table_and_one_in_the_rules(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(packaged("rules"), rules)
    listed = rules / "fields.toml"
    listed.write_text(
        listed.read_text(encoding="utf-8").replace(
            "sender = [", 'station = ["pump_station", "station"]\nsender = [', 1
        ),
        encoding="utf-8",
    )
    with (rules / "checks.toml").open("a", encoding="utf-8") as checks:
        checks.write(
            '\n[[check]]\ncode = "station_unknown"\nwhy = "Nobody knows this station."\nseverity = "warn"\n'
            'field = "station"\nmatches = "Road$"\ngood = [{ station = "Twiga Road" }]\nbad = [{ station = "x" }]\n'
        )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(rules)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.strip() == '[["Twiga Road", "x"], [true, true], {}, [2], true]', done.stderr


def test_the_rules_name_the_fields_of_the_table_and_no_others() -> None:
    listed = tomllib.loads((packaged("rules") / "fields.toml").read_text(encoding="utf-8"))
    assert set(listed["fields"]) == set(fields.NAMES)
