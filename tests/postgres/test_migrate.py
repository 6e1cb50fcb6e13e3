"""Migrations and rules on a real PostgreSQL: once, twice, at once, edited, failing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import polars as pl
import pytest
from table import NewRole

from fleetfuel import errors
from fleetfuel.packaged import packaged
from fleetfuel.records.values import read_instants
from fleetfuel.report.migrations import render_receipt, render_status
from fleetfuel.rules.book import load_rules
from fleetfuel.rules.rows import rule_rows
from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import MigrationReceipt, apply_migrations, plan_migrations

TABLES = ("source_field", "fuel_type_alias", "department_alias", "pump_prices", "vehicle_class", "check_limit")


def query(uri: str, sql: str) -> list[tuple[Any, ...]]:
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return [tuple(row) for row in cursor.fetchall()]


def run(uri: str, sql: str) -> None:
    with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.executescript(sql)


def migrate(uri: str, migrations: Path, rules: Path | None = None, *, wait_seconds: float = 60) -> MigrationReceipt:
    with connect(uri) as database:
        plan = plan_migrations(database, migrations)
        return apply_migrations(database, plan, load_rules(rules), wait_seconds=wait_seconds)


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


def exists(uri: str, name: str) -> bool:
    return bool(query(uri, f"select to_regclass('{name}') is not null")[0][0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The first shipped migration, alone in a folder a test may add to."""
    target = tmp_path / "migrations"
    target.mkdir()
    shutil.copy(packaged("migrations") / "0001_fuel_schema.sql", target)
    return target


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A copy of the shipped rules that a test may edit."""
    return Path(shutil.copytree(packaged("rules"), tmp_path / "rules"))


# --- in order, once -----------------------------------------------------------------------------------------------


def test_the_shipped_migrations_apply_to_an_empty_database(empty_database: str) -> None:
    receipt = migrate(empty_database, packaged("migrations"))
    files = [path.name for path in sorted(packaged("migrations").glob("*.sql"))]
    assert [line.file for line in receipt.applied] == files
    assert query(empty_database, "select file from fuel.schema_migrations order by file") == [(file,) for file in files]


def test_every_rule_is_a_row(database_uri: str) -> None:
    for table, rows in rule_rows(load_rules()).items():
        stored = [json.loads(row) for (row,) in query(database_uri, f"select to_jsonb(t)::text from fuel.{table} t")]
        assert sorted(stored, key=str) == sorted(({**dict.fromkeys(stored[0]), **row} for row in rows), key=str)


def test_the_second_run_touches_no_row_at_all(empty_database: str) -> None:
    migrate(empty_database, packaged("migrations"))
    tables = [f"fuel.{name}" for name in (*TABLES, "schema_migrations", "rules_state")]
    look = " union all ".join(f"select '{name}', xmin::text, ctid::text, t::text from {name} t" for name in tables)
    before = query(empty_database, f"{look} order by 1, 4")
    receipt = migrate(empty_database, packaged("migrations"))
    assert receipt.is_empty
    assert receipt.rederived is None
    assert query(empty_database, f"{look} order by 1, 4") == before
    assert render_receipt(receipt).startswith("Nothing to do: schema and rules are up to date.")


def test_three_at_once_apply_each_migration_once_and_all_succeed(empty_database: str, folder: Path) -> None:
    (folder / "0002_slow.sql").write_text("select pg_sleep(0.3); create table fuel.once (x integer);")
    with ThreadPoolExecutor(3) as pool:
        receipts = list(pool.map(lambda _: migrate(empty_database, folder), range(3)))
    assert sorted(len(receipt.applied) for receipt in receipts) == [0, 0, 2]
    assert sum(bool(receipt.rules) for receipt in receipts) == 1
    assert query(empty_database, "select count(*) from fuel.schema_migrations") == [(2,)]


def test_a_run_does_not_wait_longer_than_it_may(empty_database: str, folder: Path) -> None:
    migrate(empty_database, folder)
    (folder / "0002_more.sql").write_text("create table fuel.more (x integer);")
    with connect(empty_database) as other:
        other.take_lock()
        with pytest.raises(errors.AnotherRun):
            migrate(empty_database, folder, wait_seconds=0.3)
    assert not exists(empty_database, "fuel.more")
    assert query(empty_database, "select file from fuel.schema_migrations") == [("0001_fuel_schema.sql",)]


def test_a_new_migration_is_applied_alone(empty_database: str, folder: Path) -> None:
    migrate(empty_database, folder)
    (folder / "0002_more.sql").write_text("create table fuel.more (x integer);")
    receipt = migrate(empty_database, folder)
    assert [line.file for line in receipt.applied] == ["0002_more.sql"]
    assert receipt.rules == {}
    assert exists(empty_database, "fuel.more")


def test_looking_at_the_status_of_an_empty_database_writes_nothing(empty_database: str, folder: Path) -> None:
    with connect(empty_database) as database:
        plan = plan_migrations(database, folder)
    assert [file.file for file in plan.pending] == ["0001_fuel_schema.sql"]
    assert plan.applied == ()
    assert query(empty_database, "select count(*) from pg_namespace where nspname = 'fuel'") == [(0,)]
    assert render_status(plan) == "0001_fuel_schema.sql  pending\n\n0 applied, 1 pending."


def test_the_status_tells_when_a_migration_was_applied_and_how_long_it_took(empty_database: str, folder: Path) -> None:
    migrate(empty_database, folder)
    (folder / "0002_more.sql").write_text("select 1;")
    with connect(empty_database) as database:
        first, second, _, total = render_status(plan_migrations(database, folder)).splitlines()
    assert re.fullmatch(r"0001_fuel_schema.sql  \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ +[\d,]+ ms", first)
    assert (second, total) == ("0002_more.sql         pending", "1 applied, 1 pending.")


def test_line_ends_do_not_count_as_an_edit(empty_database: str, folder: Path) -> None:
    migrate(empty_database, folder)
    path = folder / "0001_fuel_schema.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert migrate(empty_database, folder).is_empty


# --- what is refused, with nothing applied ------------------------------------------------------------------------


def a_gap(folder: Path) -> None:
    (folder / "0002_two.sql").rename(folder / "0003_two.sql")


def a_start_after_one(folder: Path) -> None:
    (folder / "0001_fuel_schema.sql").unlink()


def a_number_twice(folder: Path) -> None:
    (folder / "0002_zwei.sql").write_text("select 1;")


def a_nameless_file(folder: Path) -> None:
    (folder / "fix.sql").write_text("select 1;")


def a_file_that_is_no_text(folder: Path) -> None:
    (folder / "0003_latin.sql").write_bytes(b"-- caf\xe9\nselect 1;")


def no_file(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (a_gap, "0003_two.sql: number 0002 is missing before it"),
        (a_start_after_one, "0002_two.sql: number 0001 is missing before it"),
        (a_number_twice, "0002_zwei.sql: its number is taken twice"),
        (a_nameless_file, "fix.sql: not the name of a migration"),
        (a_file_that_is_no_text, "0003_latin.sql: cannot be read"),
        (no_file, "no migrations here"),
    ],
)
def test_files_that_cannot_be_applied_in_order_are_refused_before_the_first(
    empty_database: str, folder: Path, spoil: Callable[[Path], None], said: str
) -> None:
    (folder / "0002_two.sql").write_text("create table fuel.two (x integer);")
    spoil(folder)
    with pytest.raises(errors.MigrationError, match=re.escape(said)) as caught:
        migrate(empty_database, folder)
    assert caught.value.exit_code == 78
    assert not exists(empty_database, "fuel.schema_migrations")


def an_edit(folder: Path) -> None:
    edit(folder / "0001_fuel_schema.sql", "create schema", "create  schema")


def a_loss(folder: Path) -> None:
    (folder / "0002_two.sql").unlink()
    (folder / "0002_other.sql").write_text("select 1;")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (an_edit, r"0001_fuel_schema\.sql: edited since it was applied on \d{4}-"),
        (a_loss, r"0002_two\.sql: applied on \d{4}-.*, but not among the migrations here"),
    ],
)
def test_an_applied_file_that_changed_is_refused_and_nothing_is_applied(
    empty_database: str, folder: Path, spoil: Callable[[Path], None], said: str
) -> None:
    (folder / "0002_two.sql").write_text("create table fuel.two (x integer);")
    migrate(empty_database, folder)
    spoil(folder)
    (folder / "0003_three.sql").write_text("create table fuel.three (x integer);")
    with pytest.raises(errors.MigrationError, match=said):
        migrate(empty_database, folder)
    assert not exists(empty_database, "fuel.three")


def test_a_file_older_than_the_last_applied_is_refused(empty_database: str, folder: Path) -> None:
    (folder / "0002_two.sql").write_text("select 1;")
    migrate(empty_database, folder)
    run(empty_database, "delete from fuel.schema_migrations where file = '0001_fuel_schema.sql'")
    with pytest.raises(
        errors.MigrationError, match=r"0001_fuel_schema.sql: not applied, though 0002_two.sql after it is"
    ):
        migrate(empty_database, folder)


# --- failing halfway ----------------------------------------------------------------------------------------------


def test_a_failing_file_leaves_nothing_of_itself_and_what_precedes_it_stays(empty_database: str, folder: Path) -> None:
    (folder / "0002_good.sql").write_text("create table fuel.good (x integer);")
    (folder / "0003_bad.sql").write_text("create table fuel.bad (x integer); insert into fuel.bad values (1 / 0);")
    (folder / "0004_after.sql").write_text("create table fuel.after (x integer);")
    with pytest.raises(errors.MigrationError, match=r"0003_bad\.sql: refused by the database: .*division by zero"):
        migrate(empty_database, folder)
    assert exists(empty_database, "fuel.good")
    assert not exists(empty_database, "fuel.bad")
    assert not exists(empty_database, "fuel.after")
    assert query(empty_database, "select file from fuel.schema_migrations order by 1") == [
        ("0001_fuel_schema.sql",),
        ("0002_good.sql",),
    ]

    edit(folder / "0003_bad.sql", "1 / 0", "1")
    assert [line.file for line in migrate(empty_database, folder).applied] == ["0003_bad.sql", "0004_after.sql"]


def test_a_syntax_error_at_the_end_of_a_file_undoes_its_beginning(empty_database: str, folder: Path) -> None:
    (folder / "0002_bad.sql").write_text("create table fuel.bad (x integer); crate table fuel.worse (x integer);")
    with pytest.raises(errors.MigrationError, match="syntax error"):
        migrate(empty_database, folder)
    assert not exists(empty_database, "fuel.bad")


def test_a_user_without_rights_is_reported_so_and_nothing_is_left(
    empty_database: str, folder: Path, postgres: PostgresServer, new_role: NewRole
) -> None:
    new_role(empty_database, "onlooker", "login password 'secret'")
    name = query(empty_database, "select current_database()")[0][0]
    with pytest.raises(errors.PermissionDenied) as caught:
        migrate(postgres.uri(name, user="onlooker", password="secret"), folder)
    assert caught.value.exit_code == 77
    assert "secret" not in str(caught.value)
    assert not exists(empty_database, "fuel.schema_migrations")


def test_records_are_derived_again_by_the_next_run_when_the_sync_after_a_migration_failed(
    empty_database: str, folder: Path
) -> None:
    migrate(empty_database, folder)
    (folder / "0002_rederive.sql").write_text(
        "create function fuel.rederive() returns bigint language sql return 7;"
        "create function fuel.copy_devices(boolean, out said text, out is_broken boolean)"
        " language plpgsql as $$ begin raise 'no devices'; end $$;"
    )
    with pytest.raises(errors.Bug, match="no devices"):
        migrate(empty_database, folder)
    run(
        empty_database,
        "create or replace function fuel.copy_devices(boolean, out said text, out is_broken boolean)"
        " language sql as $$ select 'none', false $$",
    )
    receipt = migrate(empty_database, folder)
    assert (receipt.applied, receipt.rederived, receipt.devices) == ((), 7, "none")
    assert migrate(empty_database, folder).rederived is None


# --- rules --------------------------------------------------------------------------------------------------------


def xmins(uri: str, table: str, key: str) -> Mapping[str, str]:
    return dict(query(uri, f"select {key}, xmin::text || ctid::text from fuel.{table}"))


def test_a_new_spelling_writes_one_row_and_leaves_the_others_alone(
    empty_database: str, folder: Path, rules: Path
) -> None:
    migrate(empty_database, folder, rules)
    before = xmins(empty_database, "fuel_type_alias", "alias")
    edit(rules / "fuel_types.toml", '"KERO",', '"KERO", "Jet  a1",')
    receipt = migrate(empty_database, folder, rules)
    after = xmins(empty_database, "fuel_type_alias", "alias")
    assert {table: (c.inserted, c.updated, c.deleted) for table, c in receipt.rules.items()} == {
        "fuel_type_alias": (1, 0, 0)
    }
    assert after.keys() - before.keys() == {"JET A1"}
    assert {alias: after[alias] for alias in before} == before
    assert "fuel.fuel_type_alias: 1 new, 0 changed, 0 removed" in render_receipt(receipt)


def test_a_spelling_that_moves_is_one_changed_row(empty_database: str, folder: Path, rules: Path) -> None:
    migrate(empty_database, folder, rules)
    edit(rules / "fuel_types.toml", '"IK", ', "")
    edit(rules / "fuel_types.toml", '"AGO",', '"AGO", "IK",')
    change = migrate(empty_database, folder, rules).rules["fuel_type_alias"]
    assert (change.inserted, change.updated, change.deleted) == (0, 1, 0)
    assert query(empty_database, "select canonical from fuel.fuel_type_alias where alias = 'IK'") == [("DIESEL",)]


def test_names_of_a_field_may_swap_their_ranks(empty_database: str, folder: Path, rules: Path) -> None:
    migrate(empty_database, folder, rules)
    edit(rules / "fields.toml", '"liters", "litres"', '"litres", "liters"')
    change = migrate(empty_database, folder, rules).rules["source_field"]
    assert (change.inserted, change.updated, change.deleted) == (0, 2, 0)
    ranks = query(empty_database, "select alias from fuel.source_field where field = 'litres' order by rank")
    assert ranks == [("litres",), ("liters",)]


def test_a_price_and_a_limit_can_be_changed_and_removed(empty_database: str, folder: Path, rules: Path) -> None:
    migrate(empty_database, folder, rules)
    edit(rules / "pump_prices.toml", "petrol = 178.28", "petrol = 178.30")
    edit(rules / "anomalies.toml", 'code = "duplicate_fill"', 'code = "duplicate_fill"\nenabled = false')
    receipt = migrate(empty_database, folder, rules)
    changes = {table: (c.inserted, c.updated, c.deleted) for table, c in receipt.rules.items()}
    assert changes == {"pump_prices": (0, 1, 0), "check_limit": (0, 0, 1)}
    assert receipt.rederived is None
    february = "valid_from = '2026-02-15' and fuel_type = 'PETROL'"
    price = query(empty_database, f"select price_per_litre_kes::text from fuel.pump_prices where {february}")
    assert price == [("178.3",)]


def test_rows_edited_by_hand_are_put_right(empty_database: str, folder: Path, rules: Path) -> None:
    migrate(empty_database, folder, rules)
    run(
        empty_database,
        "update fuel.vehicle_class set litres_max = 99 where class = 'motorcycle';"
        "delete from fuel.department_alias where alias = 'OPS';"
        "insert into fuel.check_limit values ('odometer_jump', 'x', 1, null);",
    )
    receipt = migrate(empty_database, folder, rules)
    changes = {table: (c.inserted, c.updated, c.deleted) for table, c in receipt.rules.items()}
    assert changes == {"department_alias": (1, 0, 0), "vehicle_class": (0, 1, 0), "check_limit": (0, 0, 1)}
    assert migrate(empty_database, folder, rules).is_empty


def test_only_the_state_of_the_file_that_changed_moves(empty_database: str, folder: Path, rules: Path) -> None:
    migrate(empty_database, folder, rules)
    before = xmins(empty_database, "rules_state", "file")
    edit(rules / "guards.toml", "share = 0.10", "share = 0.12")
    assert migrate(empty_database, folder, rules).is_empty
    after = xmins(empty_database, "rules_state", "file")
    assert [file for file in before if after[file] != before[file]] == ["guards.toml"]


def test_a_change_of_spellings_has_the_records_derived_again_and_a_change_of_prices_has_not(
    empty_database: str, folder: Path, rules: Path
) -> None:
    (folder / "0002_functions.sql").write_text(
        "create sequence fuel.calls;"
        "create function fuel.rebuild_reader() returns bigint language sql return nextval('fuel.calls');"
        "create function fuel.rederive() returns bigint language sql return 42;"
        "create function fuel.copy_devices(boolean, out said text, out is_broken boolean)"
        " language sql as $$ select 'no devices table', false $$;"
        "create function fuel.grant_rights() returns text language sql return E'role a is missing\\nrole b is missing';"
    )
    receipt = migrate(empty_database, folder, rules)
    assert (receipt.rederived, receipt.devices) == (42, "no devices table")
    assert receipt.rights == ("role a is missing", "role b is missing")
    assert query(empty_database, "select last_value from fuel.calls") == [(1,)]

    edit(rules / "pump_prices.toml", "petrol = 178.28", "petrol = 178.30")
    assert migrate(empty_database, folder, rules).rederived is None

    edit(rules / "departments.toml", '"SALE"', '"SALE", "SELLING"')
    receipt = migrate(empty_database, folder, rules)
    assert receipt.rederived == 42
    assert render_receipt(receipt).splitlines() == [
        "Rules synced:",
        "  fuel.department_alias: 1 new, 0 changed, 0 removed",
        "42 records derived anew.",
        "Devices: no devices table",
        "Rights: role a is missing",
        "Rights: role b is missing",
    ]


def test_a_new_spelling_derives_anew_the_records_it_concerns_and_no_other(database_uri: str, rules: Path) -> None:
    run(
        database_uri,
        """insert into fuel.records (id, raw) values
               (1, '{"id": 1, "car": "KCA 542Q", "type": "jet a1"}'),
               (2, '{"id": 2, "car": "KCA 542Q", "type": "disiel"}')""",
    )
    look = "select id, fuel_type, xmin::text from fuel.records order by id"
    before = query(database_uri, look)
    assert [row[1] for row in before] == [None, "DIESEL"]
    edit(rules / "fuel_types.toml", '"KERO",', '"KERO", "Jet A1",')
    assert migrate(database_uri, packaged("migrations"), rules).rederived == 1
    after = query(database_uri, look)
    assert [row[1] for row in after] == ["KEROSENE", "DIESEL"]
    assert after[1] == before[1]
    assert migrate(database_uri, packaged("migrations"), rules).is_empty


NAIVE = ("2026-06-11-17-24", "2026-06-11 17:24:33", "2026-06-11", "2026-03-29-02-30", "2026-10-25 02:30", "1970-01-01")
"""Times without a zone; in Berlin one of them does not exist and one exists twice."""


@pytest.mark.parametrize("zone", ["Africa/Nairobi", "Europe/Berlin", "UTC", "Etc/GMT-5"])
def test_a_time_without_a_zone_is_the_same_instant_in_python_and_in_the_database(
    database_uri: str, rules: Path, zone: str
) -> None:
    for number, text in enumerate((*NAIVE, "2026-06-11T17:24:00Z")):
        record = json.dumps({"id": number, "car": "KCA 542Q", "datetime": text})
        run(database_uri, f"insert into fuel.records (id, raw) values ({number}, '{record}')")
    look = "select id, filled_at, xmin::text from fuel.records order by id"
    before = query(database_uri, look)
    edit(rules / "fields.toml", 'zone = "Africa/Nairobi"', f'zone = "{zone}"')
    receipt = migrate(database_uri, packaged("migrations"), rules)
    assert query(database_uri, "select fuel.feed_zone()") == [(zone,)]
    after = query(database_uri, look)
    column, read = pl.Series("text", NAIVE), load_rules(rules).zone
    instants = read_instants(column, read, feed=read, keeps_unknown=True).to_list()
    assert [row[1] for row in after[:-1]] == [*instants[:-1], None]  # 1970 is how "unknown" is written
    moved = [new[0] for old, new in zip(before, after, strict=True) if old[1] != new[1]]
    assert moved == ([] if zone == "Africa/Nairobi" else [0, 1, 2, 3, 4])
    assert [new[0] for old, new in zip(before, after, strict=True) if old[2] != new[2]] == moved
    assert receipt.rederived == (len(moved) or None)
    assert migrate(database_uri, packaged("migrations"), rules).is_empty
    if moved:  # facts of fills know of the clock, too
        edit(rules / "fields.toml", f'zone = "{zone}"', 'zone = "Africa/Nairobi"')
        assert migrate(database_uri, packaged("migrations"), rules).refreshed == 1
        assert [row[1] for row in query(database_uri, look)] == [row[1] for row in before]


def test_a_file_of_rules_that_is_wrong_changes_nothing(empty_database: str, folder: Path, rules: Path) -> None:
    migrate(empty_database, folder, rules)
    before = query(empty_database, "select * from fuel.department_alias order by 1")
    edit(rules / "departments.toml", '"SALE"', '"SALE", "OPS"')
    with pytest.raises(errors.RulesError):
        migrate(empty_database, folder, rules)
    assert query(empty_database, "select * from fuel.department_alias order by 1") == before


# --- rights -------------------------------------------------------------------------------------------------------


def as_login(uri: str, name: str) -> str:
    return f"postgresql://{name}:x@{uri.rpartition('@')[2]}"


SITUATIONS = {
    "nothing granted": ("", 2),
    "reporting is somebody else's": ("create schema reporting; grant create on database {db} to {login}", 1),
    "reporting may be looked into": (
        "create schema reporting; grant usage on schema reporting to {login}; grant create on database {db} to {login}",
        1,
    ),
    "both schemas are somebody else's": ("create schema reporting; create schema fuel", 2),
}
"""Situation → what an administrator did, and how many rights are then lacking."""


@pytest.mark.parametrize("situation", SITUATIONS)
def test_rights_are_looked_at_before_the_first_file_and_the_grants_it_names_are_enough(
    empty_database: str, new_role: NewRole, situation: str
) -> None:
    login = f"migrator_{abs(hash(situation)) % 10_000}"
    new_role(empty_database, login, "login password 'x'")
    done, lacking = SITUATIONS[situation]
    name = empty_database.rpartition("/")[2].partition("?")[0]
    if done:
        run(empty_database, done.format(db=name, login=login))
    with pytest.raises(errors.PermissionDenied) as refused:
        migrate(as_login(empty_database, login), packaged("migrations"))
    assert not exists(empty_database, "fuel.schema_migrations")
    assert "0001_fuel_schema.sql" in str(refused.value)
    grants = str(refused.value).partition("As an administrator: ")[2]
    assert 1 <= grants.count("grant ") <= lacking
    run(empty_database, grants)
    applied = migrate(as_login(empty_database, login), packaged("migrations")).applied
    assert [line.file for line in applied] == sorted(path.name for path in packaged("migrations").glob("*.sql"))


def test_nothing_to_do_is_no_failure_whoever_asks(empty_database: str, new_role: NewRole) -> None:
    new_role(empty_database, "only_imports", "login password 'x'")
    new_role(empty_database, "fuel_ingest", "nologin")
    run(empty_database, "grant fuel_ingest to only_imports")
    migrate(empty_database, packaged("migrations"))
    assert migrate(as_login(empty_database, "only_imports"), packaged("migrations")).is_empty


def test_what_an_import_may_not_migrate_it_says_with_the_file(
    empty_database: str, new_role: NewRole, tmp_path: Path
) -> None:
    new_role(empty_database, "only_imports", "login password 'x'")
    new_role(empty_database, "fuel_ingest", "nologin")
    run(empty_database, "grant fuel_ingest to only_imports")
    migrate(empty_database, packaged("migrations"))
    later = tmp_path / "later"
    shutil.copytree(packaged("migrations"), later)
    name = f"{len(list(later.glob('*.sql'))) + 1:04}_later.sql"
    (later / name).write_text("create table fuel.later (id int);\n")
    with pytest.raises(errors.PermissionDenied, match=rf"{name}(.|\n)*grant \w+ to only_imports"):
        migrate(as_login(empty_database, "only_imports"), later)
