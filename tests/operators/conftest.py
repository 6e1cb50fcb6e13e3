"""An operator's world for each test; the servers are those of the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.sandbox.store import ObjectStore, object_store

from .stage import Stage, create_database


@pytest.fixture(scope="session")
def store() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture
def stage(tmp_path: Path, database_uri: str, store: ObjectStore) -> Stage:
    """A migrated database and an empty bucket."""
    return Stage(folder=tmp_path, url=database_uri, store=store)


@pytest.fixture
def empty_stage(tmp_path: Path, empty_database: str, store: ObjectStore) -> Stage:
    """A database without a schema, and an empty bucket."""
    return Stage(folder=tmp_path, url=empty_database, store=store)


@pytest.fixture(scope="session")
def lived_in(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, store: ObjectStore) -> Stage:
    """A database after some hours, to look at: loads, an edit by hand, a rejected record, a failure."""
    url = postgres.uri(create_database(postgres, "template1"))
    stage = Stage(folder=tmp_path_factory.mktemp("lived_in"), url=url, store=store)
    stage.done("migrate")
    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    stage.changes(edits=2, soft_deletes=1)
    stage.done("import", "--changes", "--apply")
    stage.sql('update fuel.records set raw = raw || \'{"amount": 1, "driver": "Nobody Else"}\' where id = 1200')
    stage.sql("delete from fuel.records where id = 1201")
    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    stage.snapshot(hard_deletes=800)
    assert stage.run("import", "--snapshot", "--apply").code == 3
    assert stage.run("import", "--snapshot", "--apply", RUSTFS_PREFIX="elsewhere/").code == 66
    return stage
