"""A server that speaks German (`lc_messages`): exit codes and our own sentences are those of an English one."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import adbc_driver_postgresql.dbapi as adbc
import pytest
from faults.program import Program, Zygote, zygote
from table import envelope, fill, spoken

from fleetfuel.packaged import packaged
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import PostgresServer, postgres_server
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import apply_migrations, plan_migrations

pytestmark = pytest.mark.system

GERMAN: Final = "de_DE.UTF-8"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Debian's PostgreSQL, which has catalogues of messages, with a German locale made for it."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    with tempfile.TemporaryDirectory(prefix="fleetfuel-german-") as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        folder.chmod(0o755)
        made = ["/usr/bin/localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / GERMAN)]
        subprocess.run(made, check=True, capture_output=True)
        for program in programs.iterdir():
            (folder / program.name).symlink_to(program)
        speaker = folder / "postgres"
        speaker.unlink()
        speaker.write_text(f'#!/bin/sh\nLOCPATH={folder} exec {programs}/postgres "$@"\n')
        speaker.chmod(0o755)
        patch.setenv("FLEETFUEL_POSTGRES_BIN", name)
        with postgres_server() as started:
            yield started


@pytest.fixture(scope="module")
def migrated(server: PostgresServer) -> str:
    for each in (
        "role fuel_ingest",
        "database fuel",
        "database empty",
        "database closed",
        "role onlooker login password 'x'",
    ):
        run(server.uri(), f"create {each}")
    uri = server.uri("fuel")
    with connect(uri) as database:
        apply_migrations(database, plan_migrations(database, packaged("migrations")), load_rules())
    run(
        uri,
        "create role reader login password 'x' in role fuel_ingest; create role shut password 'x';"
        "create role many login password 'x' connection limit 0;"
        "grant usage on schema fuel to onlooker; revoke connect on database closed from public",
    )
    return uri


def run(uri: str, script: str) -> None:
    with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.executescript(script)


@contextmanager
def set_so(uri: str, wrong: str, right: str) -> Iterator[None]:
    run(uri, wrong)
    try:
        yield
    finally:
        run(uri, right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong, with what the command says of it in its own words."""

    code: int
    said: str
    url: Callable[[str], str] = lambda uri: uri
    wrong: str = "select 1"
    right: str = "select 1"
    words: tuple[str, ...] = ("import", "--file", "feed.json", "--apply", "--no-report", "--wait", "0")
    holds: str | None = None
    """A statement that somebody else's open transaction has run."""


def login(user: str, password: str = "x") -> Callable[[str], str]:
    return lambda uri: re.sub("//[^@]*@", f"//{user}:{password}@", uri)


def database(name: str) -> Callable[[str], str]:
    return lambda uri: uri.replace("/fuel", f"/{name}")


def options(text: str) -> Callable[[str], str]:
    return lambda uri: f"{uri}?options={urllib.parse.quote(text)}"


LOCK: Final = "lock table fuel.run_lock in share row exclusive mode"

FAULTS: Final = {
    "wrong password": Fault(code=77, said="Check user and password", url=login("reader", "y")),
    "no such role": Fault(code=77, said="Check user and password", url=login("nobody_here")),
    "a role that may not log in": Fault(code=77, said="whether the role may log in", url=login("shut")),
    "no database of that name": Fault(code=78, said="is no database of that server", url=database("nowhere")),
    "no right to connect": Fault(
        code=77, said="grant connect on database", url=lambda uri: login("reader")(database("closed")(uri))
    ),
    "too many connections": Fault(code=69, said="", url=login("many")),
    "a parameter that is none": Fault(code=78, said="Correct DATABASE_URL", url=options("-c nonsense=1")),
    "a value that does not fit": Fault(code=78, said="Correct DATABASE_URL", url=options("-c work_mem=much")),
    "a parameter that is fixed": Fault(code=78, said="Correct DATABASE_URL", url=options("-c block_size=1")),
    "a parameter for others": Fault(
        code=78,
        said="Correct DATABASE_URL",
        url=lambda uri: options("-c session_replication_role=replica")(login("reader")(uri)),
    ),
    "no schema": Fault(code=78, said="fleetfuel migrate", url=database("empty")),
    "no rights": Fault(code=77, said="", url=login("onlooker")),
    "no right to migrate": Fault(
        code=77,
        said="Migrating",
        url=lambda uri: login("onlooker")(database("empty")(uri)),
        words=("migrate",),
    ),
    "read only": Fault(
        code=78,
        said="read",
        wrong="alter database fuel set default_transaction_read_only = on",
        right="alter database fuel reset default_transaction_read_only",
    ),
    "another run": Fault(code=75, said="run holds the lock", holds=LOCK),
}


@pytest.fixture(scope="module")
def forks() -> Iterator[Zygote]:
    with zygote() as started:
        yield started


def outcome(fault: Fault, uri: str, forks: Zygote, folder: Path) -> tuple[int, str]:
    folder.mkdir()
    (folder / "feed.json").write_bytes(envelope([fill(1)]))
    words = [str(folder / word) if word == "feed.json" else word for word in fault.words]
    with (
        set_so(uri.replace("/fuel", "/postgres"), fault.wrong, fault.right),
        adbc.connect(uri) as other,
        other.cursor() as cursor,
    ):
        if fault.holds:
            cursor.execute(fault.holds)
        program: Program = forks.start(folder / "run", words, database=fault.url(uri), steps=False)
        code = program.wait()
    return code, spoken(program.err)


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_said_of_a_fault_is_not_a_matter_of_language(
    name: str, server: PostgresServer, migrated: str, forks: Zygote, tmp_path: Path
) -> None:
    fault = FAULTS[name]
    found = []
    for language in ("C", GERMAN):
        run(server.uri(), f"alter system set lc_messages = '{language}'")
        run(server.uri(), "select pg_reload_conf()")
        found.append(outcome(fault, migrated, forks, tmp_path / language))
    (code, english), (also, german) = found
    assert (code, also) == (fault.code, fault.code), found
    assert fault.said in english
    assert fault.said in german
    # Apart from the server's own words, which are quoted, the sentences are the same.
    assert [_ours(line) for line in english.splitlines()][1:] == [_ours(line) for line in german.splitlines()][1:]


def _ours(line: str) -> str:
    return re.sub(r"\([^()]*\)", "(…)", line)


def test_the_server_speaks_german(server: PostgresServer) -> None:
    run(server.uri(), f"alter system set lc_messages = '{GERMAN}'")
    run(server.uri(), "select pg_reload_conf()")
    with pytest.raises(adbc.Error, match="Division durch Null"):
        run(server.uri(), "select 1 / 0")
    assert shutil.which("localedef")
