"""What an export says of itself, through the command line: counts, times, "truncated" and so on, wherever they stand.

A count that differs is refused and nothing is deleted; one that cannot be read is noticed.
"""

from __future__ import annotations

import json

import pytest
from table import Row, Table, at, envelope, fill, iso

from .test_exit_codes import run, written

FORTY = [fill(key) for key in range(1, 41)]
SHORT = FORTY[:39]


def export(records: list[Row], metadata: Row | None = None, **around: object) -> bytes:
    """An export of an hour later; by default with nothing next to its list but metadata."""
    return json.dumps(
        {"metadata": {"exported_at": iso(at(1)), **(metadata or {})}, "records": records} | around
    ).encode()


REFUSED = {
    "the total differs from the count": export(SHORT, {"record_count": 39, "total": 40}),
    "the count differs from the total": export(SHORT, {"record_count": 40, "total": 39}),
    "a count with a comma": export(SHORT, {"record_count": "1,040"}),
    "a count with a point": export(SHORT, {"total": 40.0}),
    "a count next to the list": export(SHORT, count=40),
    "a count next to the list, another in the metadata": export(SHORT, {"record_count": 39}, total="40"),
}
READ_AS_A_PART = {
    "truncated": export(SHORT, {"truncated": True}),
    "truncated, next to the list": export(SHORT, truncated=True),
    "more follows": export(SHORT, has_more=True),
    "a page": export(SHORT, {"record_count": 39, "page": "1 of 2"}),
    "a status": export(SHORT, status="partial"),
    "truncated, and a record broken": export(SHORT, truncated=True).replace(b'"liters": 40,', b'"liters": NaN,', 1),
}
NOTICED = {
    "a count below zero": export(FORTY, {"record_count": -1}),
    "a count in words": export(FORTY, {"record_count": "forty"}),
    "a count that is a half": export(FORTY, total=40.5),
}


@pytest.fixture
def forty(table: Table) -> Table:
    """A table that holds forty rows."""
    table.load(envelope(FORTY, at(0)))
    return table


@pytest.mark.parametrize("case", REFUSED)
def test_a_count_that_differs_is_refused_wherever_it_stands(case: str, forty: Table) -> None:
    feed = written(forty, REFUSED[case])
    done = run("import", "--file", feed, "--as", "snapshot", "--apply", "--json", folder=forty.folder, url=forty.uri)
    assert (done.returncode, len(forty.live())) == (3, 40), done.stderr
    [guard] = json.loads(done.stdout)["guards"]
    announced = "1,040" if "comma" in case else "40"
    assert guard["code"] == "count_mismatch"
    assert guard["seen"] == f"the export announces {announced}, the file holds 39 records"


@pytest.mark.parametrize("case", READ_AS_A_PART)
def test_an_export_that_says_it_is_a_part_deletes_nothing(case: str, forty: Table) -> None:
    feed = written(forty, READ_AS_A_PART[case])
    done = run("import", "--file", feed, "--as", "snapshot", "--apply", "--json", folder=forty.folder, url=forty.uri)
    assert (done.returncode, len(forty.live())) == (0, 40), done.stderr
    said = json.loads(done.stdout)
    assert said["counts"]["soft_deletes"] == 0
    assert any("is not complete" in remark for remark in said["remarks"])
    assert forty.query("select watermark from fuel.ingest_state where feed = 'snapshot'") == [{"watermark": at(0)}]


@pytest.mark.parametrize("case", NOTICED)
def test_a_count_that_cannot_be_read_is_noticed(case: str, forty: Table) -> None:
    feed = written(forty, NOTICED[case])
    done = run("import", "--file", feed, "--as", "snapshot", "--no-report", folder=forty.folder, url=forty.uri)
    assert done.returncode == 0, done.stderr
    assert "that is no number of records" in done.stdout


def test_a_time_of_export_next_to_the_list_moves_the_mark_and_makes_an_old_export_one(forty: Table) -> None:
    words = ("import", "--as", "snapshot", "--apply", "--json", "--file")
    body = json.dumps({"exported_at": iso(at(2)), "records": FORTY}).encode()
    assert run(*words, written(forty, body), folder=forty.folder, url=forty.uri).returncode == 0
    assert forty.query("select watermark from fuel.ingest_state where feed = 'snapshot'") == [{"watermark": at(2)}]
    body = json.dumps({"records": SHORT, "generated_at": iso(at(1))}).encode()
    refused = run(*words, written(forty, body), folder=forty.folder, url=forty.uri)
    assert (refused.returncode, [guard["code"] for guard in json.loads(refused.stdout)["guards"]]) == (
        3,
        ["old_snapshot"],
    )
    assert len(forty.live()) == 40
