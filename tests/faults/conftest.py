"""How often to try, for how long, and the tally at the end."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import pytest
from _pytest.terminal import TerminalReporter
from table import EMPTY, NUMBERED, STATE

from fleetfuel.packaged import packaged
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import apply_migrations, plan_migrations

from .feed import write_feed
from .footprint import Evidence, Footprint, read_reports, take_footprint
from .program import PATIENCE, Zygote, zygote

KILLS = 25


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--kills", type=int, default=KILLS, help="kills at random instants (default: %(default)s)")
    group.addoption("--soak", type=float, default=0.0, metavar="MINUTES", help="go on killing at random for so long")
    group.addoption("--fault-seed", type=int, default=None, help="seed of the random instants (default: a new one)")


class Tally:
    """What a test tried; it travels with the test's report, so that it is summed up whoever ran the test."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._properties = request.node.user_properties

    def add(self, what: str, number: int = 1) -> None:
        self._properties.append((f"tally {what}", number))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    return Tally(request)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    sums: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for each in reports:
            if getattr(each, "when", None) == "call":
                for name, number in each.user_properties:
                    sums[name] += number if str(name).startswith("tally ") else 0
    if sums:
        reported = {name: sums[f"tally {name}"] for name in ("kills tried", "faults tried", "rows lost")}
        terminalreporter.write_line(", ".join(f"{name} {number}" for name, number in reported.items()))


@pytest.fixture(scope="session")
def forks() -> Iterator[Zygote]:
    """The process that forks the program."""
    with zygote() as running:
        yield running


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random instants; a failing test shows the seed that repeats them."""
    seed = request.config.getoption("--fault-seed", default=None) or random.SystemRandom().randrange(10**9)
    print(f"--fault-seed {seed}")
    return random.Random(seed)


@dataclass(slots=True, kw_only=True, eq=False)
class Ground:
    """A database that holds the first snapshot, as often as one likes, and what the second one makes of it."""

    server: PostgresServer
    template: str
    following: Path
    forks: Zygote
    folder: Path
    before: Footprint
    once: Footprint
    """After an undisturbed import of the second snapshot."""
    twice: Footprint
    """After that and another: what a run killed after its commit, and its repetition, leave."""
    evidence: Evidence
    """The report of that import."""
    steps: list[str]
    """The steps of an undisturbed run, in order."""
    seconds: float
    """What it took."""

    @property
    def argv(self) -> list[str]:
        return ["import", "--file", str(self.following), "--as", "snapshot", "--apply"]

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URI of a fresh copy; it is dropped afterwards."""
        name = copy_database(self.server, self.template)
        try:
            yield self.server.uri(name)
        finally:
            drop_database(self.server, name)

    def reset(self) -> str:
        """The URI of the database that all trials share, put back to what the first snapshot left."""
        name = f"{self.template}_arena"
        administer(self.server, RESTORE, name)
        return self.server.uri(name)

    @contextmanager
    def locked(self, uri: str) -> Iterator[None]:
        """Somebody else holds fuel.records, all of it."""
        with adbc.connect(uri) as connection, connection.cursor() as cursor:
            cursor.execute("lock table fuel.records in access exclusive mode")
            yield
            connection.rollback()

    @contextmanager
    def trial(self) -> Iterator[Path]:
        """A fresh folder for a trial's processes and their reports."""
        path = self.folder / uuid.uuid4().hex
        path.mkdir()
        yield path
        shutil.rmtree(path)


SAVE = "".join(["create schema saved;", *(f"create table saved.{name} as table fuel.{name};" for name in STATE)])
RESTORE = "".join([
    EMPTY,
    "set session_replication_role = replica;",
    *(f"insert into fuel.{name} overriding system value select * from saved.{name};" for name in STATE),
    *(  # the next number is one that no row has
        f"select setval(pg_get_serial_sequence('fuel.{name}', '{key}'), coalesce(max({key}), 0) + 1, false)"
        f" from fuel.{name};"
        for name, key in NUMBERED.items()
    ),
])  # fmt: skip


def administer(server: PostgresServer, statement: str, database: str = "postgres") -> None:
    """Run a script as the superuser; `database` is a name or a URI."""
    uri = database if "://" in database else server.uri(database)
    with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.executescript(statement)


def query(uri: str, statement: str) -> list[dict[str, Any]]:
    with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        found: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
        return found


def until(done: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def copy_database(server: PostgresServer, template: str) -> str:
    name = f"faults_{uuid.uuid4().hex}"
    administer(server, f"create database {name} template {template} strategy = file_copy")
    return name


def drop_database(server: PostgresServer, name: str) -> None:
    administer(server, f"drop database {name} with (force)")


def migrated_database(server: PostgresServer) -> str:
    name = copy_database(server, "template1")
    with connect(server.uri(name)) as database:
        apply_migrations(database, plan_migrations(database, packaged("migrations")), load_rules())
    return name


def make_ground(server: PostgresServer, forks: Zygote, folder: Path) -> Ground:
    first, following = write_feed(folder)
    template = migrated_database(server)
    uri = server.uri(template)
    argv = ["import", "--apply", "--as", "snapshot", "--file"]
    begun = forks.start(folder / "base" / "1", [*argv, first], database=uri)
    assert begun.wait() == 0, begun.err
    before = take_footprint(uri)
    name = copy_database(server, template)
    try:
        uri = server.uri(name)
        # The second of two alike costs what the trials will cost: files and caches are warm.
        started = time.monotonic()
        second = forks.start(folder / "calm" / "2", [*argv, following], database=uri)
        assert second.wait() == 0, second.err
        seconds = time.monotonic() - started
        once = take_footprint(uri)
        third = forks.start(folder / "calm" / "3", [*argv, following], database=uri)
        assert third.wait() == 0, third.err
        twice = take_footprint(uri)
    finally:
        drop_database(server, name)
    evidence = read_reports(folder / "calm" / "reports")
    administer(server, f"create database {template}_arena template {template} strategy = file_copy")
    administer(server, SAVE, f"{template}_arena")
    return Ground(
        server=server, template=template, following=following, forks=forks, folder=folder, before=before, once=once,
        twice=twice, evidence=evidence[once.run_ids[-1]], steps=list(dict.fromkeys(second.seen)), seconds=seconds,
    )  # fmt: skip


@pytest.fixture(scope="session")
def ground(postgres: PostgresServer, forks: Zygote) -> Iterator[Ground]:
    with tempfile.TemporaryDirectory(prefix="fleetfuel-faults-") as folder:
        yield make_ground(postgres, forks, Path(folder))
