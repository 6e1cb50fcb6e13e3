"""What a role that may only import can make up: nothing about another run, another role or another time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from table import NewRole, Table, fill

from fleetfuel.sandbox.postgres import PostgresServer

from .conftest import Session
from .test_rights import LOGIN, refused


@pytest.fixture
def forger(table: Table, postgres: PostgresServer, new_role: NewRole) -> Iterator[Session]:
    """The importer's role, after it ran two imports of its own."""
    new_role(table.uri, "fuel_ingest", LOGIN)
    admin = Session(table.uri)
    admin.one("select fuel.grant_rights()")
    name = admin.one("select current_database()::text")
    table.uri = postgres.uri(name, user="fuel_ingest", password="only here")
    table.snapshot([fill(1), fill(2), 5])
    table.snapshot([fill(1, liters=41), fill(2), 5])
    opened = Session(table.uri)
    yield opened
    opened.close()
    admin.close()


RUN = "(select run_id from fuel.ingest_runs order by finished_at limit 1)"
LINE = (
    "insert into fuel.ingest_runs (run_id, mode, source, started_at, status, exit_code, version{})"
    " values ('r', 'file', 's', now(), 'applied', 0, '1'{})"
)
FILE = (
    "insert into fuel.ingest_files (key, etag, size, file_at, status, run_id)"
    " values ('k', 'e', 1, now(), 'applied', {})"
)
MARK = "insert into fuel.ingest_state (feed, watermark, run_id) values ('changes', {}, {})"


@pytest.mark.parametrize(
    "statement",
    [
        f"insert into fuel.record_versions (id, raw, valid_from, replaced_by_run) values (1, '{{}}', now(), {RUN})",
        "update fuel.record_versions set raw = '{}'",
        "delete from fuel.record_versions",
        LINE.format(", role", ", 'postgres'"),
        "update fuel.ingest_runs set message = 'x'",
        "update fuel.ingest_state set watermark = '9999-01-01'",
        "update fuel.ingest_state set watermark = '2020-01-01'",
        "update fuel.ingest_state set proof = null",
        MARK.format("now()", RUN),
        FILE.format(RUN),
        FILE.format("'no such run'"),
        "update fuel.ingest_files set status = 'quarantined'",
        LINE.format("", "") + "; " + MARK.format("'9999-01-01'", "'r'"),
        "insert into fuel.schema_objects values ('x', 1, 'drop table fuel.records')",
        "update fuel.schema_migrations set checksum = ''",
        "update fuel.rules_state set digest = ''",
    ],
)
def test_the_importer_forges_nothing(forger: Session, statement: str) -> None:
    assert refused(forger, statement)


def test_an_edit_by_hand_does_not_pass_for_an_earlier_run(forger: Session, table: Table) -> None:
    """It is kept as what it is: by hand, and by whom."""
    forger.run(f"update fuel.records set raw = '{{\"id\": 1}}', run_id = {RUN} where id = 1")
    (line,) = table.query(
        "select replaced_by_run, replaced_by_role from fuel.record_versions order by version_id desc limit 1"
    )
    assert (line["replaced_by_run"], line["replaced_by_role"]) == (None, "fuel_ingest")


def test_what_a_run_replaces_is_reported_with_its_id(forger: Session, table: Table) -> None:
    lines = table.query(
        "select v.replaced_by_run = r.run_id as is_reported from fuel.record_versions as v"
        " cross join lateral (select run_id from fuel.ingest_runs order by finished_at desc limit 1) as r"
        " where v.id = 1"
    )
    assert [line["is_reported"] for line in lines] == [True]
