"""Small cases, each computed by hand: a figure with status ok is right, or it is not shown."""

from __future__ import annotations

import csv
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from .conftest import CASES, Session

pytestmark = pytest.mark.usefixtures("facts")

SHARED = {"car": "KDC 300C", "liters": 40, "amount": 6800, "type": "DIESEL", "driver": "Amani Baraka"}


def load(session: Session, case: str) -> None:
    records = json.loads((CASES / "figures" / f"{case}.json").read_text(encoding="utf-8"))["records"]
    session.ask(
        "insert into fuel.records (id, raw) select (r ->> 'id')::bigint, r from jsonb_array_elements($1::jsonb) as r"
        " returning id",
        json.dumps(records),
    )
    session.settle()


def spans(session: Session) -> dict[int, tuple[str, str | None]]:
    """Of each fill: status, km a litre."""
    return {
        id_: (status, ratio)
        for id_, status, ratio in session.ask(
            "select id, status, trim_scale(km_per_litre)::text from reporting.v_fuel_efficiency"
        )
    }


def findings(session: Session, severity: str = "warn") -> list[tuple[int, str]]:
    return session.ask(
        "select id, code from reporting.v_fuel_anomalies where severity = $1 order by id, code", severity
    )


def sentence(session: Session, id_: int, code: str) -> str:
    return str(session.one("select sentence from reporting.v_fuel_anomalies where id = $1 and code = $2", id_, code))


def spend(session: Session) -> tuple[str, str, int]:
    """By month: litres, KES, and how many fills are left out of them."""
    (row,) = session.ask(
        "select trim_scale(sum(litres))::text, trim_scale(sum(amount_kes))::text, sum(unbelievable_fills)::bigint"
        " from reporting.v_fuel_monthly"
    )
    return row


def test_two_receipts_at_one_stop_add_up(session: Session) -> None:
    load(session, "split_fill")
    # Five spans of 800 km, each on 200 + 199 = 399 l: 4,000 / 1,995 = 2.005.
    assert session.ask(
        "select count(*), sum(distance_km)::bigint, sum(span_litres)::text,"
        " round(sum(distance_km) / sum(span_litres), 3)::text from reporting.v_fuel_efficiency where status = 'ok'"
    ) == [(5, 4000, "1995", "2.005")]
    assert [status for status, _ in spans(session).values()].count("same_stop") == 6
    # 34,000 + 33,830 KES for 800 km.
    assert session.ask("select distinct span_amount_kes::text, kes_per_km::text from reporting.v_fuel_efficiency"
                       " where status = 'ok'") == [("67830", "84.788")]  # fmt: skip
    assert findings(session) == []


def test_an_edited_message_counts_once(session: Session) -> None:
    load(session, "edited_amount")
    assert spans(session)[6] == ("superseded", None)
    assert spans(session)[7] == spans(session)[8] == ("ok", "10")  # 400 km on 40 l
    assert findings(session) == [(6, "duplicate_fill")]
    assert "record 7, which differs in the amount" in sentence(session, 6, "duplicate_fill")
    assert session.ask("select id, superseded_by from reporting.v_fuel_fills where superseded_by is not null") == [
        (6, 7)
    ]
    # Seven fills of 40 l; six at 6,800 and the corrected one at 6,850.
    assert spend(session) == ("280", "47650", 0)


def test_a_fill_without_a_time_stands_at_its_report(session: Session) -> None:
    load(session, "undated")
    assert session.ask(
        "select filled_at = reported_at, filled_at_is_assumed, filled_at at time zone 'UTC' = '2026-05-19 05:10'"
        " from reporting.v_fuel_fills where id = 7"
    ) == [(True, True, True)]
    assert spans(session)[7] == spans(session)[8] == ("ok", "10")
    assert spend(session) == ("320", "54400", 0)  # eight fills
    assert findings(session, "info") == [(7, "missing_time")]


