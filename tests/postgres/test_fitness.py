"""A schema that is not the one this program writes is reported before anything is read or written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest
from faults.program import zygote
from table import NewRole, Table, envelope, fill, spoken

from fleetfuel import errors
from fleetfuel.packaged import packaged
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import MigrationReceipt, apply_migrations, plan_migrations

from .conftest import Session
from .test_rights import LOGIN, REPORTS


def migrate(uri: str, folder: Path | None = None) -> MigrationReceipt:
    with connect(uri) as database:
        return apply_migrations(database, plan_migrations(database, folder or packaged("migrations")), load_rules())


def test_a_program_older_than_the_schema_imports_nothing(session: Session, tmp_path: Path) -> None:
    session.run("insert into fuel.schema_migrations values ('9999_later.sql', 'x', now(), 1)")
    with pytest.raises(errors.ConfigurationError, match=r"later fleetfuel: 9999_later\.sql") as caught:
        Table(session.uri, tmp_path).snapshot([fill(1)])
    assert caught.value.exit_code == 78
    with pytest.raises(errors.ConfigurationError, match="9999_later"):
        migrate(session.uri)


def test_a_program_newer_than_the_schema_says_to_migrate(session: Session, tmp_path: Path) -> None:
    session.run("delete from fuel.schema_migrations where file like '0010%'")
    with pytest.raises(errors.SchemaNotReady, match="0010_"):
        Table(session.uri, tmp_path).snapshot([fill(1)])


def test_what_looks_and_what_writes_refuse_an_edited_migration_alike(session: Session, tmp_path: Path) -> None:
    table = Table(session.uri, tmp_path, is_filled=True)
    run_id = table.load(envelope([fill(1)]), name="one.json").summary.run_id
    report = table.load(envelope([fill(2)]), name="two.json", apply=False, wants_report=True).summary.report
    session.run("update fuel.schema_migrations set checksum = 'other' where file like '0003%'")
    left = table.everything()
    said = set()
    with zygote() as forks:
        for number, words in enumerate([
            *(["import", "--file", str(tmp_path / "two.json"), *apply] for apply in ([], ["--apply"])),
            *(["undo", run_id, *apply] for apply in ([], ["--apply"])),
            ["apply", str(report)],
            *(["prune", "--older-than", "1d", *apply] for apply in ([], ["--apply"])),
            ["migrate"],
        ]):  # fmt: skip
            program = forks.start(tmp_path / f"run {number}", words, database=session.uri, steps=False)
            assert program.wait() == 78, (words, program.err)
            said.add(spoken(program.err))
    assert len(said) == 1
    assert "0003_derivation.sql: edited since it was applied" in said.pop()
    assert table.everything() == left
    table.close()


@pytest.mark.parametrize("table", ["records", "ingest_files"])
def test_row_level_security_is_refused(session: Session, tmp_path: Path, table: str) -> None:
    """Rows that a policy hides would be inserted again, or taken for files not read."""
    session.run(f"alter table fuel.{table} enable row level security")
    for act in (lambda: Table(session.uri, tmp_path).snapshot([fill(1)]), lambda: migrate(session.uri)):
        with pytest.raises(errors.ConfigurationError, match=f"Row level security is on for fuel.{table}") as caught:
            act()
        assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("alter table fuel.records disable trigger user", "derive_columns_of_new on fuel.records"),
        ("alter table fuel.records disable trigger keep_version_of_changed", "off: keep_version_of_changed on"),
        ("alter table fuel.records enable replica trigger forget_fingerprint", "off: forget_fingerprint on"),
    ],
)
def test_triggers_that_do_not_fire_are_refused(session: Session, tmp_path: Path, harm: str, said: str) -> None:
    """Switched off for an edit, and forgotten: nothing would be derived, and the history would miss what is loaded."""
    session.run(harm)
    with pytest.raises(errors.ConfigurationError, match=said) as caught:
        Table(session.uri, tmp_path).snapshot([fill(1)])
    assert caught.value.exit_code == 78
    session.run("alter table fuel.records enable trigger user")
    assert Table(session.uri, tmp_path).snapshot([fill(1)]) == {"inserts": 1}


def test_a_role_for_which_no_trigger_fires_is_refused(session: Session, tmp_path: Path) -> None:
    name = session.one("select current_database()::text")
    session.run(f"alter database {name} set session_replication_role = replica")
    with pytest.raises(errors.ConfigurationError, match="session_replication_role is replica"):
        Table(session.uri, tmp_path).snapshot([fill(1)])


# --- what is missing is made again ------------------------------------------------------------------------------------


def present(session: Session) -> list[str]:
    session.run("set search_path = pg_catalog, pg_temp")
    return [name for (name,) in session.ask("select name from fuel.present_objects order by name")]


@pytest.mark.parametrize(
    "harm",
    [
        "drop schema reporting cascade",
        "drop view reporting.v_fuel_fills cascade",
        "drop view fuel.computed_fill_facts cascade",
        "drop function fuel.norm_plate(text) cascade",
        "drop function fuel.keep_version() cascade; drop index fuel.records_live_by_time",
        "drop trigger derive_columns_of_new on fuel.records",
        "drop function fuel.grant_rights(); drop function fuel.copy_devices(boolean)",
    ],
)
def test_what_was_dropped_is_made_again_as_it_was(database_uri: str, tmp_path: Path, harm: str) -> None:
    session = Session(database_uri)
    before = present(session)
    session.run(harm)
    lost = len(before) - len(present(session))
    assert lost > 0
    receipt = migrate(database_uri)
    assert receipt.restored is not None
    assert receipt.restored.count(", ") >= lost - 1
    assert present(session) == before
    assert migrate(database_uri).is_empty
    Table(database_uri, tmp_path).snapshot([fill(1)])
    for report in REPORTS:
        session.ask(f"select * from reporting.{report}")
    session.close()


def test_a_view_of_somebody_else_in_the_schema_of_reports_is_his(database_uri: str) -> None:
    session = Session(database_uri)
    session.run("create view reporting.mine as select 1 as one")
    migrate(database_uri)
    session.run("drop view reporting.mine")
    assert migrate(database_uri).is_empty
    session.close()


def test_readers_have_their_rights_again(database_uri: str, postgres: PostgresServer, new_role: NewRole) -> None:
    new_role(database_uri, "grafana_ro", LOGIN)
    migrate(database_uri)
    session = Session(database_uri)
    session.run("drop schema reporting cascade")
    migrate(database_uri)
    reader = Session(
        postgres.uri(session.one("select current_database()::text"), user="grafana_ro", password="only here")
    )
    assert reader.one("select count(*) from reporting.v_fuel_fills") == 0
    reader.close()
    session.close()


# --- a schema that was there before us --------------------------------------------------------------------------------


def test_a_schema_that_somebody_else_owns_is_left_alone(
    empty_database: str, postgres: PostgresServer, new_role: NewRole
) -> None:
    name = empty_database.rsplit("/", 1)[1].partition("?")[0]
    for role in ("fuel_owner", "squatter"):
        new_role(empty_database, role, LOGIN)
    admin = Session(empty_database)
    admin.run(
        f"grant create on database {name} to fuel_owner, squatter; create schema fuel authorization squatter;"
        "grant all on schema fuel to fuel_owner"
    )
    owner = postgres.uri(name, user="fuel_owner", password="only here")
    with pytest.raises(errors.ConfigurationError, match="belongs to squatter"):
        migrate(owner)
    assert admin.one("select count(*) from pg_class where relnamespace = 'fuel'::regnamespace") == 0
    admin.run("alter schema fuel owner to fuel_owner")
    assert migrate(owner).applied
    admin.close()


@pytest.mark.parametrize(
    "filled",
    ["create table fuel.records (id int)", "create function fuel.norm_plate(text) returns text language sql return ''"],
)
def test_a_schema_with_something_in_it_is_left_alone(empty_database: str, filled: str) -> None:
    session = Session(empty_database)
    session.run(f"create schema fuel; {filled}")
    with pytest.raises(errors.ConfigurationError, match="1 object that no migration made"):
        migrate(empty_database)
    session.close()


def test_a_migration_added_later_is_remembered_too(database_uri: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(packaged("migrations"), tmp_path / "migrations"))
    (folder / "9000_later.sql").unlink(missing_ok=True)
    number = len(list(folder.glob("*.sql"))) + 1
    (folder / f"{number:04}_later.sql").write_text(
        "create view fuel.later as select 1 as one; create view reporting.v_later as select * from fuel.later;"
        "drop index fuel.records_live_by_time;"
    )
    migrate(database_uri, folder)
    session = Session(database_uri)
    session.run("drop view fuel.later cascade")
    restored = migrate(database_uri, folder).restored
    assert restored == "view fuel.later, view reporting.v_later"
    session.close()


ODD: Final = {
    "search_path": "pg_temp",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Pacific/Chatham",
    "bytea_output": "escape",
    "extra_float_digits": "-10",
    "check_function_bodies": "off",
    "array_nulls": "off",
    "plpgsql.variable_conflict": "use_column",
    "transform_null_equals": "on",
    "enable_seqscan": "off",
}
"""Settings that change how things are written or read, each as nobody would set it."""


@pytest.mark.parametrize(
    "given",
    [
        {"default_transaction_isolation": "serializable"},
        {"default_transaction_isolation": "repeatable read"},
        ODD,
    ],
    ids=["serializable", "repeatable read", "odd"],
)
def test_what_a_database_has_for_defaults_changes_nothing(
    empty_database: str, tmp_path: Path, given: dict[str, str]
) -> None:
    admin = Session(empty_database)
    name = admin.one("select current_database()::text")
    for setting, value in given.items():
        admin.run(f"alter database {name} set {setting} = '{value}'")
    admin.close()
    assert migrate(empty_database).applied
    assert migrate(empty_database).is_empty
    table = Table(empty_database, tmp_path)
    assert table.snapshot([fill(1), fill(2), 5]) == {"inserts": 2, "rejected": 1}
    assert table.changes([fill(1, liters=41)]) == {"updates": 1}
    row = table.row(1)
    assert (row["litres"], row["plate"], row["filled_at"].isoformat()) == ("41", "KCA542Q", "2026-06-10T06:30:00+00:00")
    table.close()
