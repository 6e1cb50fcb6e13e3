"""Stories a person can read: tests/cases/<story> holds what was, what arrives and what comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from table import Row, Table, reported

from fleetfuel.pipeline import Request
from fleetfuel.pipeline import run as run_import
from fleetfuel.plan.limits import Overrides

CASES: Final = Path(__file__).parents[1] / "cases"
STORIES: Final = sorted(path.parent.name for path in CASES.glob("*/expected.json"))
DAY: Final = CASES / "day_of_feed"


def state_of(row: Row) -> str:
    marks = [name for name, mark in (("absent", row["absent_since"]), ("deleted", row["deleted_at"])) if mark]
    return " and ".join(marks) or "live"


@pytest.mark.parametrize("story", STORIES)
def test_a_story_ends_as_written(table: Table, story: str) -> None:
    expected = json.loads((CASES / story / "expected.json").read_text(encoding="utf-8"))
    table.load((CASES / story / "current.json").read_bytes(), name="current.json")
    incoming = (CASES / story / "incoming.json").read_bytes()

    outcome = table.load(incoming, reading=expected["read_as"], name="incoming.json", overrides=Overrides())
    run = outcome.run
    counts = {name: rows for name, rows in run["counts"].items() if rows and name not in ("records", "warned")}
    assert counts == expected["counts"]
    assert [guard["code"] for guard in run["guards"]] == expected.get("guards", [])
    for part in ("columns", "samples"):
        assert run[part] == expected.get(part, run[part])
    rejecting = {code: found["rows"] for code, found in run["rules"].items() if found["severity"] == "reject"}
    assert rejecting == expected.get("rules", {})

    rows = [{**row, "state": state_of(row)} for row in table.rows().values()]
    assert [row["id"] for row in rows] == [row["id"] for row in expected["rows"]]
    for row, wanted in zip(rows, expected["rows"], strict=True):
        assert {name: _shown(row[name]) for name in wanted} == wanted

    if not run["guards"]:
        again = table.load(incoming, reading=expected["read_as"], name="incoming.json", overrides=Overrides())
        assert again.run["counts"]["unchanged"] + again.run["counts"]["stale"] == sum(
            rows
            for name, rows in again.run["counts"].items()
            if name not in ("warned", "rejected", "skipped", "records")
        )


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, int | str) else str(value)


# --- a day of the feed --------------------------------------------------------------------------------------------

CHANGES: Final = sorted(DAY.glob("changes/*.json"))
STRAYS: Final = {"rejected": 1, "skipped": 2}
"""What the first snapshot holds that is no row: two markers and a record without a key."""
FIRST: Final = {"inserts": 1910, **STRAYS}
EDITS: Final = {"inserts": 17, "updates": 7}
BY_SNAPSHOTS: Final = {
    **EDITS,
    "soft_deletes": 15,
    "soft_deletes_flagged": 9,
    "soft_deletes_absent": 6,
    "unchanged": 1888,
}
BY_CHANGES: Final = {**EDITS, "soft_deletes": 9, "soft_deletes_flagged": 9}
AFTER_CHANGES: Final = {"soft_deletes": 6, "soft_deletes_absent": 6, "unchanged": 1921}


def _import(table: Table, *paths: Path, reading: str) -> dict[str, int]:
    request = Request(mode="file", paths=paths, reading=reading, apply=True, wants_report=False)  # type: ignore[arg-type]
    return reported(run_import(request, table.settings, table.uri))


def test_a_day_of_the_feed_by_snapshots_alone_and_with_the_changes_ends_in_the_same_rows(
    table: Table, another_table: Table
) -> None:
    first, last = DAY / "latest-0.json", DAY / "latest-1.json"
    assert _import(table, first, reading="snapshot") == FIRST
    assert _import(table, first, reading="snapshot") == {**STRAYS, "unchanged": FIRST["inserts"]}
    by_snapshots = _import(table, last, reading="snapshot")
    assert by_snapshots == BY_SNAPSHOTS

    assert _import(another_table, first, reading="snapshot") == FIRST
    assert _import(another_table, *CHANGES, reading="changes") == BY_CHANGES
    left = another_table.everything()["records"]
    again = _import(another_table, *CHANGES, reading="changes")
    assert set(again) <= {"unchanged", "superseded", "stale", "skipped"}
    assert another_table.everything()["records"] == left
    assert _import(another_table, last, reading="snapshot") == AFTER_CHANGES

    wanted = {int(record["id"]): record for record in _records(last) if not record["deleted_at"]}
    assert table.live() == another_table.live() == wanted
    ways = [{key: state_of(row) for key, row in each.rows().items()} for each in (table, another_table)]
    assert ways[0] == ways[1]


def test_the_changes_one_by_one_come_to_the_same_as_all_at_once(table: Table, another_table: Table) -> None:
    for each in (table, another_table):
        _import(each, DAY / "latest-0.json", reading="snapshot")
    for path in reversed(CHANGES):
        _import(table, path, reading="changes")
    _import(another_table, *CHANGES, reading="changes")
    assert table.live() == another_table.live()


def _records(path: Path) -> list[Row]:
    found: list[Row] = json.loads(path.read_bytes())["records"]
    return [record for record in found if record.get("id") is not None]