def test_a_can_of_petrol_does_not_harm_the_span_around_it(session: Session) -> None:
    load(session, "jerry_petrol")
    assert spans(session)[20] == ("other_fuel", None)
    assert spans(session)[21] == spans(session)[22] == ("ok", "10")
    assert findings(session) == [(20, "fuel_type_changed")]


def test_fills_of_one_day_are_walked_through_by_their_readings(session: Session) -> None:
    load(session, "same_day_order")
    assert spans(session) == {1: ("first_fill", None), 3: ("ok", "10"), 2: ("ok", "10"), 4: ("ok", "10")}
    assert findings(session) + findings(session, "info") == []


def test_a_missing_fill_is_found(session: Session) -> None:
    load(session, "missed_fill")
    assert spans(session)[7] == ("outlier", "20")  # 800 km on 40 l, where 10 is usual
    assert spans(session)[8] == ("ok", "10")
    assert findings(session) == [(7, "efficiency_outlier")]
    assert "or a fill before it is missing" in sentence(session, 7, "efficiency_outlier")
    # The outlier is in no rolling figure and in no sum: six spans of 400 km.
    assert session.ask(
        "select rolling_km_per_litre::text, rolling_spans_used from reporting.v_fuel_efficiency where id = 8"
    ) == [("10.000", 6)]
    assert session.one("select sum(distance_km)::bigint from reporting.v_fuel_monthly") == 2400


def test_the_record_that_explains_a_missing_fill_is_named(session: Session) -> None:
    load(session, "missed_fill")
    session.insert([SHARED | {"datetime": "2026-05-17-08-00", "odometer": 12400}], first_id=70)
    assert spans(session)[7] == ("ok", "10")
    session.run("update fuel.records set deleted_at = now() where id = 70")
    session.settle()
    assert session.ask("select id, other_id from reporting.v_fuel_anomalies where severity = 'warn'") == [(7, 70)]
    assert "Record 70 would explain it: it was deleted." in sentence(session, 7, "efficiency_outlier")


def test_a_gap_of_months_is_no_mistyped_digit(session: Session) -> None:
    load(session, "gap_year")
    assert spans(session)[20] == ("fills_missing", None)  # 6,000 km in 138 days
    assert spans(session)[21] == ("ok", "10")
    assert findings(session) == []


def test_a_generator_is_understood(session: Session) -> None:
    load(session, "generator")
    assert findings(session) + findings(session, "info") == [(1, "unknown_plate")]
    session.run(
        "begin; insert into fuel.known_vehicle (plate, vehicle, has_odometer) values ('GENSET2', 'GENSET2', false);"
        "select fuel.rederive(); commit"
    )
    session.settle()
    assert findings(session) + findings(session, "info") == []
    assert {status for status, _ in spans(session).values()} == {"missing_odometer"}
    assert spend(session) == ("800", "136000", 0)


def test_foreign_and_diplomatic_plates_have_shapes(session: Session) -> None:
    load(session, "plates")
    assert session.ask("select id from reporting.v_fuel_anomalies where code = 'unknown_plate' order by id") == [
        (3,), (13,), (14,), (15,), (16,),  # GENSET 2, a letter among digits, and three shapes nobody knows
    ]  # fmt: skip


def test_another_currency_is_left_out_and_counted(session: Session) -> None:
    load(session, "ugx")
    assert findings(session) == [(2, "price_out_of_range")]
    # 250,000 Ugandan shillings are about 250,000 / 28 = 8,929 KES.
    assert "another currency? As Ugandan shillings it would be about 8929 KES" in sentence(
        session, 2, "price_out_of_range"
    )
    assert spend(session) == ("130", "13600", 1)


def test_the_odd_fuel_is_the_finding(session: Session) -> None:
    load(session, "type_gap")
    assert findings(session) == [(8, "fuel_type_changed")]
    # 800 km on 40 l would be 20, twice the usual. If only the fuel of 8 is mistyped, it is 800 km on 80 l = 10.
    assert spans(session)[9] == ("ambiguous", None)


