"""The report's folder: complete, readable by everybody, there before anything is loaded, never overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from table import EVERYTHING, NOON, Table, at, envelope, fill

from fleetfuel import errors
from fleetfuel.course import reports
from fleetfuel.pipeline import Outcome, Request
from fleetfuel.pipeline import run as run_import
from fleetfuel.report import evidence


@pytest.fixture(params=["first", "meanwhile"], autouse=True)
def writes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the report is written before the rows, or meanwhile, as a long one is."""
    if request.param == "meanwhile":
        monkeypatch.setattr(reports, "LONG_REPORT", 0)


def load(table: Table, content: bytes, folder: Path | None = None, *, apply: bool = True) -> Outcome:
    path = table.folder / "incoming.json"
    path.write_bytes(content)
    request = Request(mode="file", paths=(path,), reading="snapshot", apply=apply, report=folder, overrides=EVERYTHING)
    return run_import(request, table.settings, table.uri)


def test_the_report_tells_every_row_that_changed_with_what_was_and_what_is(table: Table) -> None:
    table.snapshot([fill(1), fill(2), fill(3)], at(0))
    edited = fill(1, amount=6800)
    stray = fill(None, car="KXX 000X")
    outcome = load(table, envelope([edited, fill(3), fill(4), stray], at(1)))
    folder = Path(outcome.run["report"])

    changes = pl.read_parquet(folder / "changes.parquet").sort("id")
    assert changes.select("id", "action", "changed").rows() == [
        (1, "update", ["amount"]),
        (2, "soft_delete_absent", ["absent_since"]),
        (4, "insert", None),
    ]
    before, after = changes["before"].to_list(), changes["after"].to_list()
    assert (json.loads(before[0]), json.loads(after[0])) == (fill(1), edited)
    assert (json.loads(before[1]), after[1], before[2]) == (fill(2), None, None)
    assert changes["position"].to_list() == [0, None, 2]

    rejects = pl.read_parquet(folder / "rejects.parquet")
    assert rejects.select("position", "rule").rows() == [(3, "id_missing")]
    assert json.loads(rejects["content"][0]) == stray
    assert json.loads((folder / "plan.json").read_text()) == outcome.run
    assert evidence.read_report(folder) == outcome.summary


def test_each_file_says_which_run_and_source_it_is_of_and_duckdb_reads_it(table: Table) -> None:
    outcome = load(table, envelope([fill(1, liters="full tank")], NOON))
    folder = Path(outcome.run["report"])
    for name, rows in (("changes", 1), ("rejects", 0), ("notices", 1)):
        path = folder / f"{name}.parquet"
        about = pq.read_metadata(path).metadata
        assert about[b"run_id"].decode() == outcome.run["run_id"]
        assert about[b"source"].decode() == outcome.run["source"]
        assert duckdb.connect().execute(f"select count(*) from '{path}'").fetchall() == [(rows,)]


def test_a_dry_run_always_leaves_a_report_an_applied_one_only_with_something_to_tell(table: Table) -> None:
    assert load(table, envelope([fill(1)], NOON)).run["report"]
    assert load(table, envelope([fill(1)], NOON)).run["report"] is None
    dry = load(table, envelope([fill(1)], NOON), apply=False)
    assert pl.read_parquet(Path(dry.run["report"]) / "changes.parquet").is_empty()


def test_evidence_is_not_overwritten(table: Table) -> None:
    folder = table.folder / "mine"
    load(table, envelope([fill(1)], at(0)), folder)
    kept = (folder / "plan.json").read_bytes()
    with pytest.raises(errors.ReportUnwritable, match="is not overwritten"):
        load(table, envelope([fill(1), fill(2)], at(1)), folder)
    assert (folder / "plan.json").read_bytes() == kept
    assert list(table.live()) == [1]


def test_where_the_report_cannot_be_written_nothing_is_loaded(table: Table) -> None:
    (table.folder / "a file").write_text("")
    with pytest.raises(errors.ReportUnwritable):
        load(table, envelope([fill(1)], NOON), table.folder / "a file" / "report")
    assert table.rows() == {}
    assert table.query("select count(*) as runs from fuel.ingest_runs") == [{"runs": 0}]


def test_a_folder_that_holds_no_report_is_said_to_hold_none(tmp_path: Path) -> None:
    with pytest.raises(errors.SourceNotFound):
        evidence.read_report(tmp_path)
    for broken in ("{", "[]", "{}", '{"run_id": 1}'):
        (tmp_path / "plan.json").write_text(broken)
        with pytest.raises(errors.BadInput):
            evidence.read_report(tmp_path)
