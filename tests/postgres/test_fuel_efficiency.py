"""reporting.v_fuel_efficiency: a figure if two good readings carry one, otherwise null and the reason."""

from __future__ import annotations

import csv
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from .conftest import CASES, Session

pytestmark = pytest.mark.usefixtures("facts")

COLUMNS = [
    "id", "plate", "filled_at", "filled_on", "fuel_type", "litres", "amount_kes", "odometer_km", "distance_km",
    "span_litres", "km_per_litre", "litres_per_100km", "kes_per_km", "rolling_km_per_litre", "status",
    "span_amount_kes", "span_from_at", "span_from_km", "fuel_family", "usual_km_per_litre", "rolling_spans_used",
    "driver_name", "department", "cost_centre",
]  # fmt: skip

EFFICIENCY = (
    "select id, distance_km::text, trim_scale(span_litres)::text, trim_scale(km_per_litre)::text,"
    " trim_scale(litres_per_100km)::text, trim_scale(kes_per_km)::text, trim_scale(rolling_km_per_litre)::text, status"
    " from reporting.v_fuel_efficiency"
)

NOTHING = (None,) * 6

KDX101A: list[tuple[object, ...]] = [
    (1, *NOTHING, "first_fill"),
    # 50,400 - 50,000 = 400 km on the 50 l of this fill; 8,300 KES / 400 km = 20.75.
    (2, "400", "50", "8", "12.5", "20.75", "8", "ok"),
    # 508,000 lies outside 50,400 to 51,200.
    (3, *NOTHING, "odometer_outlier"),
    # 51,200 - 50,400 = 800 km on 38 + 42 = 80 l; (6,308 + 6,972) / 800 = 16.6; rolling (400 + 800) / (50 + 80) = 9.231,
    # where the mean of the two ratios would be 9.
    (4, "800", "80", "10", "10", "16.6", "9.231", "ok"),
    # No reading: its 30 l go to the next span.
    (5, *NOTHING, "missing_odometer"),
    # 51,900 - 51,200 = 700 km on 30 + 40 = 70 l; rolling 1,900 / 200.
    (6, "700", "70", "10", "10", "16.6", "9.5", "ok"),
    # The deleted fill 7 counts neither as a reading nor with its 35 l: 52,400 - 51,900 = 500 km on 50 l; 2,400 / 250.
    (8, "500", "50", "10", "10", "16.6", "9.6", "ok"),
    # 5,290 lies outside 52,400 to 53,300.
    (9, *NOTHING, "odometer_outlier"),
    # 53,300 - 52,400 = 900 km on 45 + 45 = 90 l; rolling 3,300 / 340 = 9.706. Fill 58 is gone.
    (10, "900", "90", "10", "10", "16.6", "9.706", "ok"),
    # Without a time it stands at its report: 53,400 - 53,300 = 100 km on 20 l, 3,320 / 100. It is far from the 10 that
    # are usual: not believed, so no rolling figure.
    (53, "100", "20", "5", "20", "33.2", None, "outlier"),
]

KDX202B: list[tuple[object, ...]] = [
    (11, *NOTHING, "first_fill"),
    # 360 km on an unknown number of litres; 5,340 / 360 = 14.833 KES a km is known all the same.
    (12, "360", None, None, None, "14.833", None, "no_litres"),
    # 80,720 - 80,360 = 360 km on 30 l; 30 * 100 / 360 = 8.333.
    (13, "360", "30", "12", "8.333", "14.833", "12", "ok"),
    # 120 after 80,720, and 480 next: a new odometer, nothing to compute.
    (14, *NOTHING, "odometer_rollback"),
    # 480 - 120 = 360 km on 30 l; rolling (360 + 360) / (30 + 30) = 12.
    (15, "360", "30", "12", "8.333", "14.833", "12", "ok"),
    # The same reading again is no span.
    (16, *NOTHING, "odometer_rollback"),
    # 4,900 - 480 = 4,420 km are more than the 3,000 a span may have; 5,260 next, so it is no outlier.
    (17, *NOTHING, "odometer_jump"),
    # 5,260 - 4,900 = 360 km on 36 l; 6,408 / 360 = 17.8; rolling 1,080 / 96 = 11.25.
    (18, "360", "36", "10", "10", "17.8", "11.25", "ok"),
]

