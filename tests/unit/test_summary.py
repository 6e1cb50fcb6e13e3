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


def test_what_the_ledger_keeps_reads_as_it_read() -> None:
    """jsonb puts keys in an order of its own."""
    counts = {"records": 9, "superseded": 1, "inserts": 3, "unchanged": 2, "updates": 3}
    rules = {"b": {"severity": "warn", "rows": 1}, "aa": {"severity": "warn", "rows": 7}}
    files = [
        {"key": f"changes/{hour}.json", "at": "2026-06-11T17:00:00Z", "status": "applied", "counts": counts}
        for hour in (1, 2)
    ]
    said = {"mode": "changes", "files": files, "columns": {"litres": 3, "car": 2}, "rules": rules, "warned": 8}
    kept = json.loads(json.dumps(said, sort_keys=True))
    assert render_summary(run(**kept)) == render_summary(run(**said))
    assert "1.json                          3 inserted, 3 updated, 2 unchanged, 1 superseded" in render_summary(
        run(**said)
    )


def files(**status: str) -> list[dict[str, Any]]:
    """Change files `h09="applied"`: of nine o'clock."""
    at = {name: f"2026-06-11T{name[1:]}:00:00Z" for name in status}
    return [{"key": f"{name}.json", "at": at[name], "status": status[name], "counts": {}} for name in status]


@pytest.mark.parametrize(
    ("before", "read", "said"),
    [
        ("08", {}, "no new change file; the watermark stays at 2026-06-11 08:00:00Z"),
        ("08", {"h09": "unread"}, "no new change file; the watermark stays at 2026-06-11 08:00:00Z"),
        ("08", {"h09": "empty"}, "watermark 2026-06-11 08:00:00Z → 2026-06-11 08:00:00Z"),
        ("08", {"h09": "planned", "h10": "applied"}, "watermark 2026-06-11 08:00:00Z → 2026-06-11 10:00:00Z"),
        ("08", {"h09": "applied", "h10": "quarantined"}, "watermark 2026-06-11 08:00:00Z → 2026-06-11 10:00:00Z"),
        (
            "08",
            {"h09": "quarantined"},
            "no change file that can be read; watermark 2026-06-11 08:00:00Z → 2026-06-11 09",
        ),
        ("10", {"h09": "applied"}, "watermark 2026-06-11 10:00:00Z → 2026-06-11 10:00:00Z"),
        # The run is of 17:05: a key may name any day.
        ("08", {"h23": "applied"}, "watermark 2026-06-11 08:00:00Z → 2026-06-11 17:05:02Z"),
        ("23", {"h09": "applied"}, "watermark 2026-06-11 23:00:00Z → 2026-06-11 09:00:00Z"),
    ],
)
def test_the_watermark_is_told_as_the_ledger_will_have_it(before: str, read: dict[str, str], said: str) -> None:
    at = f"2026-06-11T{before}:00:00Z"
    assert said in render_summary(run(mode="changes", files=files(**read), watermark_before=at))


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
    assert (old.format, old.checksum) == (1, None)
    assert "1,910" in render_summary(old)


def test_what_was_written_is_read_back() -> None:
    reported = run(inserts=1, remarks=["unknown field 'colour'"])
    assert summary.read_summary(summary.as_json(reported)) == reported