@pytest.mark.parametrize(
    ("petrol", "status", "ratio"),
    [
        ({"liters": 20}, "ok", "10"),  # a can: 400 km on 40 l are usual, on 60 l not
        ({"liters": 20, "odometer": None}, "ok", "10"),
        ({"liters": 40, "datetime": "2026-05-10-08-05"}, "ok", "10"),  # a can at the stop that closes the span
    ],
)
def test_a_can_next_to_the_tank_is_no_mistyped_fuel(
    session: Session, petrol: dict[str, Any], status: str, ratio: str | None
) -> None:
    fills(session, {}, {}, {}, {})
    session.insert(
        [SHARED | {"datetime": "2026-05-09-08-00", "odometer": 11100, "type": "PETROL"} | petrol], first_id=70
    )
    assert spans(session)[70] == ("other_fuel", None)
    assert spans(session)[4] == (status, ratio)


def test_two_receipts_of_one_stop_with_one_fuel_mistyped_are_no_figure(session: Session) -> None:
    # 400 km on 20 + 20 l, and the second receipt of the third stop says petrol: 20 km/l is not shown.
    fills(session, *({"liters": 20} for _ in range(4)))
    second = SHARED | {"liters": 20}
    session.insert(
        [
            second | {"datetime": f"2026-05-{1 + 3 * number:02}-08-10", "odometer": 10000 + 400 * number}
            | ({"type": "PETROL"} if number == 2 else {})
            for number in range(4)
        ],
        first_id=70,
    )  # fmt: skip
    assert sorted(ratio or status for status, ratio in spans(session).values()) == [
        "10", "10", "ambiguous", "first_fill", *["other_fuel"], *["same_stop"] * 3,
    ]  # fmt: skip


def test_a_mistyped_fuel_beside_nothing_else_is_no_figure(session: Session) -> None:
    fills(session, {}, {"type": "PETROL"}, {})
    assert spans(session)[3] == ("ambiguous", None)


def test_a_span_with_a_can_in_it_does_not_excuse_a_missing_fill_after_it(session: Session) -> None:
    # 400 km on 46 l, then 800 on 46, together 13: as if the reading between them were wrong. But the first is usual.
    fills(session, *({"liters": 46} if number in (5, 7) else {} for number in range(10)))
    session.run("delete from fuel.records where id = 7")
    can = SHARED | {"datetime": "2026-05-15-08-00", "odometer": 11900, "type": "PETROL", "liters": 20}
    session.insert([can], first_id=70)
    assert spans(session)[6] == ("ok", "8.696")
    assert spans(session)[8] == ("outlier", "17.391")
    assert (8, "efficiency_outlier") in findings(session)


def test_a_speed_no_vehicle_reaches_is_no_figure(session: Session) -> None:
    load(session, "fast")
    assert spans(session) == {1: ("first_fill", None), 2: ("implausible", None), 3: ("ok", "10")}
    assert findings(session) == [(2, "implausible")]
    assert "1300 km in 30 minutes" in sentence(session, 2, "implausible")


def test_v_power_diesel_is_a_diesel_and_may_cost_more(session: Session) -> None:
    load(session, "vpower_diesel")
    assert [code for _, code in findings(session)] == ["fuel_type_changed"]  # 2 took V-Power, a petrol
    assert session.one("select fuel_type from reporting.v_fuel_fills where id = 1") == "V-POWER DIESEL"
    assert session.one("select fuel_family from reporting.v_fuel_efficiency where id = 1") == "DIESEL"


# Variations by hand.


def fills(session: Session, *each: dict[str, Any]) -> None:
    """Fills of one vehicle, three days and 400 km apart, each reported four hours after it, but for what each says."""
    session.insert(
        SHARED
        | {
            "datetime": f"2026-05-{1 + 3 * number:02}-08-00",
            "created_at": f"2026-05-{1 + 3 * number:02} 09:00:00",
            "odometer": 10000 + 400 * number,
        }
        | one
        for number, one in enumerate(each)
    )


