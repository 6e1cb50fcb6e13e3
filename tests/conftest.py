"""One PostgreSQL a session; a database of its own for each test that asks for one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import adbc_driver_postgresql.dbapi as adbc
import pytest
from orphans import none_is_left
from table import NewRole, Table

from fleetfuel.packaged import packaged
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import PostgresServer, postgres_server
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import apply_migrations, plan_migrations


@pytest.fixture(scope="session", autouse=True)
def no_orphan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test leaves a process. It is the first fixture of a session, so the last to end."""
    scratch = tmp_path_factory.getbasetemp()  # of one of several workers, or of the session
    ours = scratch.parent if scratch.name.startswith("popen-") else scratch
    yield from none_is_left(ours, Path(__file__).parents[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server; FLEETFUEL_TEST_POSTGRES picks its major version."""
    with postgres_server(version=os.environ.get("FLEETFUEL_TEST_POSTGRES")) as server:
        yield server


def _create_database(server: PostgresServer, template: str) -> str:
    name = f"test_{uuid.uuid4().hex}"
    with adbc.connect(server.uri(), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.executescript(f"create database {name} template {template} strategy = file_copy")
    return name


@pytest.fixture
def empty_database(postgres: PostgresServer) -> str:
    """The URI of a fresh database without a schema."""
    return postgres.uri(_create_database(postgres, "template1"))


@pytest.fixture(scope="session")
def _template(postgres: PostgresServer) -> str:
    name = _create_database(postgres, "template1")
    with connect(postgres.uri(name)) as database:
        apply_migrations(database, plan_migrations(database, packaged("migrations")), load_rules())
    return name


@pytest.fixture
def database_uri(postgres: PostgresServer, _template: str) -> str:
    """The URI of a fresh database with the schema and the shipped rules."""
    return postgres.uri(_create_database(postgres, _template))


@pytest.fixture(scope="module")
def _tables(postgres: PostgresServer, _template: str) -> list[str]:
    """Two databases for the tests of a module that only fill tables."""
    return [postgres.uri(_create_database(postgres, _template)) for _ in range(2)]


@pytest.fixture
def table(_tables: list[str], tmp_path: Path) -> Iterator[Table]:
    """An empty fuel.records, and the means to load it from files and to look at it."""
    with closing(Table(_tables[0], tmp_path)) as emptied:
        yield emptied


@pytest.fixture
def another_table(_tables: list[str], tmp_path: Path) -> Iterator[Table]:
    """A second one, for the other way to the same end."""
    with closing(Table(_tables[1], tmp_path / "another")) as emptied:
        yield emptied


@pytest.fixture
def new_role() -> Iterator[NewRole]:
    """Creates a role (URI of the database it has to do with, name, options) that goes with the test, as roles belong
    to the server, which tests share."""
    made: list[tuple[str, str]] = []

    def run(uri: str, script: str) -> None:
        with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.executescript(script)

    def concerned(uri: str, name: str) -> list[str]:
        """A URI for each database in which the role may have a right: a test may restore a dump into a second one."""
        with adbc.connect(uri) as connection, connection.cursor() as cursor:
            cursor.execute(
                "select distinct datname from pg_catalog.pg_shdepend"
                " join pg_catalog.pg_database on pg_database.oid = dbid"
                f" where refclassid = 'pg_catalog.pg_authid'::regclass and refobjid = '{name}'::regrole"
            )
            parts = urlsplit(uri)
            return [uri, *(urlunsplit(parts._replace(path=f"/{database}")) for (database,) in cursor.fetchall())]

    def create(uri: str, name: str, options: str) -> None:
        run(uri, f"create role {name} {options}")
        made.append((uri, name))

    yield create
    for uri, name in reversed(made):
        for each in concerned(uri, name):
            run(each, f"drop owned by {name} cascade")
        run(uri, f"drop role {name}")
