"""Whatever is written and refreshed, in whatever order: an edited plate is found, and nothing else is taken for one.

Edited plates are looked for among readings that were remembered when their vehicles were refreshed
(`fuel.equal_readings`). The law compares every record with every other instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import event, given, note, settings
from hypothesis import strategies as st
from table import Row, at

from .quick import File, Quick, examples

IDS: Final = st.integers(1, 6)

RECORDS: Final = st.fixed_dictionaries(
    {
        "id": IDS,
        "car": st.sampled_from(["KCA 542Q", "KDA 717B", "KDB 200B"] * 4 + [None]),
        "datetime": st.sampled_from(["2026-03-02-09-00"] * 5 + [None]),
        "odometer": st.sampled_from([1000] * 14 + [2000, None]),
        "liters": st.sampled_from([20] * 14 + [40]),
        "amount": st.just(3320),
        "driver": st.sampled_from(["Asha"] * 10 + ["asha ", "Baraka"]),
        "created_at": st.sampled_from([f"2026-03-02 12:{minute}:00" for minute in ("00", "15", "25") * 5] + [None]),
    }
)  # fmt: skip
"""Mostly one and the same fill, so that most examples have edited plates."""

STEPS: Final = st.one_of(
    st.lists(RECORDS, min_size=1, max_size=2, unique_by=lambda record: record["id"]),
    st.builds(lambda key, record: f"update fuel.records set raw = '{json.dumps(record)}' where id = {key}",
        IDS, RECORDS),
    st.builds(lambda key, plate: f"update fuel.records set raw = raw || '{{\"car\": \"{plate}\"}}' where id = {key}",
        IDS, st.sampled_from(["KCA 542Q", "KDA 717B", "KDB 200B"])),
    st.builds(lambda key: f"delete from fuel.records where id = {key}", IDS),
    st.builds(lambda key, column, value: f"update fuel.records set {column} = {value} where id = {key}",
        IDS, st.sampled_from(["deleted_at", "absent_since"]), st.sampled_from(["now()", "null"])),
    st.builds(lambda key: f"update fuel.records set id = {key + 6} where id = {key}"
        f" and not exists (select from fuel.records where id = {key + 6})", IDS),
    st.builds(lambda minutes: f"update fuel.check_limit set value = {minutes} where {MINUTES}",
        st.sampled_from([12, 20])),
    st.sampled_from(["truncate fuel.records", "select fuel.mark_every_vehicle()"]),
)  # fmt: skip
BUDGETS: Final = st.sampled_from([None, 1, 1, 2, 1000])
"""Fills that are refreshed after a step; mostly one vehicle, so that vehicles that make a pair are refreshed apart."""

MINUTES: Final = "code = 'duplicate_fill' and name = 'minutes'"

SHOWN: Final = "select id, other_id from reporting.v_fuel_anomalies where code = 'edited_plate' order by id"
MARKED: Final = "select id from reporting.v_fuel_fills where 'edited_plate' = any (finding_codes) order by id"
COMPARED: Final = f"""
select a.id, min(b.id) as other_id
from fuel.records as a
cross join fuel.records as b
cross join (select value * interval '1 minute' as within from fuel.check_limit where {MINUTES}) as l
where a.deleted_at is null and a.absent_since is null and b.deleted_at is null and b.absent_since is null
and a.vehicle <> b.vehicle and a.odometer_km = b.odometer_km and a.litres = b.litres and a.amount_kes = b.amount_kes
and fuel.clean_driver(a.driver) = fuel.clean_driver(b.driver)
and fuel.is_usable_report(a.source_created_at, a.source_at) and fuel.is_usable_report(b.source_created_at, b.source_at)
and greatest(a.source_created_at, b.source_created_at) - least(a.source_created_at, b.source_created_at) <= l.within
group by a.id
order by a.id
"""


@pytest.fixture(scope="module", autouse=True)
def _limit_as_it_was(quick: Quick) -> Iterator[None]:
    """The other laws use the same database."""
    yield
    quick.reset()
    quick.edit(f"update fuel.check_limit set value = 20 where {MINUTES}")


@settings(max_examples=examples(25))
@given(
    first=st.lists(RECORDS, min_size=2, max_size=4, unique_by=lambda record: record["id"]),
    steps=st.lists(st.tuples(STEPS, BUDGETS), min_size=3, max_size=8),
)
def test_edited_plates_are_those_that_comparing_all_records_finds(
    quick: Quick, first: list[Row], steps: list[tuple[Any, int | None]]
) -> None:
    quick.reset()
    quick.edit(f"update fuel.check_limit set value = 20 where {MINUTES}")
    for hour, (step, budget) in enumerate([(first, 1000), *steps]):
        note(f"{step}, then refresh {budget}")
        if isinstance(step, str):
            quick.edit(step)
        else:
            content = {"metadata": {"exported_at": at(hour).isoformat()}, "records": step}
            quick.apply([File(at=at(hour), content=json.dumps(content).encode())], "changes")
        check(quick)
        if budget is not None:
            quick.edit(f"select fuel.refresh_fill_facts({budget})")
            check(quick)


def check(quick: Quick) -> None:
    compared = quick.ask_again(COMPARED)
    event(f"edited plates: {min(len(compared), 4)}")
    assert quick.ask_again(SHOWN) == compared
    assert [row["id"] for row in quick.ask_again(MARKED)] == [row["id"] for row in compared]
