from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetfuel.model.plan import Counts
from fleetfuel.report import summary
from fleetfuel.report.summary import Summary
from fleetfuel.report.text import render_summary

COUNTS = dict.fromkeys((field.name for field in dataclasses.fields(Counts)), 0)
RUN: dict[str, Any] = {
    "run_id": "20260611T170502Z-3f9a1c",
    "mode": "snapshot",
    "source": "s3://fuel/fuel_records/latest.json",
    "applied": False,
    "counts": {**COUNTS, "records": 1_913, "unchanged": 1_910, "skipped": 2},
    "columns": {},
    "rules": {},
    "guards": [],
    "report": "reports/20260611T170502Z-3f9a1c",
    "seconds": 0.5,
    "read_as": "snapshot",
    "started_at": "2026-06-11T17:05:02Z",
    "source_at": "2026-06-11T17:00:00Z",
    "live_before": 1_910,
    "refreshed": None,
    "samples": {},
    "remarks": [],
    "files": [],
    "watermark_before": None,
    "rules_digest": "d",
    "version": "0",
}


def run(**changes: Any) -> Summary:
    counts = {name: value for name, value in changes.items() if name in COUNTS}
    rest = {name: value for name, value in changes.items() if name not in COUNTS}
    return msgspec.convert({**copy.deepcopy(RUN), **rest, "counts": {**RUN["counts"], **counts}}, Summary)


def test_no_changes_is_said_outright() -> None:
    text = render_summary(run())
    assert "No changes." in text
    assert "dry run" in text
    assert "1,910" in text
    assert "2 markers" in text


@pytest.mark.parametrize("count", ["inserts", "updates", "soft_deletes", "restores"])
def test_any_change_of_a_row_is_a_change(count: str) -> None:
    assert run(**{count: 1}).has_changes
    assert "No changes." not in render_summary(run(**{count: 1}))


@pytest.mark.parametrize("count", ["unchanged", "stale", "superseded", "rejected", "warned", "skipped"])
def test_what_leaves_the_rows_alone_is_no_change(count: str) -> None:
    assert not run(**{count: 1}).has_changes


def test_soft_deletes_come_first_and_say_why() -> None:
    text = render_summary(run(soft_deletes=15, soft_deletes_absent=6, soft_deletes_flagged=9, inserts=17))
    assert text.index("soft deletes") < text.index("inserts")
    assert "6 gone from the snapshot, 9 marked deleted" in text


def test_a_changed_column_shows_its_count_and_a_sample_with_plate_and_day() -> None:
    sample = {"before": "4500", "after": "4050", "plate": "KCA542Q", "day": "2026-06-11"}
    text = render_summary(run(updates=7, columns={"amount_kes": 7}, samples={"amount_kes": [sample]}))
    assert "4,500 → 4,050, KCA542Q 2026-06-11" in text


@pytest.mark.parametrize(
    ("before", "shown"),
    [
        ("1" * 5000, "1" * 31 + "…"),
        ('"' + "long words " * 20 + '"', "long words long words long word…"),
        ('"' + "x" * 50 + '"', "x" * 31 + "…"),
        ('"4500"', '"4500"'),
        ("null", "null"),
        ('{"a": 1}', '{"a": 1}'),
    ],
)
def test_any_value_can_be_shown_in_a_line(before: str, shown: str) -> None:
    sample = {"before": before, "after": "1", "plate": "KCA542Q", "day": ""}
    text = render_summary(run(updates=1, columns={"amount_kes": 1}, samples={"amount_kes": [sample]}))
    assert shown in text
    assert max(map(len, text.splitlines())) < 200


def test_a_guard_says_what_was_seen_the_limit_and_the_option() -> None:
    guard = {
        "code": "max_deletes",
        "seen": "soft-deletes 300 of 1,910",
        "limit": "10%",
        "override": "--max-deletes 300",
    }
    text = render_summary(run(guards=[guard], soft_deletes=300))
    for said in ("REFUSED", "max_deletes", "soft-deletes 300", "10%", "--max-deletes 300"):
        assert said in text


def test_rejects_and_flags_are_reported_apart_by_rule() -> None:
    rules = {"car_missing": {"severity": "warn", "rows": 3}, "id_missing": {"severity": "reject", "rows": 1}}
    text = render_summary(run(rules=rules, rejected=1, warned=3))
    assert text.index("id_missing") < text.index("car_missing")


def test_the_report_and_the_next_command_close_the_summary() -> None:
    text = render_summary(run(inserts=1), next_command="fleetfuel import --snapshot --apply")
    assert text.endswith("fleetfuel import --snapshot --apply\n")
    assert "reports/20260611T170502Z-3f9a1c" in text


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_text_keeps_to_the_width(width: int) -> None:
    remarks = ["unknown field 'colour' in 1,910 records; " * 5]
    text = render_summary(run(remarks=remarks, inserts=1), width=width)
    assert max(map(len, text.splitlines())) <= width


def test_the_exported_schema_is_that_of_the_summary() -> None:
    exported = Path(summary.__file__).with_name("summary.schema.json").read_text(encoding="utf-8")
    assert json.loads(exported) == json.loads(json.dumps(summary.schema()))


def test_a_report_of_an_older_release_is_still_read() -> None:
    reported = {name: value for name, value in RUN.items() if name != "format"}
    old = summary.read_summary(json.dumps(reported))
    assert (old.format, old.checksum, old.is_later) == (1, None, False)
    assert "1,910" in render_summary(old)


def test_what_was_written_is_read_back() -> None:
    reported = run(inserts=1, remarks=["unknown field 'colour'"])
    assert summary.read_summary(summary.as_json(reported)) == reported
    assert summary.read_summary(json.dumps({**summary.as_object(reported), "format": summary.FORMAT + 1})).is_later
