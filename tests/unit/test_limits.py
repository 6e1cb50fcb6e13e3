from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fleetfuel.model.files import Reading, SourceFile
from fleetfuel.model.plan import Counts, Guard
from fleetfuel.model.records import Cut
from fleetfuel.plan.limits import Allowance, Overrides, Totals, check_limits
from fleetfuel.records.texts import records_of
from fleetfuel.rules.book import load_rules

RULES = load_rules()
NOON = datetime(2026, 6, 11, 12, tzinfo=UTC)


def cut(held: int, declared: int | None = None, hours: float = 0) -> Cut:
    content = memoryview(b"[" + b",".join([b"{}"] * held) + b"]")
    file = SourceFile(key="k", etag="", size=0, modified_at=NOON, key_at=None, content=content)
    return Cut(
        file=file,
        file_at=NOON + timedelta(hours=hours),
        claims=(),
        metadata="null",
        declared=() if declared is None else (declared,),
        records=records_of([b"{}"] * held, 0),
        is_recovered=False,
    )


def guards(
    *,
    reading: Reading = "snapshot",
    live: int = 100,
    overrides: Overrides = Overrides(),  # noqa: B008
    held: Cut | None = None,
    mark: datetime | None = None,
    stops: tuple[tuple[str, int], ...] = (),
    lost: tuple[tuple[str, float], ...] = (),
    records: int = 100,
    soft_deletes: int = 0,
    updates: int = 0,
    rejected: int = 0,
) -> dict[str, Guard]:
    totals = Totals(
        reading=reading,
        cuts=(held or cut(100),),
        counts=Counts(records=records, soft_deletes=soft_deletes, updates=updates, rejected=rejected),
        live_before=live,
        mark=mark,
        stops=stops,
        lost_columns=lost,
    )
    return {guard.code: guard for guard in check_limits(totals, RULES, overrides)}


def rows(number: float) -> Allowance:
    return Allowance(number=number, is_share=False)


def share(number: float) -> Allowance:
    return Allowance(number=number, is_share=True)


def test_an_ordinary_run_trips_nothing() -> None:
    assert guards(soft_deletes=3, updates=20, rejected=5) == {}


def test_a_share_trips_one_row_above_its_limit_and_names_the_option() -> None:
    assert guards(soft_deletes=10, rejected=20, updates=50) == {}
    tripped = guards(soft_deletes=11, rejected=21, updates=51)
    assert {code: guard.override for code, guard in tripped.items()} == {
        "max_deletes": "--max-deletes 11",
        "max_rejects": "--max-rejects 21",
        "max_updates": "--max-updates 51",
    }
    assert tripped["max_deletes"].seen == "soft-deletes 11 of 100 live rows (11.0%)"


@pytest.mark.parametrize(("live", "trips"), [(9, False), (10, True)])
def test_small_tables_are_exempt(live: int, trips: bool) -> None:
    assert ("max_deletes" in guards(live=live, soft_deletes=9)) == trips


@pytest.mark.parametrize(
    ("allowance", "trips"),
    [(rows(30), False), (rows(29), True), (share(30), False), (share(29.9), True), (rows(0), True)],
)
def test_an_override_allows_what_it_says_and_no_more(allowance: Allowance, trips: bool) -> None:
    assert ("max_deletes" in guards(soft_deletes=30, overrides=Overrides(max_deletes=allowance))) == trips


@pytest.mark.parametrize("percent", range(1, 101))
def test_a_percentage_of_a_hundred_rows_is_its_number(percent: int) -> None:
    assert share(percent).rows(100) == percent


def test_a_share_is_told_of_rows_that_are_all_among_those_it_is_of() -> None:
    """Rows that are deleted, and stay so, can be updated: 203 of 200 live rows would be 101.5 %."""
    assert guards(live=200, updates=200)["max_updates"].seen == "updates 200 of 200 live rows (100.0%)"
    assert guards(live=200, updates=203)["max_updates"].seen == "updates 203, and there are 200 live rows"


def test_an_override_may_be_stricter_than_the_rules() -> None:
    assert "max_deletes" in guards(soft_deletes=1, overrides=Overrides(max_deletes=rows(0)))


def test_an_empty_snapshot_trips_unless_all_rows_may_go() -> None:
    assert "empty_snapshot" in guards(records=0, held=cut(0))
    assert "empty_snapshot" in guards(records=0, held=cut(0), overrides=Overrides(max_deletes=rows(99)))
    assert guards(records=0, held=cut(0), soft_deletes=100, overrides=Overrides(max_deletes=rows(100))) == {}
    assert guards(records=0, held=cut(0), reading="changes") == {}


def test_a_snapshot_of_rejected_records_alone_is_as_good_as_empty() -> None:
    assert "empty_snapshot" in guards(records=5, rejected=5, held=cut(5))


@pytest.mark.parametrize(("declared", "trips"), [(None, False), (100, False), (99, True), (101, True)])
def test_a_count_that_differs_from_the_metadata_trips_a_snapshot(declared: int | None, trips: bool) -> None:
    assert ("count_mismatch" in guards(held=cut(100, declared))) == trips
    assert guards(held=cut(100, declared), reading="changes") == {}


@pytest.mark.parametrize(("hours", "trips"), [(-1, True), (0, False), (1, False)])
def test_a_snapshot_older_than_the_last_one_trips(hours: float, trips: bool) -> None:
    assert ("old_snapshot" in guards(held=cut(100, hours=hours), mark=NOON)) == trips
    assert guards(held=cut(100, hours=hours), mark=NOON, overrides=Overrides(force_old_snapshot=True)) == {}


def test_a_stopping_rule_and_a_lost_column_trip() -> None:
    assert guards(stops=(("car_missing", 1),))["car_missing"].seen == "1 record breaks the rule car_missing"
    assert guards(lost=(("litres", 0.99),))["lost_column"].seen.startswith("no new record has litres, 99%")