KMEA303C: list[tuple[object, ...]] = [
    (19, *NOTHING, "first_fill"),
    # 320 km on 8 l is what a motorcycle does; 1,424 / 320 = 4.45.
    (20, "320", "8", "40", "2.5", "4.45", "40", "ok"),
    # 320 km on 10 l; 1,780 / 320 = 5.5625; rolling 640 / 18 = 35.556.
    (21, "320", "10", "32", "3.125", "5.563", "35.556", "ok"),
    # 320 km on 80 l are 4 km on a litre: no motorcycle needs so much.
    (22, *NOTHING, "implausible"),
]

KCE505E: list[tuple[object, ...]] = [
    # Two records of one stop, all the same but five minutes: one fill or two, and before the first span.
    (30, *NOTHING, "same_stop"),
    (31, *NOTHING, "first_fill"),
    # 20,100 - 20,000 = 100 km on 20 l; 3,320 / 100.
    (32, "100", "20", "5", "20", "33.2", "5", "ok"),
    # Petrol in a vehicle that takes diesel (220 l of it, 80 l of these).
    (33, *NOTHING, "other_fuel"),
    (34, *NOTHING, "other_fuel"),
    # 21,300 - 20,100 = 1,200 km on 40 l of diesel are 30, on the 80 l of petrol, too, the usual 10: nobody can know.
    (35, *NOTHING, "ambiguous"),
    # 400 km on 40 l each; rolling 500 / 60, 900 / 100; KES a km as odd as the amounts.
    (36, "400", "40", "10", "10", "0.415", "8.333", "ok"),
    (37, "400", "40", "10", "10", "0.017", "9", "ok"),
    # 23,060 - 22,100 = 960 km on 40 l = 24; rolling 1,860 / 140. 1,660 KES a litre is no amount to compute with.
    (38, "960", "40", "24", "4.167", None, "13.286", "ok"),
]

KCF606F: list[tuple[object, ...]] = [
    (40, *NOTHING, "first_fill"),
    (41, "400", "40", "10", "10", "16.6", "10", "ok"),
    (42, "400", "40", "10", "10", "16.6", "10", "ok"),
]

MONTH: dict[str, list[tuple[object, ...]]] = {
    "47CG456A": [(52, *NOTHING, "first_fill")],
    "KAA123": [(54, *NOTHING, "first_fill")],
    "KCE505E": KCE505E,
    "KCF606F": KCF606F,
    "KDX101A": KDX101A,
    "KDX202B": KDX202B,
    "KMEA303C": KMEA303C,
    "OFFICEGENSET": [(50, *NOTHING, "missing_odometer")],
}


def test_the_month(fleet_month: Session) -> None:
    assert [
        name
        for (name,) in fleet_month.ask(
            "select attname::text from pg_attribute where attrelid = 'reporting.v_fuel_efficiency'::regclass"
            " and attnum > 0 order by attnum"
        )
    ] == COLUMNS
    for plate, expected in MONTH.items():
        assert fleet_month.ask(f"{EFFICIENCY} where plate = $1 order by filled_at, id", plate) == expected
    assert fleet_month.one("select count(*) from reporting.v_fuel_efficiency") == sum(
        len(rows) for rows in MONTH.values()
    )


def test_each_status_occurs_in_the_month(fleet_month: Session) -> None:
    assert {status for (status,) in fleet_month.ask("select distinct status from reporting.v_fuel_efficiency")} == {
        "ok",
        "first_fill",
        "missing_odometer",
        "odometer_outlier",
        "odometer_rollback",
        "odometer_jump",
        "no_litres",
        "implausible",
        "other_fuel",
        "outlier",
        "same_stop",
        "ambiguous",
    }


def test_a_fill_is_the_same_in_both_views(fleet_month: Session) -> None:
    assert (
        fleet_month.ask(
            "select e.id from reporting.v_fuel_efficiency as e left join reporting.v_fuel_fills as f using (id)"
            " where (e.plate, e.filled_at, e.filled_on, e.fuel_type, e.litres, e.amount_kes, e.odometer_km)"
            " is distinct from (f.plate, f.filled_at, f.filled_on, f.fuel_type, f.litres, f.amount_kes, f.odometer_km)"
        )
        == []
    )


# Rolling figures, and readings one by one.


