"""reporting.v_fuel_anomalies: one row per live fill and check, switched and measured by rules/, in plain words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from .conftest import Session

pytestmark = pytest.mark.usefixtures("facts")

# Diesel was capped at 166.54 in this cycle: 15 % less is 141.56, 15 % more 191.52.
CAP = "141.56 to 191.52"

MONTH = [
    (3, "odometer_jump", "warn", "508000", "between 50400 and 51200"),
    (5, "odometer_missing", "info", None, "a reading"),
    (9, "odometer_rollback", "warn", "5290", "between 52400 and 53300"),
    (12, "missing_litres", "warn", None, "litres"),
    (14, "odometer_rollback", "warn", "120", "more than 80720"),
    (16, "odometer_unchanged", "info", "480", "more than 480"),
    (17, "odometer_jump", "warn", "4900", "at most 3480"),  # 480 + 3,000, the longest span
    (22, "implausible", "warn", "4", "15 to 80"),  # 320 km on 80 l
    (22, "litres_implausible", "warn", "80", "1 to 13"),  # a motorcycle; of the car's 10 to 50 litres none is odd
    (31, "duplicate_fill", "warn", "30", "one record for each fill"),
    (32, "driver_changed", "info", "Baraka Jua", "Asha Mto"),
    (32, "too_frequent", "info", "8.9 hours", "12 hours or more"),  # 09:05 to 18:00; 31 is of the same stop as 30
    (33, "fuel_type_changed", "warn", "PETROL", "DIESEL"),
    # V-Power is a petrol, too; at 220 it is dearer than the cap, as V-Power is. 35 is back to diesel: nothing odd.
    (34, "fuel_type_changed", "warn", "V-POWER", "DIESEL"),
    (35, "price_out_of_range", "warn", "199.85", CAP),  # 20 % above the cap
    (36, "price_out_of_range", "warn", "4.15", CAP),  # 166 / 40
    (37, "price_out_of_range", "warn", "0.17", CAP),  # 6.64 / 40
    (38, "price_out_of_range", "warn", "1660.00", CAP),  # 66,400 / 40
    (40, "odd_hours", "info", "00:30", "05:00 to 22:00"),
    (41, "odd_hours", "info", "23:59", "05:00 to 22:00"),
    # 42 has a date alone: nobody filled at midnight.
    (50, "unknown_plate", "warn", "OFFICE GENSET", "a number plate"),  # and no odometer is missed there
    (51, "odometer_missing", "info", None, "a reading"),
    (51, "unknown_plate", "warn", "N/A", "a number plate"),
    (52, "missing_amount", "warn", None, "an amount in KES"),
    (52, "unknown_fuel_type", "info", "JET A1", "a fuel type rules/ knows"),
    (53, "efficiency_outlier", "warn", "5", "about 10"),  # six other spans of 8 to 10
    (53, "missing_time", "info", "1970-01-01-03-00", "the time of the fill"),
    (54, "impossible_time", "warn", "2199-03-01-11-00", "not after the report"),
]

SENTENCES = {
    (3, "odometer_jump"): "The odometer reads 508000 km between fills at 50400 and 51200 km:"
    " check for a mistyped digit.",
    (14, "odometer_rollback"): "The odometer reads 120 km, 80600 km less than at the fill before: check both readings.",
    (17, "odometer_jump"): "The odometer reads 4900 km, 4420 km more than at the fill before (2026-03-03):"
    " check for a mistyped digit.",
    (31, "duplicate_fill"): "The same litres, amount and odometer as record 30, filled 5 minutes apart:"
    " check whether it is one fill reported twice.",
    (35, "price_out_of_range"): "199.85 KES a litre, where the pump price was capped at 166.54:"
    " check amount and litres.",
    (36, "price_out_of_range"): "4.15 KES a litre, where the pump price was capped at 166.54:"
    " check amount and litres. The amount looks like a price per litre.",
    (37, "price_out_of_range"): "0.17 KES a litre, where the pump price was capped at 166.54:"
    " check amount and litres. The amount looks a thousand times too small.",
    (38, "price_out_of_range"): "1660.00 KES a litre, where the pump price was capped at 166.54:"
    " check amount and litres. The amount looks ten times too large, or the litres ten times too small."
    " Or is it another currency? As Ugandan shillings it would be about 2371 KES. The amount is left out of the sums.",
    (40, "odd_hours"): "Filled at 00:30 at night: check the time of the fill.",
}

ANOMALIES = "select id, code, severity, value, expected from reporting.v_fuel_anomalies order by id, code"


def test_the_month(fleet_month: Session) -> None:
    assert fleet_month.ask(ANOMALIES) == MONTH


def test_the_sentences_say_what_to_check(fleet_month: Session) -> None:
    said = {
        (id_, code): sentence
        for id_, code, sentence in fleet_month.ask("select id, code, sentence from reporting.v_fuel_anomalies")
    }
    assert {finding: said[finding] for finding in SENTENCES} == SENTENCES
    for sentence in said.values():
        assert sentence.endswith(".")
        assert not {"fraud", "theft", "stolen", "suspicious"} & set(sentence.lower().split())
        assert "check" in sentence or "the litres of this fill count towards the next one" in sentence


def test_a_finding_names_its_fill(fleet_month: Session) -> None:
    assert (
        fleet_month.ask(
            "select a.id from reporting.v_fuel_anomalies as a left join reporting.v_fuel_fills as f using (id)"
            " where f.id is null or (a.plate, a.filled_at) is distinct from (f.plate, f.filled_at)"
        )
        == []
    )


def test_every_check_of_the_rules_is_found_in_the_month_and_none_without_its_rule(fleet_month: Session) -> None:
    switched_on = {code for _, code, *_ in MONTH}
    # These four have their stories in test_figures.py.
    assert switched_on | {"fills_missing", "edited_plate", "over_capacity", "reported_late"} == {
        code for (code,) in fleet_month.ask("select code from fuel.check_limit where code <> 'efficiency'")
    }
    for code in sorted(switched_on):
        fleet_month.ask("delete from fuel.check_limit where code = $1 returning code", code)
        switched_on -= {code}
        left = {code for (code,) in fleet_month.ask("select distinct code from reporting.v_fuel_anomalies")}
        assert left == switched_on


def test_severity_is_the_one_of_the_rules(fleet_month: Session) -> None:
    fleet_month.run("update fuel.check_limit set severity = 'alarm' where code = 'odd_hours'")
    assert fleet_month.ask("select distinct severity from reporting.v_fuel_anomalies where code = 'odd_hours'") == [
        ("alarm",)
    ]


def codes(session: Session, *fills: dict[str, Any]) -> list[tuple[int, str]]:
    """What is found in fills that are right but for what each says."""
    right = {"car": "KDA 717B", "liters": 40, "amount": 6640, "type": "DIESEL", "driver": "Asha Mto"}
    session.insert(
        right | {"datetime": f"2026-02-{16 + number:02}-09-00", "odometer": 10000 + 400 * number} | fill
        for number, fill in enumerate(fills)
    )
    return session.ask("select id, code from reporting.v_fuel_anomalies order by id, code")


def test_an_ordinary_fill_is_not_pointed_out(session: Session) -> None:
    assert codes(session, {}, {}, {}) == []


@pytest.mark.parametrize(
    ("fill", "found"),
    [
        # Prices: in a known cycle against the cap, else against the outermost bounds.
        ({"amount": 40 * 191.5}, []),
        ({"amount": 40 * 191.6}, ["price_out_of_range"]),
        ({"amount": 40 * 141.6}, []),
        ({"amount": 40 * 141.5}, ["price_out_of_range"]),
        ({"type": "V-POWER", "amount": 40 * 400}, []),
        ({"type": "V-POWER", "amount": 40 * 150}, ["price_out_of_range"]),  # petrol 178.28, 15 % less is 151.54
        ({"type": "V-POWER", "amount": 40 * 501}, ["price_out_of_range"]),
        ({"datetime": "2026-03-14-12-00", "amount": 40 * 192}, ["price_out_of_range"]),
        # Nothing is known after the 14th: the last cap, twice as leniently (116.58 to 216.50).
        ({"datetime": "2026-03-15-12-00", "amount": 40 * 216}, []),
        ({"datetime": "2026-03-15-12-00", "amount": 40 * 217}, ["price_out_of_range"]),
        ({"datetime": "2026-03-15-12-00", "amount": 40 * 501}, ["price_out_of_range"]),
        ({"datetime": "2026-03-15-12-00", "amount": 40 * 49}, ["price_out_of_range"]),
        # 23:30 on the 14th here is still in the cycle, though a day later it is not.
        ({"datetime": "2026-03-14T20:30:00Z", "amount": 40 * 192}, ["odd_hours", "price_out_of_range"]),
        ({"datetime": "2026-03-14T21:30:00Z", "amount": 40 * 192}, ["odd_hours"]),
        # No time at all, not even of a report: today's cap is not known.
        ({"datetime": None, "amount": 40 * 192}, ["missing_time"]),
        # Hours, East Africa Time.
        ({"datetime": "2026-02-16-21-59"}, []),
        ({"datetime": "2026-02-16-22-00"}, ["odd_hours"]),
        ({"datetime": "2026-02-16-04-59"}, ["odd_hours"]),
        ({"datetime": "2026-02-16-05-00"}, []),
        ({"datetime": "2026-02-16"}, []),
        # Litres of a class; a plate that says nothing has the widest.
        ({"liters": 5, "amount": 830}, []),
        ({"liters": 4, "amount": 664}, ["litres_implausible"]),
        ({"liters": 500, "amount": 83000}, []),
        ({"liters": 501, "amount": 83166}, ["litres_implausible"]),
        ({"liters": 501, "amount": 83166, "car": None}, ["litres_implausible", "unknown_plate"]),
        ({"liters": 14, "amount": 2324, "car": "KMEA 123B"}, ["litres_implausible"]),
        ({"liters": 0}, ["missing_litres"]),
        ({"liters": -40}, ["missing_litres"]),
        ({"amount": 0}, ["missing_amount"]),
        # Odometers that no vehicle has.
        ({"odometer": 2_000_001}, ["odometer_jump"]),
        ({"odometer": 0}, ["odometer_missing"]),
        # Types.
        ({"type": None}, ["unknown_fuel_type"]),
        ({"type": " "}, ["unknown_fuel_type"]),
        ({"car": "UAA 123A"}, []),
        ({"car": "KDA 71B"}, ["unknown_plate"]),
    ],
)
def test_where_a_check_begins(session: Session, fill: dict[str, Any], found: list[str]) -> None:
    assert [code for _, code in codes(session, fill)] == found


@pytest.mark.parametrize(
    ("second", "found"),
    [
        # 400 km in ten minutes; without a time of report nobody knows whether these are twins.
        ({"datetime": "2026-02-16-09-10"}, ["implausible", "too_frequent"]),
        ({"datetime": "2026-02-16-09-10", "odometer": 10003, "liters": 41, "amount": 6806}, []),  # the same stop
        (
            {"datetime": "2026-02-16-09-30", "odometer": 10003, "liters": 41, "amount": 6806},
            ["implausible", "too_frequent"],
        ),
        ({"datetime": "2026-02-16-09-10", "car": "KDB 717B"}, []),
        ({"datetime": "2026-02-16-20-59"}, ["too_frequent"]),
        ({"datetime": "2026-02-16-21-00"}, []),
        ({"datetime": "2026-02-16-20-59", "driver": "asha  MTO"}, ["too_frequent"]),
        ({"datetime": "2026-02-16-20-59", "driver": "Baraka Jua"}, ["driver_changed", "too_frequent"]),
        ({"datetime": "2026-02-16-20-59", "driver": None}, ["too_frequent"]),
        ({"driver": "Baraka Jua"}, []),
        ({"type": "KEROSENE", "liters": 20, "amount": 20 * 152}, ["fuel_type_changed"]),
        ({"type": None}, ["unknown_fuel_type"]),
        ({"odometer": 10000}, ["odometer_unchanged"]),
        ({"odometer": 9999}, ["odometer_rollback"]),
        ({"odometer": 11501}, ["odometer_jump"]),
        ({"odometer": 11500, "liters": 100, "amount": 16600}, []),
    ],
)
def test_what_the_fill_before_says(session: Session, second: dict[str, Any], found: list[str]) -> None:
    assert [code for id_, code in codes(session, {}, second) if id_ == 2] == found


def test_an_outlier_needs_a_history_to_be_one(session: Session) -> None:
    few = [{"odometer": 10000 + 400 * number} for number in range(6)]
    assert codes(session, *few, {"odometer": 13100}) == [(7, "efficiency_outlier")]  # 1,100 km on 40 l, five others
    session.run("update fuel.check_limit set value = 6 where code = 'efficiency_outlier' and name = 'min_spans'")
    assert session.ask(ANOMALIES) == []


def test_a_date_ahead_is_pointed_out_though_nobody_knows_when_it_was_reported(session: Session) -> None:
    now = datetime.now(UTC)
    assert [
        id_
        for id_, code in codes(
            session,
            {"datetime": (now + timedelta(hours=23)).isoformat(timespec="seconds"), "type": "KERO", "car": "KDA 1"},
            {"datetime": (now + timedelta(hours=25)).isoformat(timespec="seconds"), "type": "KERO", "car": "KDA 2"},
        )
        if code == "impossible_time"
    ] == [2]


def test_deleted_and_absent_fills_are_not_judged(session: Session) -> None:
    codes(session, {"liters": 501}, {"liters": 501})
    session.run(
        "update fuel.records set deleted_at = now() where id = 1;"
        "update fuel.records set absent_since = now() where id = 2"
    )
    assert session.ask(ANOMALIES) == []


@pytest.mark.parametrize(
    ("code", "name", "value", "fill"),
    [
        ("odd_hours", "from", 8, {"datetime": "2026-02-16-09-00"}),
        ("odd_hours", "to", 10, {"datetime": "2026-02-16-09-00"}),
        ("price_out_of_range", "min", 200, {}),
        ("price_out_of_range", "max", 100, {}),
        ("price_out_of_range", "share", 0.001, {"amount": 40 * 167}),
    ],
)
def test_a_limit_is_the_one_of_the_rules(
    session: Session, code: str, name: str, value: float, fill: dict[str, Any]
) -> None:
    assert codes(session, fill) == []
    assert session.ask(
        "update fuel.check_limit set value = $3 where code = $1 and name = $2 returning code", code, name, value
    )
    assert session.ask("select id, code from reporting.v_fuel_anomalies") == [(1, code)]


def test_each_limit_of_the_rules_has_a_name_the_view_knows(session: Session) -> None:
    (formula,) = session.ask(
        "select pg_get_viewdef('fuel.anomaly_limit'::regclass) || pg_get_viewdef('fuel.span_limit')"
    )
    for code, name in session.ask("select code, name from fuel.check_limit where name <> 'enabled'"):
        assert f"'{name}'" in formula[0], (code, name)
