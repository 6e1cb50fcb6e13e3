"""Rights, tried by connecting as the roles that have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import pytest
from table import EVERYTHING, NewRole, Table, at, envelope, fill

from fleetfuel.packaged import packaged
from fleetfuel.pipeline import Request, run
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import apply_migrations, plan_migrations

from .conftest import Session

REPORTS = (
    "v_fuel_fills",
    "v_fuel_efficiency",
    "v_fuel_anomalies",
    "v_fuel_monthly",
    "v_ingest_health",
    "v_ingest_runs",
)
ROLES = ("grafana_ro", "fuel_ingest", "nobody_in_particular")


LOGIN = "login password 'only here'"


@pytest.fixture
def roles(session: Session, postgres: PostgresServer, new_role: NewRole) -> dict[str, str]:
    """The URI of each role in the database of the session."""
    database = session.one("select current_database()::text")
    for role in ROLES:
        new_role(session.uri, role, LOGIN)
    return {role: postgres.uri(database, user=role, password="only here") for role in ROLES}


def refused(session: Session, statement: str) -> bool:
    """Whether the server says that this role may not."""
    with pytest.raises(adbc.ProgrammingError) as caught:
        session.run(statement)
    return str(caught.value.sqlstate) == "42501"


@pytest.fixture
def reader(roles: dict[str, str], fleet_month: Session) -> Iterator[Session]:
    fleet_month.one("select fuel.grant_rights()")
    opened = Session(roles["grafana_ro"])
    yield opened
    opened.close()


def test_the_reader_reads_the_reports_to_the_last_row(reader: Session, fleet_month: Session) -> None:
    for report in REPORTS:
        count = f"select count(*) from (select t::text from reporting.{report} as t) as rows"
        assert reader.one(count) == fleet_month.one(count)
    assert reader.one("select imei from reporting.v_fuel_fills where id = 1") == "352100000000009"


def test_the_reader_reads_nothing_else(reader: Session, fleet_month: Session) -> None:
    tables = fleet_month.ask(
        "select format('%I.%I', n.nspname, c.relname)"
        " from pg_class as c join pg_namespace as n on n.oid = c.relnamespace"
        " where n.nspname in ('fuel', 'tracksolid') and c.relkind in ('r', 'v', 'S')"
    )
    assert len(tables) > 15
    for (table,) in tables:
        assert refused(reader, f"select * from {table}"), table
    for call in (
        "fuel.rederive()",
        "fuel.rebuild_reader()",
        "fuel.grant_rights()",
        "fuel.refresh_fill_facts(1)",
        "fuel.mark_every_vehicle()",
        "fuel.derive('{}', now())",
        "fuel.norm_plate('x')",
    ):
        assert refused(reader, f"select {call}"), call


def test_the_reader_writes_nothing(reader: Session) -> None:
    assert refused(reader, "insert into fuel.records (id, raw) values (1, '{}')")
    assert refused(reader, "create view reporting.mine as select 1")
    assert refused(reader, "create table fuel.mine ()")


def test_default_privileges_give_the_reader_no_records(session: Session, roles: dict[str, str]) -> None:
    # Somebody made every new table readable, as shared databases often do, before the schema was there.
    session.run("grant usage on schema fuel to grafana_ro; grant select on all tables in schema fuel to grafana_ro")
    session.one("select fuel.grant_rights()")
    opened = Session(roles["grafana_ro"])
    assert refused(opened, "select * from fuel.records")
    opened.close()


def test_nobody_else_sees_anything(session: Session, roles: dict[str, str]) -> None:
    session.one("select fuel.grant_rights()")
    opened = Session(roles["nobody_in_particular"])
    for statement in ("select * from fuel.records", "select * from reporting.v_fuel_fills", "select fuel.rederive()"):
        assert refused(opened, statement), statement
    opened.close()


def test_a_report_works_for_another_role_it_is_granted_to(fleet_month: Session, roles: dict[str, str]) -> None:
    fleet_month.run(
        "grant usage on schema reporting to nobody_in_particular;"
        "grant select on reporting.v_fuel_fills to nobody_in_particular;"
        "select fuel.grant_rights()"
    )
    opened = Session(roles["nobody_in_particular"])
    assert opened.one("select imei from reporting.v_fuel_fills where id = 1") == "352100000000009"
    opened.close()


def test_an_edit_by_the_importer_marks_its_vehicle(session: Session, roles: dict[str, str]) -> None:
    """The triggers do it with the owner's rights, whoever edits."""
    session.one("select fuel.grant_rights()")
    session.run(
        "grant usage on schema fuel to nobody_in_particular; grant insert on fuel.records to nobody_in_particular"
    )
    for number, role in enumerate(("fuel_ingest", "nobody_in_particular")):
        session.run(f"grant execute on all functions in schema fuel to {role}")
        opened = Session(roles[role])
        opened.run(f"""insert into fuel.records (id, raw) values ({number}, '{{"car": "KCA 10{number}A"}}')""")
        opened.close()
    assert session.ask("select vehicle from fuel.stale_vehicles order by 1") == [("KCA100A",), ("KCA101A",)]


@pytest.fixture
def importer(session: Session, roles: dict[str, str], tmp_path: Path) -> Iterator[Table]:
    """The database, its files imported by fuel_ingest."""
    session.one("select fuel.grant_rights()")
    table = Table(session.uri, tmp_path)
    table.uri = roles["fuel_ingest"]
    yield table
    table.close()


