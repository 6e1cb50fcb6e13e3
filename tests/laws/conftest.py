"""One database for all laws: an example costs a few deletes, not a clone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import adbc_driver_postgresql.dbapi as adbc
import pytest
from hypothesis import HealthCheck, settings

from fleetfuel.packaged import packaged
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import apply_migrations, plan_migrations

from .quick import Quick

settings.register_profile(
    "laws", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], print_blob=True
)
settings.load_profile("laws")


@pytest.fixture(scope="session")
def quick(postgres: PostgresServer) -> Iterator[Quick]:
    """The pipeline over one migrated database."""
    name = f"laws_{uuid.uuid4().hex}"
    with adbc.connect(postgres.uri(), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"create database {name}")
    uri, rules = postgres.uri(name), load_rules()
    with connect(uri) as database:
        apply_migrations(database, plan_migrations(database, packaged("migrations")), rules)
        with closing(Quick(database, uri, rules)) as opened:
            yield opened
