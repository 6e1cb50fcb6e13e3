"""Whatever is loaded, edited, ruled and refreshed, and in whatever order: the views say what the formula says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from table import Row, at

from .quick import File, Quick, examples

IDS: Final = st.integers(1, 6)

RULES: Final = (
    ("check_limit", "value", "code = 'efficiency' and name = 'max_span_km'", 3000, 150),
    ("check_limit", "value", "code = 'efficiency' and name = 'rolling_spans'", 10, 1),
    ("check_limit", "value", "code = 'efficiency_outlier' and name = 'min_spans'", 5, 1),
    ("check_limit", "value", "code = 'too_frequent'", 12, 1),
    ("check_limit", "value", "code = 'efficiency' and name = 'stop_minutes'", 20, 600),
    ("vehicle_class", "plate_pattern", "plate_pattern is not null", r"'^KM[A-Z]{2}[0-9]{3}[A-Z]?$'", "'.'"),
    ("pump_prices", "price_per_litre_kes", "fuel_type = 'DIESEL' and valid_from = '2026-02-15'", 166.54, 50),
)
"""Table, column, which rows, what the rules say, something else."""

RECORDS: Final = st.fixed_dictionaries(
    {
        "id": IDS,
        "car": st.sampled_from(["KCA 542Q", "KCA542Q", "KMEA 303C", "GENSET", None]),
        "datetime": st.sampled_from(
            [f"2026-03-0{day}-{hour:02}-00" for day in (1, 2) for hour in (3, 8, 9)] + [None, "2199-01-01-08-00"]
        ),
        "odometer": st.sampled_from([1000, 1100, 1200, 1300, 1000, 9000, 3_000_000, None]),
        "liters": st.sampled_from([10, 20, 20, 40, 0, None]),
        "amount": st.sampled_from([1660, 3320, 3320, 166, None]),
        "type": st.sampled_from(["DIESEL", "DIESEL", "PETROL", "?", "ADBLUE"]),
        "driver": st.sampled_from(["Asha", "asha ", "Baraka"]),
        "created_at": st.sampled_from(["2026-03-02 12:00:00", "2026-03-02 12:10:00", "2026-03-02 13:00:00", None]),
    }
)
LOADS: Final = st.tuples(
    st.sampled_from(["snapshot", "changes"]), st.lists(RECORDS, max_size=6, unique_by=lambda record: record["id"])
)
EDITS: Final = st.one_of(
    st.builds(
        lambda key, record: f"update fuel.records set raw = '{json.dumps(record)}' where id = {key}", IDS, RECORDS
    ),
    st.builds(lambda key: f"delete from fuel.records where id = {key}", IDS),
    st.builds(
        lambda key, new: (
            f"update fuel.records set id = {new} where id = {key}"
            f" and not exists (select from fuel.records where id = {new})"
        ),
        IDS,
        st.integers(7, 9),
    ),
    st.builds(
        lambda key, record: (
            f"insert into fuel.records (id, raw) values ({key}, '{json.dumps(record)}') on conflict (id) do nothing"
        ),
        IDS,
        RECORDS,
    ),
    st.builds(
        lambda key, column, value: f"update fuel.records set {column} = {value} where id = {key}",
        IDS,
        st.sampled_from(["deleted_at", "absent_since"]),
        st.sampled_from(["now()", "null"]),
    ),
    st.sampled_from(
        [
            "truncate fuel.records",
            "update fuel.records set raw = raw || '{\"driver\": \"Chui\"}'",
            "begin; delete from fuel.records; rollback",
            ("begin; savepoint s; delete from fuel.records; rollback to s;"
            " delete from fuel.records where id > 10; update fuel.records set id = id + 10; commit"),
            "select fuel.rederive()",
            "select fuel.mark_every_vehicle()",
        ]
    ),
    st.builds(
        lambda rule, is_usual: (
            f"update fuel.{rule[0]} set {rule[1]} = {rule[3] if is_usual else rule[4]} where {rule[2]}"
        ),
        st.sampled_from(RULES),
        st.booleans(),
    ),
)  # fmt: skip
BUDGETS: Final = st.sampled_from([None, 1, 4, 1000, 1000, 1000])
"""Fills that are refreshed after a step; mostly all, as a step is to find facts stored."""

VIEWS: Final = (
    *(
        "reporting.v_fuel_fills",
        "reporting.v_fuel_efficiency",
        "reporting.v_fuel_anomalies",
        "reporting.v_fuel_monthly",
    ),
    "fuel.current_fill_facts",
)


SAID: Final = " union all ".join(f"select '{view}' as view, v::text as line from {view} as v" for view in VIEWS)


def said(quick: Quick) -> list[tuple[str, str]]:
    return sorted((row["view"], row["line"]) for row in quick.ask_again(SAID))


def set_usual_rules(quick: Quick) -> None:
    for table, column, where, usual, _ in RULES:
        quick.edit(f"update fuel.{table} set {column} = {usual} where {where}")


@pytest.fixture(scope="module", autouse=True)
def _rules_as_they_were(quick: Quick) -> Iterator[None]:
    """The other laws use the same database."""
    yield
    quick.reset()
    set_usual_rules(quick)


@settings(max_examples=examples(12))
@given(
    first=st.lists(RECORDS, min_size=3, max_size=6, unique_by=lambda record: record["id"]),
    steps=st.lists(st.tuples(st.one_of(LOADS, EDITS), BUDGETS), min_size=3, max_size=8),
)
def test_the_views_say_what_the_formula_says(
    quick: Quick, first: list[Row], steps: list[tuple[Any, int | None]]
) -> None:
    quick.reset()
    set_usual_rules(quick)
    for hour, (step, budget) in enumerate([(("snapshot", first), 1000), *steps]):
        note(f"{step}, then refresh {budget}")
        if isinstance(step, str):
            quick.edit(step)
        else:
            reading, records = step
            content = {"metadata": {"exported_at": at(hour).isoformat()}, "records": records}
            quick.apply([File(at=at(hour), content=json.dumps(content).encode())], reading)
        check(quick)
        if budget is not None:
            quick.edit(f"select fuel.refresh_fill_facts({budget})")
            check(quick)


def check(quick: Quick) -> None:
    """The views as they are, and as they are if nothing stored is used."""
    now = said(quick)
    quick.edit("begin; select fuel.mark_every_vehicle()")
    computed = said(quick)
    quick.edit("rollback")
    assert now == computed
