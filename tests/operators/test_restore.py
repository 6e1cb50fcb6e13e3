"""The README's backup and restore, run: the next import goes on where the dump ended."""

from __future__ import annotations

from dataclasses import replace

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
