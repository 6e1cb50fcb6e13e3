from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from fleetfuel.model.files import SourceFile
from fleetfuel.model.records import Verdict
from fleetfuel.records import envelope, judge, values
from fleetfuel.records.rows import TYPED, index_records, read_rows
from fleetfuel.rules.book import Rules, load_rules

RULES = load_rules()
GOOD = {
    "datetime": "2026-06-10-09-30",
    "car": "KCA 542Q",
    "driver": "Amani Mlima",
    "department": "LOGISTICS",
    "liters": 40,
    "amount": 7200,
    "type": "DIESEL",
    "odometer": 84210,
}


def read(*records: Mapping[str, object]) -> pl.DataFrame:
    content = json.dumps([{"id": number, **GOOD, **record} for number, record in enumerate(records)]).encode()
    now = datetime(2026, 6, 11, 12, tzinfo=UTC)
    file = SourceFile(key="k", etag="", size=0, modified_at=now, key_at=None, content=memoryview(content))
    cut = envelope.cut_file(file, values.EAST_AFRICA)
    return read_rows(index_records(cut, 0), [cut], RULES, values.EAST_AFRICA, 0).typed


def judged(*records: Mapping[str, object], rules: Rules = RULES) -> Verdict:
    return judge.validate_rows(read(*records), rules)


def with_severity(code: str, severity: str) -> Rules:
    checks = tuple(
        replace(check, severity=severity) if check.code == code else check  # type: ignore[arg-type]
        for check in RULES.checks
    )
    assert checks != RULES.checks
    return replace(RULES, checks=checks)


def test_a_good_record_is_accepted_without_a_word() -> None:
    verdict = judged({})
    assert verdict.accepted["warned"].to_list() == [False]
    assert (verdict.rejected.height, verdict.notices.height) == (0, 0)


@pytest.mark.parametrize(
    ("record", "rules"),
    [
        ({"car": ""}, ["car_missing"]),
        ({"liters": 0}, ["litres_not_positive"]),
        ({"liters": "45,5"}, ["litres_unreadable"]),
        ({"liters": 455}, ["price_too_low"]),
        ({"amount": 720_000}, ["amount_too_large", "price_too_high"]),
        ({"odometer": "broken"}, ["odometer_unreadable"]),
        ({"datetime": "1970-01-01-03-00"}, ["filled_at_unknown", "filled_at_too_old"]),
        ({"datetime": "2206-06-11-17-24"}, ["filled_at_in_future"]),
        ({"deleted_at": "gone"}, ["deleted_at_unreadable"]),
    ],
)
def test_a_warning_flags_the_record_and_loads_it(record: dict[str, object], rules: list[str]) -> None:
    verdict = judged(record, {})
    assert verdict.accepted.select("id", "warned").rows() == [(0, True), (1, False)]
    assert verdict.notices["rule"].to_list() == rules


def test_a_warning_changes_nothing_of_the_row() -> None:
    rows = read({"liters": 455})
    assert judge.validate_rows(rows, RULES).accepted.drop("warned").equals(rows)


def test_a_rejecting_rule_sets_the_record_aside_whole_and_once() -> None:
    rules = with_severity("amount_too_large", "reject")
    verdict = judged({"amount": 720_000}, {}, rules=rules)
    assert verdict.accepted["id"].to_list() == [1]
    assert verdict.rejected.select("id", "position", "rule").rows() == [(0, 0, "amount_too_large")]
    assert verdict.notices.select("rule", "severity").rows() == [
        ("amount_too_large", "reject"),
        ("price_too_high", "warn"),
    ]


def test_accepted_and_rejected_are_all_and_disjoint() -> None:
    rows = read(*({"amount": amount} for amount in (1, 720_000, "x", None, 7200)))
    verdict = judge.validate_rows(rows, with_severity("amount_too_large", "reject"))
    positions = [*verdict.accepted["position"], *verdict.rejected["position"]]
    assert sorted(positions) == rows["position"].to_list()


def test_the_order_of_rows_does_not_matter() -> None:
    rows = read({"car": ""}, {}, {"liters": -1}, {"odometer": 0})
    one, other = (judge.validate_rows(each, RULES).notices.sort("position", "rule") for each in (rows, rows[::-1]))
    assert one.equals(other)


def test_a_notice_shows_what_was_written_but_nothing_personal() -> None:
    [notice] = judged({"liters": "full tank"}).notices.to_dicts()
    assert (notice["field"], notice["value"]) == ("litres", "full tank")

    driver = {"name": "Amani Mlima", "phone": "0700 000 000"}
    [notice] = judged({"driver": driver}).notices.to_dicts()
    assert (notice["rule"], notice["field"]) == ("driver_not_text", "driver")
    assert not any(value in str(notice) for value in driver.values())
    judged_columns = {check.field for check in RULES.checks} & RULES.personal
    assert judged_columns == {"driver"}, "a check of another personal column needs its line above"


def test_a_delete_message_is_not_judged_as_a_fill() -> None:
    rows = read({}).with_columns(is_delete=True, litres=None, litres_text=None, car=None).cast(dict(TYPED.items()))
    assert judge.validate_rows(rows, RULES).notices.is_empty()


def test_no_rows_no_findings() -> None:
    verdict = judge.validate_rows(read({}).clear(), RULES)
    assert (verdict.accepted.height, verdict.notices.height) == (0, 0)