TWIN = {"datetime": "2026-05-04-08-00", "created_at": "2026-05-04 09:12:00", "odometer": 10400}


@pytest.mark.parametrize(
    ("twin", "status", "superseded"),
    [
        ({"amount": 6850}, "ok", [(2, 3)]),  # (a) the amount edited
        ({"liters": 41}, "ok", [(2, 3)]),  # (a) the litres edited
        ({"liters": 41, "amount": 6970}, "ok", []),  # both: another receipt of the stop
        ({"liters": None}, "no_litres", [(2, 3)]),  # (a) the litres taken back
        ({"amount": 6850, "created_at": "2026-05-04 09:21:00"}, "ok", []),  # 21 minutes later is another message
        ({"odometer": 10500}, "ok", [(2, 3)]),  # (b) the odometer edited
        ({"driver": "Zuri"}, "ok", [(2, 3)]),  # (b) the driver edited
        ({"type": "PETROL"}, "first_fill", [(2, 3)]),  # (b) the fuel edited: diesel and petrol, 40 l each, the later
        ({"datetime": "2026-05-04-08-03"}, "ambiguous", []),  # (c) nobody can know
        ({"datetime": "2026-05-04"}, "same_stop", []),  # placed before it, at midnight: (c), 2 closes the stop
    ],
)
def test_what_twins_are(session: Session, twin: dict[str, Any], status: str, superseded: list[tuple[int, int]]) -> None:
    fills(session, {}, {}, TWIN | twin)
    if twin == {"datetime": "2026-05-04"}:
        # Eight hours apart: the same reading again is a copy, and its litres are unclear in the span after it.
        assert spans(session)[3] == ("ok", "10")
        assert spans(session)[2] == ("odometer_rollback", None)
    else:
        assert spans(session)[3][0] == status
    assert (
        session.ask("select id, superseded_by from reporting.v_fuel_fills where superseded_by is not null order by id")
        == superseded
    )
    assert ("duplicate_fill" in {code for _, code in findings(session)}) == bool(
        superseded or status in ("ambiguous", "same_stop")
    )


def test_a_message_edited_twice_is_superseded_by_its_last_version(session: Session) -> None:
    fills(
        session, {}, {}, TWIN | {"amount": 6850}, TWIN | {"amount": 6900, "created_at": "2026-05-04 09:25:00"},
    )  # fmt: skip
    assert session.ask(
        "select id, superseded_by from reporting.v_fuel_fills where superseded_by is not null order by id"
    ) == [(2, 4), (3, 4)]
    assert spend(session) == ("80", "13700", 0)


def test_a_report_that_came_before_its_file_was_written_tells_nothing(session: Session) -> None:
    # Created in 2099, by a clock that is wrong: no edited message, no edited plate, and no late report.
    wrong = {"created_at": "2099-01-01 00:00:00"}
    fills(session, {}, wrong, TWIN | wrong | {"amount": 6850}, {"car": "KDC 400D", "odometer": 10400} | wrong)
    assert [status for _, (status, _) in sorted(spans(session).items())] == [
        "first_fill", "same_stop", "ok", "first_fill",
    ]  # fmt: skip
    assert spans(session)[3] == ("ok", "5")  # 400 km on two receipts of 40 l
    assert findings(session) + findings(session, "info") == []


def test_an_edited_plate_is_pointed_out_on_both(session: Session) -> None:
    fills(session, {}, {}, TWIN | {"car": "KDC 400D"})
    assert session.ask(
        "select id, other_id from reporting.v_fuel_anomalies where code = 'edited_plate' order by id"
    ) == [(2, 3), (3, 2)]
    assert session.ask("select finding_codes from reporting.v_fuel_fills where id in (2, 3)") == [
        (["edited_plate"],),
        (["edited_plate"],),
    ]


