"""Stories of several runs: tests/cases/<story>/story.toml says what arrives when, and what the table holds after it.

A step is a dry run, and then a run of the command line that applies.
`snapshot` or `changes` is the file's time, as hours and minutes since the 11th of June ("30:00" is the 12th, 06:00
UTC), or "now"; `files` are several change files read by one run. `records` are plain records with these fields,
change messages, or `as_is`. `others` are so many records that every snapshot holds and nobody touches. A file is
written when it was exported, unless `written` says otherwise; `says` are further fields of its metadata, and
`exported = false` leaves the time out. `by_hand` is what somebody does to the table. `rows` are states: live with
this amount, "deleted", "absent", "absent and deleted", or "none".
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from faults.program import Zygote, zygote
from table import EVERYTHING, Row, Table, fill

from fleetfuel.pipeline import Request, run
from fleetfuel.plan.limits import Overrides

CASES: Final = Path(__file__).parents[1] / "cases"
STORIES: Final = sorted(path.parent.name for path in CASES.glob("*/story.toml"))
DAY: Final = datetime(2026, 6, 11, tzinfo=UTC)
NUMBERS: Final = [f"--max-{what}={10**9}" for what in ("deletes", "rejects", "updates")]


@pytest.fixture(scope="module")
def forks() -> Iterator[Zygote]:
    with zygote() as started:
        yield started


@pytest.mark.parametrize("story", STORIES)
def test_a_story_goes_as_written(table: Table, forks: Zygote, story: str) -> None:
    reported = tomllib.loads((CASES / story / "story.toml").read_text(encoding="utf-8"))
    for number, step in enumerate(reported["steps"], 1):
        if "by_hand" in step:
            for statement in step["by_hand"].split("; "):
                table.write(statement)
        else:
            _read(table, forks, step, reported.get("others", 0), number)
        rows = table.rows()
        for key, wanted in step.get("rows", {}).items():
            assert _state(rows.get(int(key))) == wanted, f"step {number}, row {key}"


def _read(table: Table, forks: Zygote, step: Row, others: int, number: int) -> None:
    files = step.get("files", [step])
    reading = "snapshot" if "snapshot" in files[0] else "changes"
    paths = tuple(_written(table, each, others, f"{number:02}-{place}") for place, each in enumerate(files))
    words = ["import", "--json", "--no-report", "--as", reading, *(word for path in paths for word in ("--file", path))]
    words += ["--force-old-snapshot"] if step.get("forced") else [] if step.get("guarded") else NUMBERS
    words += ["--deep"] if step.get("deep") else []
    request = Request(
        mode="file",
        paths=paths,
        reading=reading,  # type: ignore[arg-type]
        overrides=Overrides(force_old_snapshot=True)
        if step.get("forced")
        else Overrides()
        if step.get("guarded")
        else EVERYTHING,
        wants_report=False,
        trusts_nothing=step.get("deep", False),
    )
    dry = run(request, table.settings, table.uri)
    program = forks.start(table.folder / f"run {number:02}", [*words, "--apply"], database=table.uri, steps=False)
    assert program.wait() == dry.exit_code == (3 if step.get("guards") else 0), (number, program.err)
    done = json.loads(program.out or program.err)
    assert dry.run["counts"] == done["counts"], f"step {number}"
    assert [guard["code"] for guard in done["guards"]] == step.get("guards", []), f"step {number}"
    counts = {name: rows for name, rows in done["counts"].items() if rows and name not in ("records", "warned")}
    assert counts == step.get("counts", counts), f"step {number}"
    for said in step.get("notices", []):
        assert any(said in remark for remark in done["remarks"]), (said, done["remarks"])


def _written(table: Table, file: Row, others: int, name: str) -> Path:
    kind = "snapshot" if "snapshot" in file else "changes"
    at = _time(file[kind])
    records = [_record(each) for each in file["records"]]
    if kind == "snapshot":
        records += [fill(key) for key in range(101, 101 + others)]
    metadata = ({"exported_at": at.isoformat()} if file.get("exported", True) else {}) | file.get("says", {})
    path: Path = table.folder / file.get("name", f"{name}.json")
    path.write_text(json.dumps({"metadata": metadata, "records": records}))
    moment = _time(file["written"]).timestamp() if "written" in file else at.timestamp()
    os.utime(path, (moment, moment))
    return path


def _record(said: Row) -> Row:
    if "as_is" in said:
        return dict(said["as_is"])
    if "op" in said:
        return {**said, "row": fill(**_keyed(said["row"]))} if "row" in said else said
    return fill(**_keyed(said)) if "id" in said else said


def _keyed(said: Row) -> Row:
    return {"key": said["id"], **{name: value for name, value in said.items() if name != "id"}}


def _time(said: str) -> datetime:
    if said == "now":
        return datetime.now(UTC)
    if "T" in said:
        return datetime.fromisoformat(said)
    hours, minutes, *seconds = map(int, said.split(":"))
    return DAY + timedelta(hours=hours, minutes=minutes, seconds=seconds[0] if seconds else 0)


def _state(row: Row | None) -> Any:
    if row is None:
        return "none"
    marks = [name for name, mark in (("absent", row["absent_since"]), ("deleted", row["deleted_at"])) if mark]
    return " and ".join(marks) or row["raw"]["amount"]
