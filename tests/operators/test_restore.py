"""The README's backup and restore, run: the next import goes on where the dump ended."""

from __future__ import annotations

from dataclasses import replace

import adbc_driver_postgresql.dbapi as adbc
from table import NewRole

from fleetfuel.sandbox.postgres import PostgresServer

from .blocks import marked
from .stage import Stage, create_database

ROWS = "select id, raw::text as raw, deleted_at, absent_since, plate, fingerprint from fuel.records order by id"


def test_a_dump_restored_elsewhere_goes_on(stage: Stage, postgres: PostgresServer, new_role: NewRole) -> None:
    new_role(stage.url, "grafana_ro", "nologin")
    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    stage.sql("update fuel.records set raw = raw || '{\"amount\": 1}' where id = 1200")
    before = stage.sql(ROWS)
    fresh = replace(stage, url=postgres.uri(create_database(postgres, "template1")))
    stage.env["RESTORE_URL"] = fresh.url
    tools = postgres.bin
    stage.shell(f'PATH="{tools}:$PATH"; {marked("run")["backup"]}')
    restore = marked("run")["restore"].splitlines()
    stage.shell(f'PATH="{tools}:$PATH"; {restore[0]}')
    assert fresh.sql(ROWS) == before
    assert "applied" in stage.shell("\n".join(restore[1:]))
    healed = {row["id"]: row for row in fresh.sql(ROWS)}
    assert '"amount": 1}' not in str(healed[1200]["raw"])
    assert fresh.done("doctor", "--quick", DATABASE_URL=fresh.url).code == 0
    assert len(fresh.sql("select run_id from fuel.ingest_runs")) == 2


OURS = """
    select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('fuel', 'reporting')
    union all
    select n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('fuel', 'reporting')
    union all
    select t.evtname from pg_event_trigger t
"""


def test_what_the_readme_removes_is_all_that_is_ours(database_uri: str) -> None:
    with adbc.connect(database_uri, autocommit=True) as connection, connection.cursor() as cursor:

        def left() -> set[str]:
            cursor.execute(OURS)
            return {name for (name,) in cursor.fetchall()}

        assert len(left()) > 50
        cursor.executescript("create view reporting.v_of_others as select 1 as one")
        cursor.executescript(marked("run")["remove"])
        assert left() == {"reporting.v_of_others"}
        cursor.execute("select count(*) from pg_namespace where nspname = 'fuel'")
        assert cursor.fetchone() == (0,)