def trip(session: Session, *fills: tuple[Any, ...], days: int = 1) -> list[tuple[Any, ...]]:
    """One vehicle's (odometer, litres), a fill every `days` days: (km, litres, km a litre, rolling, status) of each."""
    session.insert(
        {
            "car": "KCA 542Q",
            "datetime": f"2026-01-01T00:{number:02}:00Z" if days == 0 else day(number * days),
            "odometer": odometer,
            "liters": litres,
        }
        for number, (odometer, litres) in enumerate(fills)
    )
    return session.ask(
        "select distance_km::text, trim_scale(span_litres)::text, trim_scale(km_per_litre)::text,"
        " trim_scale(rolling_km_per_litre)::text, status from reporting.v_fuel_efficiency order by filled_at, id"
    )


def day(number: int) -> str:
    return f"2026-{1 + number // 28:02}-{1 + number % 28:02}-08-00"


def statuses(session: Session, *fills: tuple[Any, ...], days: int = 1) -> list[str]:
    return [row[-1] for row in trip(session, *fills, days=days)]


def test_rolling_figures_are_sums_over_the_last_spans(session: Session) -> None:
    session.run("update fuel.check_limit set value = 2 where code = 'efficiency' and name = 'rolling_spans'")
    assert [row[2:4] for row in trip(session, (1000, 50), (1400, 50), (1800, 20), (2200, 100))] == [
        (None, None),
        ("8", "8"),  # 400 / 50
        ("20", "11.429"),  # 800 / 70, where the mean of ratios is 14
        ("4", "6.667"),  # 800 / 120, the first span no longer counts
    ]


@pytest.mark.parametrize("odometer", [None, 0, -5, "broken"])
def test_a_reading_that_is_none_gives_its_litres_to_the_next_span(session: Session, odometer: object) -> None:
    assert trip(session, (1000, 50), (odometer, 30), (1400, 50)) == [
        (None, None, None, None, "first_fill"),
        (None, None, None, None, "missing_odometer"),
        ("400", "80", "5", "5", "ok"),
    ]


@pytest.mark.parametrize("odometer", [12000, 120, 1399000, 2_000_001, 10**17])
def test_one_mistyped_odometer_voids_only_itself(session: Session, odometer: int) -> None:
    assert trip(session, (1000, 40), (1200, 40), (odometer, 40), (1400, 40), (1600, 40)) == [
        (None, None, None, None, "first_fill"),
        ("200", "40", "5", "5", "ok"),
        (None, None, None, None, "odometer_outlier"),
        ("200", "80", "2.5", "3.333", "ok"),
        ("200", "40", "5", "3.75", "ok"),
    ]


@pytest.mark.parametrize("first", [9000, 10])
@pytest.mark.parametrize("second", [9500, 12])
def test_the_good_reading_between_two_mistyped_ones_stays_good(session: Session, first: int, second: int) -> None:
    assert statuses(session, (1000, 40), (1100, 40), (first, 40), (1200, 40), (second, 40), (1300, 40), (1400, 40)) == [
        "first_fill", "ok", "odometer_outlier", "ok", "odometer_outlier", "ok", "ok",
    ]  # fmt: skip


def test_a_mistyped_last_reading_is_judged_again_once_the_next_one_is_there(session: Session) -> None:
    assert statuses(session, (1000, 40), (1200, 40), (140, 40)) == ["first_fill", "ok", "odometer_rollback"]
    session.insert([{"car": "KCA 542Q", "datetime": day(9), "odometer": 1600, "liters": 40}], first_id=9)
    assert session.ask(
        "select status, distance_km from reporting.v_fuel_efficiency where id in (3, 9) order by id"
    ) == [
        ("odometer_outlier", None),
        ("ok", 400),
    ]


def test_a_replaced_odometer_starts_anew(session: Session) -> None:
    assert statuses(session, (90000, 40), (90400, 40), (200, 40), (600, 40), (1000, 40)) == [
        "first_fill", "ok", "odometer_rollback", "ok", "ok",
    ]  # fmt: skip


def test_a_mistyped_first_reading_voids_itself_and_the_comparison_with_it(session: Session) -> None:
    assert statuses(session, (9000, 40), (1000, 40), (1400, 40)) == ["first_fill", "odometer_rollback", "ok"]


@pytest.mark.parametrize("litres", [None, 0, -40, "45,5"])
def test_litres_that_are_none_void_the_span_they_belong_to(session: Session, litres: object) -> None:
    assert trip(session, (1000, 40), (1400, litres), (1800, 40)) == [
        (None, None, None, None, "first_fill"),
        ("400", None, None, None, "no_litres"),
        ("400", "40", "10", "10", "ok"),
    ]


