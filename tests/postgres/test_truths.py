"""What is said of a run is so: of its files, its report, the deletions it made, also if it was cut short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from table import Table, at, envelope, fill, iso

from fleetfuel import errors
from fleetfuel.report.folder import read_report
from fleetfuel.report.history import read_history, render_history
from fleetfuel.report.runs import read_run
from fleetfuel.report.summary import as_object
from fleetfuel.report.text import render_summary
from fleetfuel.rules.book import load_rules
from fleetfuel.table.database import connect


def test_a_deletion_is_dated_by_the_snapshot_that_lacks_the_row(table: Table) -> None:
    table.snapshot([fill(1), fill(2), fill(3)], at(0))
    table.snapshot([fill(1), fill(3)], at(5))
    table.changes([fill(3, is_deleted=True)], at(6))
    with connect(table.uri) as database:
        gone, marked = (read_history(database, number, load_rules()) for number in (2, 3))
    event = gone["events"][-1]
    assert (event["action"], event["source_at"]) == ("soft-deleted: gone from the snapshot", iso(at(5)))
    assert "as of 2026-06-11 17:00:00Z" in render_history(gone, width=500)
    event = marked["events"][-1]
    assert (event["action"], event["source_at"]) == ("soft-deleted: marked deleted", iso(at(6)))


def statuses(folder: str) -> tuple[bool, bool, list[str]]:
    """Of a report: was it to be applied, is it, and what of its files."""
    said = json.loads((Path(folder) / "plan.json").read_text())
    return said["to_apply"], said["applied"], [file["status"] for file in said["files"]]


def test_files_are_planned_in_a_dry_run_and_applied_in_one_that_is(table: Table) -> None:
    content = envelope([fill(1), fill(2)], at(0))
    dry = table.load(content, apply=False, wants_report=True)
    assert statuses(dry.run["report"]) == (False, False, ["planned"])
    assert [file["status"] for file in dry.run["files"]] == ["planned"]
    done = table.load(content, wants_report=True)
    assert statuses(done.run["report"]) == (True, True, ["applied"])
    assert [file["status"] for file in done.run["files"]] == ["applied"]
    with connect(table.uri) as database:
        kept = read_run(database, done.run["run_id"])["summary"]
    assert (kept["applied"], [file["status"] for file in kept["files"]]) == (True, ["applied"])
    assert [row["status"] for row in table.query("select status from fuel.ingest_files")] == ["applied"]


def test_the_report_of_a_run_that_was_cut_short_does_not_say_that_it_was_a_dry_run(table: Table) -> None:
    table.write("create function fuel.no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$")
    table.write("create trigger no before insert on fuel.records for each row execute function fuel.no()")
    with pytest.raises(errors.FleetfuelError):
        table.load(envelope([fill(1)], at(0)), wants_report=True)
    [folder] = table.settings.reports.iterdir()
    assert statuses(str(folder)) == (True, False, ["planned"])
    summary = read_report(folder)
    text = render_summary(summary)
    assert "dry run" not in text
    assert "written before the load, which did not end" in text
    assert as_object(summary)["applied"] is False
