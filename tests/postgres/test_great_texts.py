"""What is too great to be meant is stored as it came, read as nothing, flagged, and costs nobody anything later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from table import NOON, Table, envelope, fill

from fleetfuel.pipeline import Outcome
from fleetfuel.report import html, rows
from fleetfuel.report.history import read_history, render_history
from fleetfuel.report.rejects import read_rejects
from fleetfuel.report.saved import read_saved
from fleetfuel.rules.book import load_rules
from fleetfuel.table.database import connect

ALIASES = ("liters", "litres", "amount", "odometer", "car", "plate", "driver", "department", "type", "datetime")


def load(table: Table, records: list[str], *, metadata: str = "{}") -> Outcome:
    content = f'{{"metadata":{metadata},"records":[{",".join(records)}]}}'
    return table.load(content.encode(), reading="snapshot", wants_report=True)


@pytest.mark.parametrize("number", ["1e131000", "-1e131000", "1e-16000", "9" * 41, f"0.{'0' * 300}1", "1e41"])
def test_a_number_beyond_forty_digits_is_not_read_and_flagged(table: Table, number: str) -> None:
    record = f'{{"id":1,"car":"KCA 542Q","datetime":"2026-06-10-09-30","liters":{number},"amount":{number}}}'
    outcome = load(table, [record])
    counts = outcome.run["counts"]
    assert (counts["inserts"], counts["rejected"], counts["warned"]) == (1, 0, 1)
    assert {"litres_unreadable", "amount_unreadable"} <= outcome.run["rules"].keys()
    assert len(json.dumps(outcome.run)) < 10_000
    (row,) = table.query("select litres::text as litres, amount_kes::text as amount_kes, plate from fuel.records")
    assert row == {"litres": None, "amount_kes": None, "plate": "KCA542Q"}
    again = load(table, [record])
    assert (again.run["counts"]["unchanged"], again.run["counts"]["updates"]) == (1, 0)


def test_numbers_that_would_take_megabytes_written_out_are_rejected(table: Table) -> None:
    great = ",".join(f'"{alias}":1e131000' for alias in ALIASES)
    outcome = load(table, [f'{{"id":{number},{great}}}' for number in range(1, 21)])
    assert outcome.run["counts"]["rejected"] == 20
    assert set(outcome.run["rules"]) == {"number_out_of_range"}
    assert sum(len(row["raw"]) for row in table.query("select raw::text as raw from fuel.records")) == 0


def test_a_long_text_is_kept_whole_in_raw_and_cut_where_it_is_read(table: Table) -> None:
    table.snapshot([fill(1, driver="d" * 5_000, department="x " * 5_000, car="KCA 542Q " * 5_000)])
    row = table.row(1)
    assert len(row["raw"]["driver"]) == 5_000
    assert (len(row["driver"]), row["plate"]) == (2_000, "KCA542Q")
    assert len(row["department"]) < 2_001


def test_unknown_fields_without_number_or_length_do_not_swell_the_ledger(table: Table) -> None:
    fields = ",".join(f'"field {number}":1' for number in range(20_000))
    outcome = load(table, [f'{{"id":1,{fields}}}', f'{{"id":2,"{"y" * 2_000_000}":1}}'])
    assert outcome.error is None
    (line,) = table.query("select octet_length(r::text) as bytes, message from fuel.ingest_runs as r")
    assert line["bytes"] < 40_000
    assert any("more unknown fields" in remark for remark in outcome.run["remarks"])


def test_metadata_without_end_is_not_kept(table: Table) -> None:
    load(table, ['{"id":1}'], metadata=json.dumps({"exported_at": "2026-06-11T12:00:00Z", "note": "n" * 3_000_000}))
    (line,) = table.query(
        "select octet_length(r::text) as bytes, metadata::text as metadata from fuel.ingest_runs as r"
    )
    assert line["bytes"] < 20_000
    assert "characters, not kept" in line["metadata"]


def test_the_same_text_rejected_in_file_after_file_is_one_reject(table: Table) -> None:
    for hour in range(3):
        table.load(envelope(["no record"], NOON), reading="changes", name=f"change {hour}.json")
    (row,) = table.query("select times_seen, source_key from fuel.rejects")
    assert row["times_seen"] == 3
    assert row["source_key"].endswith("change 2.json")


@pytest.mark.parametrize(("opened", "closed", "times"), [
    ("[", "]", 3_000), ("[", "]", 600), ('{"row": ', "}", 3_000), ('{"row": ', "}", 501), ('{"row": ', "}", 900),
])  # fmt: skip
def test_brackets_without_end_in_raw_or_in_a_reject_stop_nobody(
    table: Table, opened: str, closed: str, times: int
) -> None:
    """More than Python reads by calling itself, or nearly: a row edited so by hand heals, a reject can be listed."""
    table.snapshot([fill(1), fill(2), fill(3)], NOON)
    deep = opened * times + "1" + closed * times
    table.write(f"update fuel.records set raw = raw || jsonb_build_object('x', '{deep}'::jsonb) where id in (1, 3)")
    outcome = load(table, [json.dumps(fill(1)), f'{{"id":2,"x":{deep}}}'])
    counts = outcome.run["counts"]
    assert {name: counts[name] for name in ("updates", "rejected", "soft_deletes")} == {
        "updates": 1,
        "rejected": 1,
        "soft_deletes": 1,
    }
    (row,) = table.query("select raw::text as raw from fuel.records where id = 1")
    assert json.loads(row["raw"]) == fill(1)
    rules = load_rules()
    with connect(table.uri) as database:
        for number in (1, 3):
            history = read_history(database, number, rules)
            assert [event["action"] for event in history["events"]][:2] == ["inserted", "edited by hand"]
            assert render_history(history, width=100)
        [reject], _ = read_rejects(database, rules)
    assert reject["rule"] == "nested_too_deep"
    assert reject["shown"] in {None, '{"id": 2}'}  # what one Python cannot read, the next can
    report = read_saved(Path(outcome.run["report"]), rules, rules.zone)
    for lines in (rows.json_lines, rows.csv_lines):
        assert [*lines(report, rules, group=None, limit=None, personal=True)]
    assert html.render_page(report, rules, personal=True)