def test_unknown_litres_on_the_way_void_the_whole_span(session: Session) -> None:
    # 800 km on 40 l and an unknown number more: 20 km a litre would be wrong.
    assert trip(session, (1000, 40), (None, None), (1800, 40)) == [
        (None, None, None, None, "first_fill"),
        (None, None, None, None, "missing_odometer"),
        ("800", None, None, None, "no_litres"),
    ]


@pytest.mark.parametrize(
    ("km", "days", "status"),
    [
        (1500, 1, "ok"),
        (1501, 1, "odometer_jump"),
        (1500, 0, "implausible"),  # minutes count as a day, but no vehicle drives 1,500 km in a minute
        (3000, 2, "ok"),
        (3001, 2, "odometer_jump"),  # more than a span may have
        (3001, 20, "fills_missing"),  # 150 km a day are believable
        (30001, 20, "odometer_jump"),  # 1,500 km a day are not, three weeks long
    ],
)
def test_a_span_has_a_limit_and_a_day_has_one(session: Session, km: int, days: int, status: str) -> None:
    assert statuses(session, (1000, 40), (1000 + km, 200), days=days) == ["first_fill", status]


def test_limits_come_from_the_rules_and_have_defaults(session: Session) -> None:
    session.run("update fuel.check_limit set value = 300 where code = 'efficiency' and name = 'max_span_km'")
    assert statuses(session, (1000, 40), (1301, 40)) == ["first_fill", "odometer_jump"]
    session.run("delete from fuel.check_limit")
    assert session.ask("select distance_km from reporting.v_fuel_efficiency order by id") == [(None,), (301,)]


def test_fills_of_one_day_are_ordered_by_their_readings(session: Session) -> None:
    session.insert(
        {"car": "KCA 542Q", "datetime": "2026-06-11", "odometer": odometer, "liters": 40}
        for odometer in (1200, 1100, 1000)
    )
    assert session.ask("select id, distance_km from reporting.v_fuel_efficiency order by id") == [
        (1, 100),
        (2, 100),
        (3, None),
    ]


def test_vehicles_do_not_mix(session: Session) -> None:
    session.insert(
        {"car": car, "datetime": day(number), "odometer": odometer, "liters": 40}
        for number, (car, odometer) in enumerate(
            [("KCA 542Q", 1000), ("KDA 717B", 90000), ("KCA542Q", 1400), ("KDA 717B", 90300), (None, 90400)]
        )
    )
    assert session.ask("select id, distance_km, status from reporting.v_fuel_efficiency order by id") == [
        (1, None, "first_fill"),
        (2, None, "first_fill"),
        (3, 400, "ok"),
        (4, 300, "ok"),
    ]


# A log that a real owner kept.

KM_PER_MILE = Decimal("1.609344")
LITRES_PER_GALLON = Decimal("3.785411784")


def test_the_consumption_of_a_real_log_is_the_one_its_owner_computed(session: Session) -> None:
    with (CASES / "fuelly" / "fuelups.csv").open(encoding="utf-8", newline="") as file:
        log = [{k.strip(): v for k, v in row.items()} for row in csv.DictReader(file)][::-1]
    session.insert(
        {
            "car": "KCA 542Q",
            "datetime": fill["fuelup_date"],
            "liters": str(Decimal(fill["gallons"]) * LITRES_PER_GALLON),
            "odometer": str(round(Decimal(fill["odometer"]) * KM_PER_MILE)),
        }
        for fill in log
    )
    spans = {
        id_: (status, ratio and Decimal(ratio))
        for id_, status, ratio in session.ask("select id, status, km_per_litre::text from reporting.v_fuel_efficiency")
    }
    compared = 0
    for id_, (before, fill) in enumerate(pairwise(log), start=2):
        # `miles` is counted since the fill before: if the odometers differ by as much, that fill is in the log.
        if Decimal(fill["odometer"]) - Decimal(before["odometer"]) != Decimal(fill["miles"]) or not Decimal(
            fill["mpg"]
        ):
            continue
        status, km_per_litre = spans[id_]
        assert status == "ok", fill
        # Two odometers rounded to a kilometre are wrong by one kilometre at most, the owner's mpg by half a hundredth.
        litres = Decimal(fill["gallons"]) * LITRES_PER_GALLON
        expected = Decimal(fill["mpg"]) * KM_PER_MILE / LITRES_PER_GALLON
        assert abs(km_per_litre - expected) <= 1 / litres + Decimal("0.0055") * KM_PER_MILE / LITRES_PER_GALLON, fill
        compared += 1
    assert compared >= 55
