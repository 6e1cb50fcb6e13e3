"""No function, statement or connection of ours finds anything in a schema that somebody else may create in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from table import NewRole, Table, fill

from fleetfuel.packaged import packaged
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import apply_migrations, plan_migrations

from .conftest import Session

TYPES: Final = (
    "bool",
    "date",
    "int4",
    "int8",
    "jsonb",
    "name",
    "numeric",
    "oid",
    "text",
    "timestamptz",
    "uuid",
    "xid8",
)
"""Types that the bodies of our functions name, by the names that they are found under."""

LURES: Final = (
    "pg_column_size(jsonb)",
    "cardinality(text[])",
    "array_to_string(text[],text)",
    "array_remove(text[],text)",
    "unnest(text[])",
    "format(text,text)",
    "format(text,text,text)",
    "format(text,bigint)",
    "concat(text,text)",
    "num_nulls(text,text)",
    "jsonb_build_object(text,text)",
    "to_jsonb(text)",
    "to_jsonb(jsonb)",
    "array_length(text[],integer)",
    "array_position(text[],text)",
    "width_bucket(date,date[])",
    "pg_typeof(text)",
    "quote_literal(bigint)",
    "quote_nullable(bigint)",
    "array_cat(text[],text[])",
    "array_append(text[],text)",
    "lag(bigint)",
    "lag(text)",
    "lag(timestamptz)",
    "lead(bigint)",
)
"""Functions of PostgreSQL that take anything, each as somebody could make one that fits better."""

AGGREGATES: Final = ("count(bigint)", "count(text)", "array_agg(text)", "jsonb_agg(text)", "max(jsonb)")

DEFINERS: Final = "select p.proname::text from pg_proc as p where p.prosecdef and p.pronamespace = 'fuel'::regnamespace"

EVIL: Final = "language plpgsql as $$ begin raise exception 'evil ran as %', current_user; end $$"


def test_every_function_pins_its_search_path_or_is_bound(session: Session) -> None:
    found = session.ask(
        "select p.oid::regprocedure::text, p.prosecdef, p.prosqlbody is not null, coalesce(p.proconfig::text, '')"
        " from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace where n.nspname in ('fuel', 'reporting')"
    )
    assert len(found) > 15
    for function, is_definer, is_bound, settings in found:
        pins = '"search_path=pg_catalog, pg_temp"' in settings
        assert pins or (is_bound and not is_definer), function


def test_nothing_is_called_with_the_rights_of_its_owner_but_what_has_to_be(session: Session) -> None:
    """A new one is to be thought about: what does it read that its caller may write?"""
    assert {name for (name,) in session.ask(DEFINERS)} == {
        "copy_devices", "forget_facts", "keep_version", "mark_every_vehicle", "mark_vehicles",
        "mark_where_rules_changed", "refresh_fill_facts",
        # What the reports compute with: they read records for whoever may read the reports.
        "differences", "doubt", "driver_of", "explaining_record", "explanation", "facts_apart", "facts_of", "fuel_of",
        "said_time", "text_of", "twins_of",
    }  # fmt: skip


def lay_types(session: Session) -> None:
    """Types of this session that stand before PostgreSQL's own wherever pg_temp is searched first."""
    session.run(f"create function pg_temp.evil(value pg_catalog.text) returns pg_catalog.bool {EVIL}")
    for name in TYPES:
        session.run(f"create domain pg_temp.{name} as pg_catalog.{name} check (pg_temp.evil(value::pg_catalog.text))")


def test_a_type_of_the_callers_own_is_not_taken_for_text(
    session: Session, postgres: PostgresServer, new_role: NewRole
) -> None:
    new_role(session.uri, "fuel_ingest", "login password 'only here'")
    session.one("select fuel.grant_rights()")
    name = session.one("select current_database()::text")
    caller = Session(postgres.uri(name, user="fuel_ingest", password="only here"))
    try:
        lay_types(caller)
        with pytest.raises(Exception, match="evil ran as fuel_ingest"):
            caller.one("select 'x'::text::pg_catalog.varchar")
        caller.run("""insert into fuel.records (id, raw) values (1, '{"car": "KCA 542Q", "liters": 40}')""")
        caller.run("""update fuel.records set raw = '{"car": "KCA 543Q", "liters": "41 "}' where id = 1""")
        assert caller.one("select vehicles from fuel.refresh_fill_facts(100)") == 2
    finally:
        caller.close()