def test_litres_bought_at_a_copied_reading_go_to_the_next_span(session: Session) -> None:
    fills(session, {}, {}, {"odometer": 10400, "liters": 30, "amount": 5100}, {"odometer": 11100})
    # 10,400 to 11,100 = 700 km on 30 + 40 = 70 l.
    assert spans(session) == {
        1: ("first_fill", None), 2: ("ok", "10"), 3: ("odometer_rollback", None), 4: ("ok", "10"),
    }  # fmt: skip


def test_a_figure_after_a_fill_that_was_probably_reported_twice_is_not_shown(session: Session) -> None:
    # 8, 10 and 12.5 km a litre in turn, so that nothing is far. 520 km on 40 + 40 l would be 6.5, and without the
    # copy 13: that is nearer to 10.
    ways = [0, *([320, 400, 500] * 3)]
    honest = [
        {"odometer": 10000 + sum(ways[: number + 1]), "datetime": f"2026-05-{1 + 2 * number:02}-08-00"}
        for number in range(10)
    ]
    last = {"datetime": "2026-05-22-18-00", "created_at": "2026-05-22 16:00:00", "odometer": 13660 + 520}
    fills(session, *honest, last)
    copy = {"datetime": "2026-05-19-15-00", "created_at": "2026-05-19 13:00:00", "odometer": 13660}
    session.insert([SHARED | copy], first_id=70)
    assert findings(session) == [(70, "duplicate_fill")]
    assert spans(session)[11] == ("ambiguous", None)
    session.run("update fuel.records set raw = raw || '{\"odometer\": 14260}' where id = 11")
    session.settle()
    assert findings(session) == []
    assert spans(session)[11] == ("ok", "7.5")  # 600 km on 80 l, and without the copy 15: two fills of one size


@pytest.mark.parametrize(
    ("litres_after", "found"),
    [
        # 13,200 to 13,600 km on 40 + 40 l is 5, and without the copy the usual 10: the copy is the finding.
        (40, [(70, "duplicate_fill")]),
        # On 40 + 400 l it is below 1, and without the copy 1: the litres of the last fill are the finding.
        (400, [(11, "implausible"), (11, "over_capacity"), (11, "price_out_of_range")]),
        # On 40 + 2 l, 9.5, it is usual with the copy: two fills of the same size.
        (2, [(11, "litres_implausible"), (11, "price_out_of_range")]),
    ],
)
def test_a_fill_reported_twice_hours_apart_is_the_finding_and_not_the_next_one(
    session: Session, litres_after: float, found: list[tuple[int, str]]
) -> None:
    last = {"liters": litres_after, "datetime": "2026-05-28-18-00", "odometer": 13600}
    fills(session, *({} for _ in range(10)), last | {"created_at": "2026-05-28 16:00:00"})
    session.run("delete from fuel.records where id = 10")
    copy = {"datetime": "2026-05-25-15-00", "created_at": "2026-05-25 13:00:00", "odometer": 13200}
    session.insert([SHARED | copy], first_id=70)
    assert findings(session) == found


def test_a_stop_needs_no_second_reading(session: Session) -> None:
    fills(session, {}, {"liters": 25, "amount": 4250},
          {"datetime": "2026-05-04-08-15", "odometer": None, "liters": 15, "amount": 2550})  # fmt: skip
    assert spans(session) == {1: ("first_fill", None), 2: ("ok", "10"), 3: ("same_stop", None)}  # 400 / (25 + 15)


def test_receipts_of_one_stop_come_in_either_order(session: Session) -> None:
    first = {"liters": 20, "amount": 3400, "odometer": 10403}
    fills(session, {}, first, {"liters": 20, "amount": 3300, "datetime": "2026-05-04-08-05", "odometer": 10400}, {})
    # 400 km on 20 + 20 l, then 11,200 - 10,400 = 800 km on 40 l.
    assert spans(session) == {1: ("first_fill", None), 2: ("same_stop", None), 3: ("ok", "10"), 4: ("ok", "20")}
    assert findings(session) == []
    # A minute later than 20 these are two stops, and nobody knows which reading is wrong: both litres go on.
    session.run('update fuel.records set raw = raw || \'{"datetime": "2026-05-04-08-21"}\' where id = 3')
    session.settle()
    assert spans(session)[2] == spans(session)[3] == ("odometer_outlier", None)
    assert spans(session)[4] == ("ok", "15")  # 1,200 km on 80 l


