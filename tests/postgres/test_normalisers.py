"""What a plate, a fuel type, a department, a number and a time mean: the database says it, these are the vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Session

PLATES: Mapping[str, str | None] = {
    # Spellings of one plate.
    "KCA 542Q": "KCA542Q",
    "kca542q": "KCA542Q",
    "KCA-542Q": "KCA542Q",
    "KCA\u00a0542 Q": "KCA542Q",
    "K C A 542 Q": "KCA542Q",
    "ＫＣＡ５４２Ｑ": "KCA542Q",
    "  KCA  542Q. ": "KCA542Q",
    # What follows a known shape after a boundary is no part of it.
    "KCA 542Q PROBOX": "KCA542Q",
    "KCA 542Q (PICKUP)": "KCA542Q",
    "KAA 123 BUS": "KAA123",
    "KCA 542QPROBOX": "KCA542QPROBOX",
    # Two plates in a cell: the first.
    "KCA542Q/KDA717B": "KCA542Q",
    "KCA 542Q KDA 717B": "KCA542Q",
    "KCA542QKDA717B": "KCA542QKDA717B",
    # Letters that were meant as digits, in digit positions only.
    "KCA 54OQ": "KCA540Q",
    "KCA 5I2Q": "KCA512Q",
    "KCA 5l2q": "KCA512Q",
    "KMFF O99Z": "KMFF099Z",
    "ZA 12I4": "ZA1214",
    "4OCG456A": "40CG456A",
    # S, B and Z are never guessed, and a word is no plate.
    "KCA S42Q": "KCAS42Q",
    "KCA 54BQ": "KCA54BQ",
    "KEN OIL": "KENOIL",
    "OFFICE GENSET": "OFFICEGENSET",
    # The other shapes.
    "KMEA 123B": "KMEA123B",
    "KAA 123": "KAA123",
    "UA 234BJ": "UA234BJ",
    "UAA 123A": "UAA123A",
    "GK A 123B": "GKA123B",
    "47 CG 456A": "47CG456A",
    "29 CD 12L": "29CD12L",
    "29CD123": "29CD123",
    "29 CD 12C": "29CD12C",
    "29 CD 1OI": "29CD101",
    "29CDL": "29CDL",
    "ZA 1234": "ZA1234",
    # No plate.
    "": None,
    " ": None,
    "-": None,
    "n/a": None,
    "NA": None,
    "nil": None,
    "None": None,
    "TBA": None,
    "T.B.D": None,
    "x": None,
}

NUMBERS: Mapping[str, str | None] = {
    "7200": "7200",
    "7,200": "7200",
    "7 200": "7200",
    "7\u00a0200": "7200",
    "1,234,567.50": "1234567.50",
    "KSH 7200/=": "7200",
    "Ksh.7,200.50": "7200.50",
    "KES7200": "7200",
    "7200ksh": "7200",
    "7200 /-": "7200",
    " 41.78 ": "41.78",
    "-5": "-5",
    ".5": "0.5",
    "５００": "500",
    "1e3": "1000",
    "5.000": "5.000",
    "999999999999999999": "999999999999999999",
    # A comma parts thousands only: any other reading would be a guess, off by ten.
    "45,5": None,
    "1,23": None,
    "1,23,456": None,
    "14 5": None,
    "12.89.": None,
    "": None,
    " ": None,
    ".": None,
    "-": None,
    "KSH": None,
    "true": None,
    "full tank": None,
    "NaN": None,
    "Infinity": None,
    "1e400": None,
    "1e18": None,
    "9" * 300: None,
    "0x1F": None,
}

TIMES: Mapping[str, str | None] = {
    # In the order of reading. Without a zone: East Africa Time for a fill, UTC if UTC is asked for.
    "2026-06-11-17-24": "2026-06-11 14:24:00",
    "2026-06-11T17:24:33.000Z": "2026-06-11 17:24:33",
    "2026-06-11t17:24:33z": "2026-06-11 17:24:33",
    "2026-06-11T17:24:33.123456Z": "2026-06-11 17:24:33.123456",
    "2026-06-11T17:24:33+03:00": "2026-06-11 14:24:33",
    "2026-06-11 17:24:33+0300": "2026-06-11 14:24:33",
    "2026-06-11 17:24:33-03": "2026-06-11 20:24:33",
    "2026-06-11 17:24:33": "2026-06-11 14:24:33",
    "2026-06-11T17:24": "2026-06-11 14:24:00",
    " 2026-06-11 17:24:33.5 ": "2026-06-11 14:24:33.5",
    "2026-06-11": "2026-06-10 21:00:00",
    "2024-02-29": "2024-02-28 21:00:00",
    # Null, and never an error.
    "": None,
    "0000-00-00": None,
    "0000-00-00 00:00:00": None,
    "infinity": None,
    "1970-01-01-03-00": None,
    "1970-01-01T00:00:00.000Z": None,
    "2026-02-30": None,
    "2023-02-29-10-00": None,
    "2026-04-31 10:00:00": None,
    "2026-13-01": None,
    "2026-06-11-24-00": None,
    "2026-06-11-17-60": None,
    "2026-06-11 17:24:60": None,
    "2026-6-1": None,
    "20260611": None,
    "11/06/2026": None,
    "yesterday": None,
    "now": None,
    "2026-06-11T17:24:33+25:00": None,
}

FUEL_TYPES: Mapping[str, str | None] = {
    **dict.fromkeys(("DISIEL", "deisel", "Diesal", "DIESL", "DESEL", "DISEL", "DIZEL", "AGO", "gasoil"), "DIESEL"),
    **dict.fromkeys(("DIESEL 50PPM", "FUELSAVE DIESEL", "diesel.", " Diesel  "), "DIESEL"),
    **dict.fromkeys(("PETRO", "PETROLL", "PETRAL", "PTROL", "PMS", "Super", "SUPER PETROL", "UNLEADED"), "PETROL"),
    **dict.fromkeys(("V-POWER", "VPOWER", "v power", "V.POWER", "V_POWER"), "V-POWER"),
    **dict.fromkeys(("V-POWER DIESEL", "vpower diesel"), "V-POWER DIESEL"),
    **dict.fromkeys(("ADBLUE", "Ad Blue"), "ADBLUE"),
    **dict.fromkeys(("KEROSENE", "KERO", "IK", "PARAFFIN"), "KEROSENE"),
    "JET A1": None,
    "": None,
    "?": None,
}

DEPARTMENTS: Mapping[str, str | None] = {
    **dict.fromkeys(("N/A", "NIL", "none"), None),
    **dict.fromkeys(("LOGISTIC", "logistcs", "Logistics Dept.", "LOGISTICS DEPARTMENT", "LOGISTICS.DEPT"), "LOGISTICS"),
    **dict.fromkeys(("OPS", "operation", " Operations "), "OPERATIONS"),
    **dict.fromkeys(("ROLL OUT", "Roll  Out", "ROLL-OUT", "rollout"), "ROLLOUT"),
    **dict.fromkeys(("I.T.", "it", "ICT", "IT DEPT"), "ICT"),
    "warehouse": "STORES",
    "Outside Plant": "OSP",
    # Unknown: the cleaned text.
    "Legal  dept": "LEGAL",
    "r & d": "R D",
    "Department": "DEPARTMENT",
    "-": None,
    "": None,
}


def answers(session: Session, call: str, texts: list[str]) -> dict[str, str | None]:
    """What the database makes of each text; `call` is an expression over `v`."""
    rows = session.ask(f"select v, {call} from jsonb_array_elements_text($1::jsonb) as x (v)", json.dumps(texts))
    return {text: answer for text, answer in rows}  # noqa: C416


def test_plates(session: Session) -> None:
    assert answers(session, "fuel.norm_plate(v)", list(PLATES)) == PLATES


def test_numbers(session: Session) -> None:
    assert answers(session, "fuel.read_number(v)::text", list(NUMBERS)) == NUMBERS


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_times_whatever_the_zone_of_the_session(session: Session, zone: str) -> None:
    session.run(f"set timezone = '{zone}'; set datestyle = 'German, DMY'")
    call = "rtrim(to_char(fuel.read_time(v, 'Africa/Nairobi') at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), '0')"
    read = answers(session, call, list(TIMES))
    assert {text: answer and answer.removesuffix(".") for text, answer in read.items()} == {
        text: answer and (answer if "." in answer else answer + ".").removesuffix(".") for text, answer in TIMES.items()
    }


def test_a_time_without_a_zone_is_read_in_the_zone_asked_for_except_the_formats_that_are_always_eat(
    session: Session,
) -> None:
    assert answers(
        session,
        "to_char(fuel.read_time(v, 'UTC') at time zone 'UTC', 'YYYY-MM-DD HH24:MI')",
        ["2026-06-11 17:24:33", "2026-06-11-17-24", "2026-06-11", "2026-06-11T17:24:33+03:00"],
    ) == {
        "2026-06-11 17:24:33": "2026-06-11 17:24",
        "2026-06-11-17-24": "2026-06-11 14:24",
        "2026-06-11": "2026-06-10 21:00",
        "2026-06-11T17:24:33+03:00": "2026-06-11 14:24",
    }


def test_fuel_types_of_the_shipped_rules(session: Session) -> None:
    assert answers(session, "fuel.canon_fuel_type(v)", list(FUEL_TYPES)) == FUEL_TYPES


def test_departments_of_the_shipped_rules(session: Session) -> None:
    assert answers(session, "fuel.canon_department(v)", list(DEPARTMENTS)) == DEPARTMENTS


def test_null_stays_null(session: Session) -> None:
    for call in ("norm_plate(null)", "canon_fuel_type(null)", "canon_department(null)", "read_number(null)"):
        assert session.one(f"select fuel.{call}::text") is None
    assert session.one("select fuel.read_time(null, 'UTC')") is None


def test_norm_plate_is_immutable_strict_and_parallel_safe(session: Session) -> None:
    assert session.ask(
        "select provolatile::text, proisstrict, proparallel::text"
        " from pg_proc where oid = 'fuel.norm_plate(text)'::regprocedure"
    ) == [("i", True, "s")]


def test_no_search_path_changes_what_a_plate_is(session: Session) -> None:
    session.run(
        "create schema elsewhere;"
        "create function elsewhere.upper(text) returns text language sql immutable as $$ select 'KZZ999Z' $$;"
        "create function elsewhere.replace(text, text, text) returns text language sql as $$ select 'KZZ999Z' $$;"
        "set search_path = elsewhere, pg_catalog"
    )
    assert session.one("select fuel.norm_plate('kca 542q')") == "KCA542Q"


def test_a_plate_can_be_indexed_however_long_the_text(session: Session) -> None:
    assert session.one("select length(fuel.norm_plate(repeat('WHICH CAR ', 100000)))") == 1000


messy_plates = st.lists(
    st.one_of(
        st.text(alphabet="KMGUZACDBQOIL0159 -/.", max_size=14),
        st.from_regex(r"\A(K|KM|GK|UA|Z|47C)[A-Z]{1,2} ?[0-9OIL]{2,4} ?[A-Z]{0,3}( [A-Z]+)?\Z"),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    ),
    min_size=100,
    max_size=100,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=messy_plates)
def test_normalising_a_plate_again_changes_nothing(session: Session, texts: list[str]) -> None:
    once_and_twice = session.ask(
        "select v, fuel.norm_plate(v), fuel.norm_plate(fuel.norm_plate(v))"
        " from jsonb_array_elements_text($1::jsonb) as x (v)",
        json.dumps(texts),
    )
    for text, once, twice in once_and_twice:
        assert once == twice, text
        assert once is None or (once.isascii() and once.isalnum() and once == once.upper()), text


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    texts=st.lists(
        st.one_of(
            st.text(alphabet="0123456789-+:.,TZ eKSH/=", max_size=28),
            st.from_regex(
                r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}([T -][0-9]{2}[:-][0-9]{2}(:[0-9]{2}(\.[0-9]{1,12})?)?)?"
                r"(Z|[+-][0-9]{2}:?[0-9]{2})?\Z"
            ),
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
        ),
        min_size=100,
        max_size=100,
    )
)
def test_no_text_makes_a_reader_fail(session: Session, texts: list[str]) -> None:
    session.ask(
        "select fuel.read_number(v)::text, fuel.read_time(v, 'UTC'), fuel.clean_label(v), fuel.canon_department(v),"
        " fuel.canon_fuel_type(v) from jsonb_array_elements_text($1::jsonb) as x (v)",
        json.dumps(texts),
    )
