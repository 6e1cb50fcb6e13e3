"""One database that many bad files share: what one leaves, the next meets."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import adbc_driver_postgresql.dbapi as adbc
import pytest
from table import Table

from fleetfuel.sandbox.postgres import PostgresServer


def new_table(postgres: PostgresServer, template: str, folders: pytest.TempPathFactory) -> Table:
    name = f"test_{uuid.uuid4().hex}"
    with adbc.connect(postgres.uri(), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.executescript(f"create database {name} template {template} strategy = file_copy")
    return Table(postgres.uri(name), folders.mktemp("poison"))


@pytest.fixture(scope="module")
def shared_tables(
    postgres: PostgresServer, _template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Table]]:
    """Two fresh tables for all tests of a module."""
    tables = [new_table(postgres, _template, tmp_path_factory) for _ in range(2)]
    yield tables
    for each in tables:
        each.close()


@pytest.fixture(scope="module")
def shared_table(postgres: PostgresServer, _template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """A fresh table for all tests of a module."""
    table = new_table(postgres, _template, tmp_path_factory)
    yield table
    table.close()