def test_a_slipped_can_of_petrol_does_not_decide_what_a_vehicle_burns(session: Session) -> None:
    # Ten fills of 40 l of diesel, and 45.5 l of petrol read as 455.
    fills(session, *({} for _ in range(10)))
    session.insert(
        [SHARED | {"datetime": "2026-05-24-18-00", "odometer": 13100, "type": "PETROL", "liters": 455, "amount": 8000}],
        first_id=70,
    )
    assert spans(session)[70] == ("other_fuel", None)
    assert [spans(session)[id_] for id_ in range(2, 11)] == [("ok", "10")] * 9
    assert {(70, "fuel_type_changed"), (70, "over_capacity")} <= set(findings(session))


def test_a_vehicle_of_two_fuels_has_no_figure(session: Session) -> None:
    fills(session, *({"type": fuel} for fuel in ("DIESEL", "PETROL") * 3))
    assert {ratio for _, ratio in spans(session).values()} == {None}
    assert findings(session) == []


def test_litres_and_amount_swapped_stay_out_of_the_sums(session: Session) -> None:
    fills(session, {}, {"liters": 6800, "amount": 40}, {})
    assert spend(session) == ("80", "13600", 1)
    assert "swapped" in sentence(session, 2, "price_out_of_range")
    assert spans(session)[2] == ("no_litres", None)


def test_zero_and_negative_amounts_are_called_so(session: Session) -> None:
    fills(session, {"amount": 0}, {"amount": -6800})
    assert sentence(session, 1, "missing_amount") == "The amount is zero: check the receipt."
    assert sentence(session, 2, "missing_amount") == "The amount is negative (-6800 KES): check the receipt."


@pytest.mark.parametrize(("litres", "found"), [(63, False), (63.1, True)])
def test_a_fill_above_the_tank_is_pointed_out(session: Session, litres: float, found: bool) -> None:
    session.run(
        "insert into fuel.known_vehicle (plate, vehicle, tank_litres, has_odometer)"
        " values ('KDC300C', 'KDC300C', 60, true)"
    )
    fills(session, {}, {"liters": litres, "amount": 170 * litres})
    assert ((2, "over_capacity") in findings(session)) == found


def test_a_former_plate_is_the_same_vehicle(session: Session) -> None:
    session.run(
        "insert into fuel.known_vehicle (plate, vehicle, has_odometer) values ('KDC300C', 'KDC300C', true),"
        " ('KBA717B', 'KDC300C', true)"
    )
    fills(session, {"car": "KBA 717B"}, {})
    assert spans(session) == {1: ("first_fill", None), 2: ("ok", "10")}
    assert session.ask("select id, plate from reporting.v_fuel_fills order by id") == [(1, "KBA717B"), (2, "KDC300C")]
    assert session.ask("select plate, fills from reporting.v_fuel_monthly") == [("KDC300C", 2)]


def test_a_date_after_its_report_is_not_believed_and_an_old_one_is_kept(session: Session) -> None:
    fills(session, {"datetime": "2026-06-01-08-00"}, {"datetime": "2025-05-04-08-00"})
    assert session.ask(
        "select id, filled_on::text, filled_at_is_assumed, finding_codes from reporting.v_fuel_fills order by id"
    ) == [
        (1, "2026-05-01", True, ["impossible_time"]),
        (2, "2025-05-04", False, ["reported_late"]),
    ]


def test_one_driver_is_one_row(session: Session) -> None:
    fills(session, *({"driver": name} for name in ("amani  baraka", "AMANI BARAKA.", "Amani Baraka", "N/A", None)))
    assert session.ask("select driver_name, count(*) from reporting.v_fuel_fills group by 1 order by 1") == [
        ("Amani Baraka", 3),
        (None, 2),
    ]


