"""A database of its own for each test, and a short way of asking it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import adbc_driver_postgresql.dbapi as adbc
import pytest

CASES: Final = Path(__file__).parents[1] / "cases"


class Session:
    """One connection; each statement is its own transaction."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.stores_facts = False
        """Whether facts of fills are computed and stored once records are in, or left for the views to compute."""
        self._connection = adbc.connect(uri, autocommit=True)

    def ask(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The rows of one statement. Numbers of type numeric and JSON are to be cast to text in it."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return [tuple(row) for row in cursor.fetchall()]

    def one(self, sql: str, *parameters: object) -> Any:
        """The only value of the only row."""
        ((value,),) = self.ask(sql, *parameters)
        return value

    def run(self, script: str) -> None:
        """Statements without parameters."""
        with self._connection.cursor() as cursor:
            cursor.executescript(script)

    def plan(self, query: str) -> list[dict[str, Any]]:
        """Run a query and return the nodes of its plan, outermost first."""
        self.run(
            "create or replace function pg_temp.explained(query text) returns text language plpgsql as $$"
            " declare plan text; begin execute 'explain (analyze, timing off, format json) ' || query into plan;"
            " return plan; end $$"
        )
        nodes = [json.loads(self.one("select pg_temp.explained($1)", query))[0]["Plan"]]
        for node in nodes:
            nodes.extend(node.get("Plans", []))
        return nodes

    def insert(self, records: Iterable[object], *, first_id: int = 1) -> None:
        """Store each as the `raw` of a record, numbered from `first_id`."""
        self.ask(
            "insert into fuel.records (id, raw) select $2::bigint + n - 1, r"
            " from jsonb_array_elements($1::jsonb) with ordinality as x (r, n) returning id",
            json.dumps(list(records)),
            first_id,
        )

        self.settle()

    def settle(self) -> None:
        """Store facts of every stale vehicle, if this session does that."""
        if self.stores_facts:
            while self.one("select vehicles from fuel.refresh_fill_facts(7)"):
                pass

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def session(database_uri: str) -> Iterator[Session]:
    """A connection to a fresh database with the schema and the shipped rules."""
    opened = Session(database_uri)
    yield opened
    opened.close()


@pytest.fixture(params=["stale", "stored"])
def facts(request: pytest.FixtureRequest, session: Session) -> Session:
    """The same, for what is true of the views whether facts of fills are stored or not."""
    session.stores_facts = request.param == "stored"
    return session


def _load(session: Session, *, devices: bool) -> None:
    folder = CASES / "fleet_month"
    if devices:
        session.run(
            "create schema tracksolid;"
            "create table tracksolid.devices"
            " (imei text primary key, vehicle_number text, cost_centre text, assigned_city text, sim text)"
        )
        session.ask(
            "insert into tracksolid.devices (imei, vehicle_number, cost_centre, assigned_city)"
            " select * from jsonb_to_recordset($1::jsonb)"
            " as d (imei text, vehicle_number text, cost_centre text, assigned_city text) returning imei",
            (folder / "devices.json").read_text(encoding="utf-8"),
        )
        session.one("select said from fuel.copy_devices(true)")
    session.ask(
        "insert into fuel.records (id, raw) select (r ->> 'id')::bigint, r from jsonb_array_elements($1::jsonb) as r"
        " returning id",
        (folder / "records.json").read_text(encoding="utf-8"),
    )
    session.run("update fuel.records set absent_since = '2026-03-10 00:00:00Z' where id = 58")
    session.settle()


@pytest.fixture
def fleet_month(session: Session) -> Session:
    """The month of tests/cases/fleet_month, with the devices of its vehicles."""
    _load(session, devices=True)
    return session


@pytest.fixture
def fleet_month_without_devices(session: Session) -> Session:
    """The same month if no table of devices exists."""
    _load(session, devices=False)
    return session
