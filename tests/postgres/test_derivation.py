"""The triggers on fuel.records: columns follow `raw`, a fingerprint does not outlive an edit, no version is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Session

FILL = {
    "id": 7,
    "created_at": "2026-06-11 14:30:00",
    "updated_at": None,
    "datetime": "2026-06-11-17-24",
    "department": "Logistics Dept",
    "driver": "Asha Mto",
    "car": "KCA 542Q",
    "liters": "40.0",
    "amount": "6,640",
    "type": "DISIEL",
    "odometer": 84210,
    "sender": "Asha",
    "raw_message": "FUEL UPDATE",
    "deleted_at": None,
}

DERIVED = (
    "select car, plate, driver, department, fuel_type, trim_scale(litres)::text as litres,"
    " trim_scale(amount_kes)::text as amount_kes, trim_scale(price_per_litre_kes)::text as price_per_litre_kes,"
    " odometer_km, {filled_at}, {source_created_at}, {source_updated_at}, {deleted_at} from fuel.records where id = 1"
).format(
    **{
        name: f"to_char({name} at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as {name}"
        for name in ("filled_at", "source_created_at", "source_updated_at", "deleted_at")
    }
)

EXPECTED = {
    "car": "KCA 542Q",
    "plate": "KCA542Q",
    "driver": "Asha Mto",
    "department": "LOGISTICS",
    "fuel_type": "DIESEL",
    "litres": "40",
    "amount_kes": "6640",
    "price_per_litre_kes": "166",
    "odometer_km": 84210,
    "filled_at": "2026-06-11 14:24:00",
    "source_created_at": "2026-06-11 14:30:00",
    "source_updated_at": None,
    "deleted_at": None,
}


def derived(session: Session) -> dict[str, Any]:
    """The derived columns of record 1."""
    return dict(zip(EXPECTED, session.ask(DERIVED)[0], strict=True))


def store(session: Session, *records: object) -> None:
    session.insert(records)


def test_every_column_is_derived_from_raw(session: Session) -> None:
    store(session, FILL)
    assert derived(session) == EXPECTED


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # The other names a field may have; the first with a value wins.
        ({"liters": None, "litres": 41}, {"litres": "41", "price_per_litre_kes": "161.9512"}),
        ({"liters": "  ", "litres": "41"}, {"litres": "41", "price_per_litre_kes": "161.9512"}),
        ({"liters": 40, "litres": 41}, {}),
        ({"type": "", "fuel_type": "Super"}, {"fuel_type": "PETROL"}),
        ({"car": None, "plate": None, "vehicle": "kda 717b"}, {"car": "kda 717b", "plate": "KDA717B"}),
        ({"datetime": None, "date": "2026-06-11"}, {"filled_at": "2026-06-10 21:00:00"}),
        ({"datetime": "", "fuel_date": "2026-06-11 17:24:33"}, {"filled_at": "2026-06-11 14:24:33"}),
        # Numbers as numbers and as people write them.
        ({"liters": 40.0, "amount": 6640}, {}),
        ({"amount": "KSH 6,640/="}, {}),
        ({"amount": " 6640 "}, {}),
        ({"odometer": "84,210"}, {}),
        ({"odometer": 84210.4}, {}),
        ({"odometer": "84210.0"}, {}),
        ({"odometer": -5}, {"odometer_km": -5}),
        ({"liters": 0}, {"litres": "0", "price_per_litre_kes": None}),
        ({"liters": -40}, {"litres": "-40", "price_per_litre_kes": None}),
        ({"liters": "45,5"}, {"litres": None, "price_per_litre_kes": None}),
        ({"amount": "12.89."}, {"amount_kes": None, "price_per_litre_kes": None}),
        # Times: a fill without a zone is meant in East Africa Time, the producer's own stamps in UTC.
        ({"datetime": "2026-06-11T14:24:00.000Z"}, {}),
        ({"datetime": "2026-06-11 17:24:00"}, {}),
        ({"datetime": "2026-05-31-17-24"}, {"filled_at": "2026-05-31 14:24:00"}),
        # No usable time, or one more than a day after the report: the time of the report.
        ({"datetime": "2026-06-30-17-24"}, {"filled_at": "2026-06-11 14:30:00"}),
        ({"datetime": "2026-06-31-17-24"}, {"filled_at": "2026-06-11 14:30:00"}),
        ({"datetime": "2026-02-29-17-24"}, {"filled_at": "2026-06-11 14:30:00"}),
        ({"datetime": "2024-02-29-17-24"}, {"filled_at": "2024-02-29 14:24:00"}),
        ({"datetime": "1970-01-01-03-00"}, {"filled_at": "2026-06-11 14:30:00"}),
        ({"datetime": "20260611"}, {"filled_at": "2026-06-11 14:30:00"}),
        ({"datetime": 20260611}, {"filled_at": "2026-06-11 14:30:00"}),
        ({"created_at": "2026-06-11T14:30:00.000Z"}, {}),
        ({"created_at": "2026-06-11 17:30:00+03"}, {}),
        ({"created_at": "0000-00-00 00:00:00"}, {"source_created_at": None}),
        ({"created_at": None, "datetime": "1970-01-01-03-00"}, {"source_created_at": None, "filled_at": None}),
        ({"updated_at": "2026-06-12 08:00:00"}, {"source_updated_at": "2026-06-12 08:00:00"}),
        ({"updated_at": "infinity"}, {}),
        # Text that is not text.
        ({"car": {"plate": "KCA 542Q"}}, {"car": None, "plate": None}),
        ({"car": ["KCA 542Q"]}, {"car": None, "plate": None}),
        ({"car": True}, {"car": None, "plate": None}),
        ({"car": 123}, {"car": "123", "plate": "123"}),
        ({"car": "N/A"}, {"car": "N/A", "plate": None}),
        ({"driver": ["Asha Mto"]}, {"driver": None}),
        ({"driver": True}, {"driver": None}),
        ({"driver": "  Asha Mto\n"}, {}),
        ({"driver": " "}, {"driver": None}),
        ({"driver": "[Asha]"}, {"driver": "[Asha]"}),
        ({"department": ["OPS"]}, {"department": None}),
        ({"department": " - "}, {"department": None}),
        ({"department": "Legal dept."}, {"department": "LEGAL"}),
        ({"type": ["DIESEL"]}, {"fuel_type": None}),
        ({"type": "JET A1"}, {"fuel_type": None}),
        # Beyond any range.
        ({"odometer": 10**30}, {"odometer_km": None}),
        ({"odometer": "99999999999999999999"}, {"odometer_km": None}),
        ({"liters": 10**400}, {"litres": None, "price_per_litre_kes": None}),
        ({"liters": "1e400"}, {"litres": None, "price_per_litre_kes": None}),
        ({"liters": "NaN"}, {"litres": None, "price_per_litre_kes": None}),
        ({"amount": "Infinity"}, {"amount_kes": None, "price_per_litre_kes": None}),
        # Deleted, or not.
        ({"deleted_at": "2026-06-12 08:00:00"}, {"deleted_at": "2026-06-12 08:00:00"}),
        ({"deleted_at": "2026-06-12T08:00:00.000Z"}, {"deleted_at": "2026-06-12 08:00:00"}),
        ({"deleted_at": ""}, {}),
        ({"deleted_at": "0000-00-00 00:00:00"}, {}),
        ({"is_deleted": 0}, {}),
        ({"is_deleted": False}, {}),
        ({"is_deleted": "no"}, {}),
        (
            {"is_deleted": True, "updated_at": "2026-06-12 08:00:00"},
            {"source_updated_at": "2026-06-12 08:00:00", "deleted_at": "2026-06-12 08:00:00"},
        ),
    ],
)
def test_what_a_field_may_look_like(session: Session, change: dict[str, Any], expected: dict[str, Any]) -> None:
    store(session, FILL | change)
    assert derived(session) == EXPECTED | expected


@pytest.mark.parametrize("flag", [True, 1, "1", "true", "T", "yes"])
def test_a_delete_flag_without_a_time_takes_the_time_of_the_version(session: Session, flag: object) -> None:
    session.ask(
        "insert into fuel.records (id, raw, source_at) values (1, $1::jsonb, '2026-06-12 09:00:00Z') returning id",
        json.dumps(FILL | {"is_deleted": flag}),
    )
    assert derived(session)["deleted_at"] == "2026-06-12 09:00:00"


@pytest.mark.parametrize("raw", [[1], ["car"], "car", 5, None, True, {}, {"id": 1}, {"CAR": "KCA 542Q"}])
def test_what_is_no_record_derives_nothing(session: Session, raw: object) -> None:
    store(session, raw)
    assert derived(session) == dict.fromkeys(EXPECTED)


def test_a_long_text_is_read_like_a_short_one(session: Session) -> None:
    store(session, FILL | {"raw_message": "x" * 100_000, "car": "kca 542q"})
    assert derived(session) == EXPECTED | {"car": "kca 542q"}


def test_texts_of_any_length_fit_the_table_and_its_indexes(session: Session) -> None:
    store(session, dict.fromkeys(FILL, "KCA " * 100000) | {"datetime": "2026-06-11-17-24"})
    assert session.one("select length(plate) from fuel.records") == 1000


@pytest.mark.parametrize(
    "edit",
    ["amount_kes = 1", "plate = 'KZZ999Z'", "filled_at = now()", "fuel_type = null", "car = 'x', driver = 'y'"],
)
def test_a_derived_column_cannot_be_written_by_hand(session: Session, edit: str) -> None:
    store(session, FILL)
    session.run(f"update fuel.records set {edit}")
    assert derived(session) == EXPECTED


def test_raw_edited_by_hand_is_derived_at_once(session: Session) -> None:
    store(session, FILL)
    session.run("update fuel.records set raw = raw || '{\"liters\": 20}'")
    assert derived(session) == EXPECTED | {"litres": "20", "price_per_litre_kes": "332"}


def test_bookkeeping_alone_runs_no_derivation(session: Session) -> None:
    store(session, FILL)
    session.run(
        "create or replace function fuel.derive_columns() returns trigger language plpgsql"
        " as $$ begin raise 'derived'; end $$;"
        "update fuel.records set fingerprint = gen_random_uuid(), run_id = 'r1', source_key = 'k', source_at = now(),"
        " last_changed_at = now();"
        "update fuel.records set absent_since = now();"
        "update fuel.records set deleted_at = now();"
        "update fuel.records set raw = raw"
    )
    with pytest.raises(Exception, match="derived"):
        session.run("update fuel.records set raw = raw || '{\"liters\": 20}'")


# Deletion: the record's own word first, then whoever decided it.

LATER = "2026-06-12 10:00:00Z"


def is_deleted(session: Session) -> bool:
    return bool(session.one("select deleted_at is not null from fuel.records where id = 1"))


def test_a_deletion_that_raw_says_nothing_of_is_kept_on_insert(session: Session) -> None:
    session.ask(
        f"insert into fuel.records (id, raw, deleted_at) values (1, $1::jsonb, '{LATER}') returning id",
        json.dumps(FILL),
    )
    assert derived(session) == EXPECTED | {"deleted_at": "2026-06-12 10:00:00"}


def test_a_deletion_without_a_new_text_is_kept_and_can_be_taken_back(session: Session) -> None:
    store(session, FILL)
    session.run(f"update fuel.records set deleted_at = '{LATER}', run_id = 'r2'")
    assert derived(session) == EXPECTED | {"deleted_at": "2026-06-12 10:00:00"}
    session.run("update fuel.records set deleted_at = null, run_id = 'r3'")
    assert derived(session) == EXPECTED


def test_a_deletion_that_comes_with_a_new_text_is_kept(session: Session) -> None:
    store(session, FILL)
    session.run(f"update fuel.records set raw = raw || '{{\"liters\": 20}}', deleted_at = '{LATER}'")
    assert derived(session)["deleted_at"] == "2026-06-12 10:00:00"


def test_a_deletion_is_undone_by_who_says_so_and_never_by_a_text_that_says_nothing_of_it(session: Session) -> None:
    store(session, FILL | {"deleted_at": "2026-06-12 08:00:00"})
    assert is_deleted(session)
    session.run("update fuel.records set raw = raw || '{\"deleted_at\": null}'")
    assert is_deleted(session)
    session.run("update fuel.records set raw = raw || '{\"liters\": 20}', deleted_at = null")
    assert not is_deleted(session)


def test_deriving_again_leaves_deletions_alone(session: Session) -> None:
    store(session, FILL | {"deleted_at": "2026-06-12 08:00:00"})
    session.run("update fuel.records set deleted_at = null")
    session.run("alter table fuel.records disable trigger user")
    session.run("update fuel.records set plate = 'WRONG'")
    session.run("alter table fuel.records enable trigger user")
    assert session.one("select fuel.rederive()") == 1
    assert not is_deleted(session)


def test_what_raw_says_of_a_deletion_is_stronger_than_what_a_statement_says(session: Session) -> None:
    store(session, FILL)
    session.run('update fuel.records set raw = raw || \'{"deleted_at": "2026-06-12 08:00:00"}\', deleted_at = null')
    assert derived(session)["deleted_at"] == "2026-06-12 08:00:00"


def test_writing_a_derived_column_by_hand_does_not_revive_a_record(session: Session) -> None:
    store(session, FILL)
    session.run(f"update fuel.records set deleted_at = '{LATER}'; update fuel.records set amount_kes = 1")
    assert is_deleted(session)


# The fingerprint.


@pytest.mark.parametrize(
    "edit",
    [
        "raw = raw || '{\"liters\": 20}'",
        "deleted_at = now()",
        "absent_since = now()",
        "raw = '{}', deleted_at = now()",
    ],
)
def test_whoever_edits_a_record_leaves_it_without_a_fingerprint(session: Session, edit: str) -> None:
    store(session, FILL)
    session.run("update fuel.records set fingerprint = '00000000-0000-0000-0000-000000000001'")
    session.run(f"update fuel.records set {edit}")
    assert session.one("select fingerprint is null from fuel.records")


@pytest.mark.parametrize(
    "edit",
    [
        "source_at = now()",
        "amount_kes = 1",
        'raw = raw || \'{"liters": "40.0"}\'',
        "run_id = 'r2', last_changed_at = now()",
    ],
)
def test_what_changes_nothing_of_the_record_keeps_its_fingerprint(session: Session, edit: str) -> None:
    store(session, FILL)
    session.run("update fuel.records set fingerprint = '00000000-0000-0000-0000-000000000001'")
    session.run(f"update fuel.records set {edit}")
    assert session.one("select fingerprint is not null from fuel.records")


def test_a_load_brings_its_own_fingerprint(session: Session) -> None:
    store(session, FILL)
    session.run("update fuel.records set fingerprint = '00000000-0000-0000-0000-000000000001'")
    session.run(
        "update fuel.records set raw = raw || '{\"liters\": 20}', run_id = 'r2',"
        " fingerprint = '00000000-0000-0000-0000-000000000002'"
    )
    assert session.one("select fingerprint::text from fuel.records").endswith("2")


# History.

VERSIONS = "select raw ->> 'liters', run_id, replaced_by_run, deleted_at is not null, absent_since is not null from fuel.record_versions order by version_id"  # noqa: E501


def test_each_overwritten_version_is_kept_with_the_run_that_replaced_it(session: Session) -> None:
    store(session, FILL)
    session.run(
        "update fuel.records set run_id = 'r1', last_changed_at = '2026-06-11 15:00:00Z';"
        "update fuel.records set raw = raw || '{\"liters\": 20}', run_id = 'r2', last_changed_at = '2026-06-11 16:00Z';"
        "update fuel.records set raw = raw || '{\"liters\": 30}';"
        "update fuel.records set absent_since = now(), run_id = 'r3';"
        "update fuel.records set absent_since = null, deleted_at = now(), run_id = 'r4';"
        "delete from fuel.records"
    )
    assert session.ask(VERSIONS) == [
        ("40.0", "r1", "r2", False, False),
        ("20", "r2", None, False, False),  # by hand
        ("30", "r2", "r3", False, False),
        ("30", "r3", "r4", False, True),
        ("30", "r4", None, True, False),  # removed by hand
    ]
    assert session.ask(
        "select valid_from = '2026-06-11 15:00:00Z', replaced_at > valid_from, replaced_by_role = session_user"
        " from fuel.record_versions order by version_id limit 1"
    ) == [(True, True, True)]


def test_bookkeeping_and_derivation_leave_no_version(session: Session) -> None:
    store(session, FILL)
    session.run(
        "update fuel.records set fingerprint = gen_random_uuid(), run_id = 'r1', source_at = now();"
        "update fuel.records set amount_kes = 1;"
        'update fuel.records set raw = raw || \'{"liters": "40.0"}\';'
        "insert into fuel.department_alias (alias, canonical) values ('LOGISTICS DEPARTMENT OF NAKURU', 'NAKURU');"
        "select fuel.rederive()"
    )
    assert session.ask(VERSIONS) == []


# Rules.


def test_a_changed_rule_derives_again_exactly_the_rows_it_affects(session: Session) -> None:
    store(session, FILL, FILL | {"type": "Dizzle"}, FILL | {"type": "JET A1"}, FILL | {"department": "Nakuru"})
    session.run(
        "update fuel.records set last_changed_at = '2026-06-11 16:00:00Z',"
        " fingerprint = '00000000-0000-0000-0000-000000000001'"
    )
    assert session.one("select fuel.rederive()") == 0
    session.run("insert into fuel.fuel_type_alias (alias, canonical) values ('DIZZLE', 'DIESEL')")
    before = session.ask("select id, xmin::text from fuel.records where id <> 2 order by id")
    assert session.one("select fuel.rederive()") == 1
    assert session.one("select fuel_type from fuel.records where id = 2") == "DIESEL"
    assert session.ask("select id, xmin::text from fuel.records where id <> 2 order by id") == before
    assert session.ask(
        "select distinct last_changed_at = '2026-06-11 16:00:00Z', fingerprint is not null from fuel.records"
    ) == [(True, True)]
    session.run("insert into fuel.department_alias (alias, canonical) values ('NAKURU', 'RIFT VALLEY')")
    assert session.one("select fuel.rederive()") == 1
    assert session.one("select department from fuel.records where id = 4") == "RIFT VALLEY"
    session.run("delete from fuel.fuel_type_alias where alias = 'DISIEL'")
    assert session.one("select fuel.rederive()") == 2
    assert session.one("select fuel.rederive()") == 0


def test_a_new_name_for_a_field_is_read_from_then_on(session: Session) -> None:
    store(session, {"ltrs": 40, "liters": 50, "amount": 100}, {"ltrs": 40})
    assert session.ask("select trim_scale(litres)::text from fuel.records order by id") == [("50",), (None,)]
    session.run("insert into fuel.source_field (field, alias, rank) values ('litres', 'ltrs', 3)")
    assert session.one("select fuel.rederive()") == 1
    assert session.ask("select trim_scale(litres)::text from fuel.records order by id") == [("50",), ("40",)]
    session.run(
        "delete from fuel.source_field where field = 'litres';"
        "insert into fuel.source_field (field, alias, rank) values ('litres', 'it''s \"ltrs\"', 1)"
    )
    session.insert([{'it\'s "ltrs"': 41, "amount": 82}], first_id=3)
    assert session.ask("select trim_scale(litres)::text from fuel.records where id = 3") == [("41",)]


def test_a_field_without_any_name_is_null(session: Session) -> None:
    session.run("truncate fuel.source_field, fuel.fuel_type_alias, fuel.department_alias")
    store(session, FILL)
    assert derived(session) == dict.fromkeys(EXPECTED)


def test_the_reader_is_written_again_only_if_it_changes(session: Session) -> None:
    assert session.one("select fuel.rebuild_reader()") is False
    before = session.one("select xmin::text from pg_proc where oid = 'fuel.derive_columns()'::regprocedure")
    session.run("update fuel.fuel_type_alias set canonical = canonical")
    assert session.one("select xmin::text from pg_proc where oid = 'fuel.derive_columns()'::regprocedure") == before


def test_a_spelling_given_by_hand_is_read_like_one_the_normaliser_is_asked_about(session: Session) -> None:
    spellings = [row[0] for row in session.ask("select alias from fuel.fuel_type_alias")]
    departments = [row[0] for row in session.ask("select alias from fuel.department_alias")]
    store(
        session,
        *({"type": f"{text}{end}"} for text in spellings for end in ("", " ", ".")),
        *({"department": f"{text}{end}"} for text in departments for end in ("", " ", " dept.")),
    )
    assert (
        session.one(
            "select count(*) from fuel.records where fuel_type is distinct from fuel.canon_fuel_type(raw ->> 'type')"
            " or department is distinct from fuel.canon_department(raw ->> 'department')"
        )
        == 0
    )


# Laws.

KEYS = [
    "id", "created_at", "updated_at", "deleted_at", "is_deleted", "datetime", "fuel_date", "filled_at", "date",
    "department", "driver", "car", "plate", "vehicle", "liters", "litres", "amount", "type", "fuel_type", "odometer",
    "sender", "raw_message",
]  # fmt: skip
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
near_times = st.from_regex(
    r"\A(19|20|00|99)[0-9]{2}-[01][0-9]-[0-3][0-9]"
    r"(-[0-2][0-9]-[0-6][0-9]|[ T][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{3})?Z?)?\Z",
    alphabet="0123456789-T :.Z",
)
near_numbers = st.one_of(
    st.text(alphabet="0123456789,. -KSH/=e", max_size=25),
    st.integers(-(10**40), 10**40),
    st.integers(10**300, 10**301),
    st.floats(allow_nan=False, allow_infinity=False),
)
near_plates = st.from_regex(r"\A *(K|KM|UA|GK|Z)[A-Z]{0,2} ?[0-9OIL]{3,4} ?[A-Z]{0,2}( PROBOX)?\Z")
scalars = st.one_of(st.none(), st.booleans(), text, near_times, near_numbers, near_plates)
values = st.one_of(
    scalars,
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3)),
)
records = st.one_of(values, st.dictionaries(st.sampled_from(KEYS), values), st.dictionaries(text, values, max_size=5))
law = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@law
@given(rows=st.lists(records, min_size=40, max_size=80))
def test_no_json_makes_the_trigger_fail(session: Session, rows: list[object]) -> None:
    session.run("delete from fuel.records")
    store(session, *rows)
    session.run("update fuel.records set raw = raw || '{\"liters\": 1}' where jsonb_typeof(raw) = 'object'")
    assert session.one("select count(*) from fuel.records") == len(rows)
    assert session.one("select fuel.rederive()") == 0


@settings(law, max_examples=8)  # drawing such texts is slow
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "datetime": near_times | text,
                "created_at": near_times | text,
                "liters": near_numbers,
                "amount": near_numbers,
                "odometer": near_numbers,
                "car": near_plates | text,
            }
        ),
        min_size=30,
        max_size=50,
    )
)
def test_the_short_cuts_of_the_trigger_agree_with_the_readers(session: Session, rows: list[object]) -> None:
    session.run("delete from fuel.records")
    store(session, *rows)
    assert (
        session.ask(
            "select raw::text, plate, litres::text, amount_kes::text, odometer_km, filled_at::text,"
            " source_created_at::text from fuel.records where"
            " plate is distinct from fuel.norm_plate(raw ->> 'car')"
            " or litres is distinct from fuel.read_number(raw ->> 'liters')"
            " or amount_kes is distinct from fuel.read_number(raw ->> 'amount')"
            " or odometer_km is distinct from round(fuel.read_number(raw ->> 'odometer'))::bigint"
            " or (not filled_at_is_assumed and filled_at is distinct from fuel.said_time(raw))"
            " or source_created_at is distinct from fuel.read_time(raw ->> 'created_at', 'UTC')"
        )
        == []
    )


def test_a_json_as_deep_as_the_server_takes_is_stored(session: Session) -> None:
    deep = '{"a":' * 1000 + "1" + "}" * 1000
    session.ask("insert into fuel.records (id, raw) values (1, $1::jsonb) returning id", f'{{"car": {deep}}}')
    assert derived(session) == dict.fromkeys(EXPECTED)


def test_what_was_edited_with_triggers_off_is_derived_again(session: Session) -> None:
    session.insert([{"car": "KCA 542Q", "liters": 40, "amount": 7_200}, {"car": "KDC 300C", "liters": 30}])
    session.run(
        "set session_replication_role = replica; update fuel.records set plate = null, litres = 1 where id = 1;"
        " reset session_replication_role"
    )
    session.ask("select fuel.rederive(), fuel.mark_every_vehicle()::text")
    assert session.ask("select id, plate, trim_scale(litres)::text from fuel.records order by id") == [
        (1, "KCA542Q", "40"),
        (2, "KDC300C", "30"),
    ]