def test_every_function_is_deaf_to_types_of_its_caller(session: Session) -> None:
    session.insert([fill(1), fill(2, car="KCA 542Q/KDA 717B", liters="KSH 7,200/=", department="Ops. dept.")])
    lay_types(session)
    for call in (
        "fuel.rebuild_reader()", "fuel.rederive()", "fuel.grant_rights()", "fuel.mark_every_vehicle()",
        "fuel.norm_plate('KCA 542Q')", "fuel.clean_label('v-power')", "fuel.clean_department('Ops. dept.')",
        "fuel.canon_fuel_type('ago')", "fuel.canon_department('ops')", "fuel.read_number('7,200')",
        "fuel.read_time('2026-06-10-09-30', 'UTC')", "fuel.has_plate_shape('KCA542Q')", "(fuel.derive('{}', now())).id",
        "vehicles from fuel.refresh_fill_facts(100)", "said from fuel.copy_devices(true)",
    ):  # fmt: skip
        session.ask(f"select {call}")
    session.run("delete from fuel.fuel_type_alias where alias = 'AGO'")
    session.run("delete from fuel.check_limit where code = 'odd_hours'")
    session.run("delete from fuel.records where id = 1; truncate fuel.records")


def lay_lures(uri: str, postgres: PostgresServer, new_role: NewRole) -> None:
    """What a role that may create in `public`, as every role might before PostgreSQL 15, can lay there."""
    new_role(uri, "planter", "login password 'only here'")
    admin = Session(uri)
    admin.run("grant create, usage on schema public to planter")
    planter = Session(postgres.uri(admin.one("select current_database()::text"), user="planter", password="only here"))
    for lure in LURES:
        name, _, given = lure.partition("(")
        planter.run(f"create function public.{name}({given} returns pg_catalog.text {EVIL}")
    for aggregate in AGGREGATES:
        name, _, given = aggregate.rstrip(")").partition("(")
        planter.run(f"create function public.evil_{name}(state text, value {given}) returns text {EVIL}")
        planter.run(
            f"create aggregate public.{name}({given}) (sfunc = public.evil_{name}, stype = text, initcond = '')"
        )
    planter.close()
    admin.close()


def test_what_lies_in_public_is_not_called(
    empty_database: str, postgres: PostgresServer, new_role: NewRole, tmp_path: Path
) -> None:
    """Neither while migrating nor while importing, nor by a person who edits and reads with the usual search path."""
    lay_lures(empty_database, postgres, new_role)
    session = Session(empty_database)
    with pytest.raises(Exception, match="evil ran"):
        session.one("select pg_column_size('{}'::jsonb)")
    with connect(empty_database) as database:
        apply_migrations(database, plan_migrations(database, packaged("migrations")), load_rules())
    table = Table(empty_database, tmp_path)
    table.snapshot([fill(1, raw_message="x" * 3000), fill(2), fill(3, car="KDA 717B"), 5])
    table.changes([fill(1, liters=50), fill(2, deleted_at="2026-06-11 13:00:00")])
    table.snapshot([fill(1, liters=50)])
    session.run("""update fuel.records set raw = raw || '{"liters": 51}'; delete from fuel.records where id = 1""")
    for view in ("v_fuel_fills", "v_fuel_efficiency", "v_fuel_anomalies", "v_ingest_health", "v_ingest_runs"):
        session.ask(f"select v::text from reporting.{view} as v")
    with connect(empty_database) as database:
        apply_migrations(database, plan_migrations(database, packaged("migrations")), load_rules())
    table.close()
    session.close()