# A real log.


def test_a_real_diesel_car(session: Session) -> None:
    with (CASES / "mit" / "fuel_log.csv").open(encoding="utf-8", newline="") as file:
        log = list(csv.DictReader(file))  # newest first, as its owner exports it
    session.insert(
        {
            "car": "KDC 300C",
            "datetime": fill["date"],
            "liters": fill["fuel_amount_l"],
            "amount": fill["total_price_kc"],
            "odometer": fill["odo"],
            "type": "DIESEL",
        }
        for fill in log
    )
    shown = session.ask(
        "select id, status, distance_km, span_litres::text, km_per_litre::text from reporting.v_fuel_efficiency"
        " order by filled_at, odometer_km, id"
    )
    by_odometer = sorted(log, key=lambda fill: int(fill["odo"]))
    assert [log[id_ - 1] for id_, *_ in shown] == by_odometer  # in this order no reading goes backwards
    ok = [row for row in shown if row[1] == "ok"]
    assert len(ok) >= 65
    for id_, _, km, litres, ratio in ok:
        fill = log[id_ - 1]
        before = by_odometer[by_odometer.index(fill) - 1]
        assert km == int(fill["odo"]) - int(before["odo"])
        assert Decimal(litres) == Decimal(fill["fuel_amount_l"])
        assert Decimal(ratio) == round(km / Decimal(litres), 3)
    # 401, 127 and 99 km on a litre, and 1.2: a pause of 22 months, and partial fills.
    assert all(1 <= Decimal(row[4]) <= 30 for row in ok)


# What is written about the figures is so.

DOCUMENT = Path(__file__).parents[2] / "migrations" / "README.md"


def test_every_status_and_finding_is_explained(session: Session) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    codes = {code for (code,) in session.ask("select code from fuel.enabled_check")}
    named = set(re.findall(r"`([a-z_]+)`", text))
    assert codes <= named
    formula = session.one("select pg_get_viewdef('fuel.spanned_fills'::regclass)")
    assert set(re.findall(r"(?:THEN|ELSE) '([a-z_]+)'", formula)) | {"outlier"} <= named


def test_every_report_and_column_has_a_comment(session: Session) -> None:
    assert session.ask(
        "select c.relname::text, a.attname::text from pg_class as c join pg_attribute as a on a.attrelid = c.oid"
        " where c.relnamespace = 'reporting'::regnamespace and a.attnum > 0"
        " and (col_description(c.oid, a.attnum) is null or obj_description(c.oid, 'pg_class') is null)"
    ) == []  # fmt: skip


def test_every_table_has_a_comment_and_a_line_in_the_document(session: Session) -> None:
    tables = session.ask(
        "select relname::text, obj_description(oid, 'pg_class') from pg_class"
        " where relnamespace = 'fuel'::regnamespace and relkind = 'r'"
    )
    assert [table for table, comment in tables if not comment] == []
    listed = DOCUMENT.read_text(encoding="utf-8").partition("## Tables of the schema fuel")[2].partition("\n## ")[0]
    assert {table for table, _ in tables} == set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", listed, re.MULTILINE)))
    )


def test_the_questions_of_a_manager_have_answers(session: Session) -> None:
    load(session, "edited_amount")
    asked = DOCUMENT.read_text(encoding="utf-8").partition("## Questions of a fleet manager")[2].partition("\n## ")[0]
    queries = re.findall(r"```sql\n(.*?)```", asked, re.DOTALL)
    assert len(queries) == 11
    answers = [session.ask(f"select count(*) from ({query.strip().rstrip(';')}) as answer")[0][0] for query in queries]
    # 8 fills of 2026-05: one month, nothing over a known cap, seven spans but one, one department, one double, no tank,
    # one silent vehicle, one driver, no late report, all eight stored this week, none deleted.
    assert answers == [1, 0, 6, 1, 1, 0, 1, 1, 0, 8, 0]