def test_the_importer_runs_every_kind_of_import(importer: Table, session: Session) -> None:
    assert importer.snapshot([fill(1), fill(2), fill(3)])["inserts"] == 3
    assert importer.changes([fill(1, liters=50), fill(2, deleted_at="2026-06-11 13:00:00"), 5]) == {
        "updates": 1, "soft_deletes": 1, "soft_deletes_flagged": 1, "rejected": 1,
    }  # fmt: skip
    importer.snapshot([fill(1, liters=50), fill(2)])
    assert session.ask("select id, deleted_at is null, absent_since is null from fuel.records order by id") == [
        (1, True, True),
        (2, True, True),
        (3, True, False),
    ]
    assert session.one("select count(*) from fuel.record_versions") >= 3
    assert session.one("select count(*) from fuel.ingest_runs where role = 'fuel_ingest'") == 3
    assert session.ask("select id from fuel.fill_facts order by id") == [(1,), (2,)]
    assert session.ask("select vehicle from fuel.stale_vehicles") == []


def test_the_importer_applies_a_saved_plan_undoes_it_and_looks_back(importer: Table, session: Session) -> None:
    importer.snapshot([fill(1), fill(2)], at(0))
    [then] = importer.query("select clock_timestamp() as at")
    records = [fill(1, liters=50), fill(3)]
    shown = importer.load(envelope(records, at(1)), name="after.json", apply=False, wants_report=True)
    plan = Path(str(shown.summary.report))
    assert run(Request(mode="file", apply=True, plan=plan), importer.settings, importer.uri).exit_code == 0
    assert sorted(importer.live()) == [1, 3]
    for _ in range(2):  # undone, redone
        request = Request(mode="undo", apply=True, undo="last", overrides=EVERYTHING, wants_report=False)
        assert run(request, importer.settings, importer.uri).exit_code == 0
    assert sorted(importer.live()) == [1, 3]
    first = session.one("select run_id from fuel.ingest_runs order by finished_at limit 1")
    request = Request(mode="undo", apply=True, undo=first, overrides=EVERYTHING, skip_conflicts=True)
    assert run(request, importer.settings, importer.uri).exit_code == 0
    looked = importer.load(envelope(records, at(1)), name="after.json", apply=False, as_of=then["at"])
    assert looked.run["counts"] == shown.run["counts"]


def test_the_importer_deletes_nothing_and_changes_no_rules(session: Session, roles: dict[str, str]) -> None:
    session.one("select fuel.grant_rights()")
    session.insert([fill(1)])
    opened = Session(roles["fuel_ingest"])
    for statement in (
        "delete from fuel.records",
        "truncate fuel.records",
        "delete from fuel.record_versions",
        "update fuel.record_versions set raw = '{}'",
        "delete from fuel.ingest_runs",
        "update fuel.ingest_runs set status = 'applied'",
        "delete from fuel.rejects",
        "insert into fuel.fill_facts select * from fuel.fill_facts",
        "delete from fuel.fill_facts",
        "delete from fuel.stale_vehicles",
        "update fuel.stale_vehicles set vehicle = ''",
        "select fuel.mark_every_vehicle()",
        "update fuel.check_limit set value = 0",
        "insert into fuel.fuel_type_alias values ('X', 'DIESEL')",
        "alter table fuel.records disable trigger user",
        "drop table fuel.records",
        "create table fuel.mine ()",
        "select fuel.rebuild_reader()",
        "insert into fuel.devices values ('KCA542Q')",
        "update fuel.devices_state set is_broken = false",
        "select fuel.grant_rights()",
    ):
        assert refused(opened, statement), statement
    assert opened.one("select count(*) from reporting.v_fuel_fills") == 1
    opened.close()


def test_roles_that_do_not_exist_are_left_out_with_a_word(session: Session) -> None:
    assert session.one("select fuel.grant_rights()") == (
        "Role grafana_ro does not exist: nothing granted to it. Role fuel_ingest does not exist: nothing granted to it."
    )


def test_an_owner_who_is_no_superuser_may_migrate(
    postgres: PostgresServer, empty_database: str, roles: dict[str, str], new_role: NewRole
) -> None:
    """The schema belongs to an ordinary role, the schema of reports and the devices to somebody else."""
    name = empty_database.rsplit("/", 1)[1].partition("?")[0]
    admin = Session(empty_database)
    new_role(empty_database, "fuel_owner", LOGIN)
    admin.run(
        f"grant create on database {name} to fuel_owner;"
        "create schema reporting; grant usage, create on schema reporting to fuel_owner;"
        "create schema tracksolid; create table tracksolid.devices (vehicle_number text, imei text)"
    )
    owner = postgres.uri(name, user="fuel_owner", password="only here")
    try:
        with connect(owner) as database:
            receipt = apply_migrations(database, plan_migrations(database, packaged("migrations")), load_rules())
        assert receipt.devices is not None
        assert "fuel_owner may not read tracksolid.devices" in receipt.devices
        assert "ask its owner to grant usage on it to grafana_ro" in " ".join(receipt.rights)
        admin.run(
            "grant usage on schema tracksolid to fuel_owner; grant select on tracksolid.devices to fuel_owner;"
            "grant usage on schema reporting to grafana_ro;"
            "insert into tracksolid.devices values ('KCA 542Q', '1')"
        )
        with connect(owner) as database:
            receipt = apply_migrations(database, plan_migrations(database, packaged("migrations")), load_rules())
        assert receipt.devices is not None
        assert "it gives imei" in receipt.devices
        admin.run("""insert into fuel.records (id, raw) values (1, '{"car": "KCA 542Q"}')""")
        reader = Session(postgres.uri(name, user="grafana_ro", password="only here"))
        assert reader.one("select imei from reporting.v_fuel_fills") == "1"
        assert refused(reader, "select * from tracksolid.devices")
        reader.close()
    finally:
        admin.run("drop owned by grafana_ro, fuel_ingest")
        admin.close()
