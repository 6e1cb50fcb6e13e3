"""No secret is said: not on the terminal, not in the ledger, not in a report, however it was written, whatever fails.

A password here begins with one word that stands nowhere else and ends with another, with something between them that a
URL, libpq or a message might stumble over. Neither word may come out of any command.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table import NewRole

from fleetfuel import errors
from fleetfuel.settings import read_settings
from fleetfuel.table.database import connect

from .stage import Finished, Stage

FIRST, LAST = "zebrafinch", "quagmire"
BETWEEN: Final = (
    *("%zz", "%", "%2", " ", "@", "/", "?", "#", ":", "&", "=", "+", "\\", "'", '"', "[", "]", "{", "}", "<", "|"),
    *("@host", "@@", "/x@y:z", "?sslmode=", "#a@b", ":5432/x@", "\t", "\n", "é", "\u202e", "%00", "%s{reason}", "://"),
    *("$HOME", ""),
)
PASSWORDS: Final = [f"{FIRST}{between}{LAST}" for between in BETWEEN]

COMMANDS: Final = (
    ("doctor", "--json"),
    ("status",),
    ("import", "--snapshot", "--apply"),
    ("import", "--snapshot", "--json"),
    ("import", "--changes", "--apply"),
    ("runs",),
    ("runs", "last", "--json"),
    ("history", "1", "--personal"),
    ("rejects", "--json"),
    ("migrate",),
    ("migrate", "--status"),
    ("prune", "--older-than", "1d"),
    ("-v", "import", "--snapshot", "--apply"),
)


def says_secret(text: str) -> bool:
    return FIRST in text or LAST in text


def urls(password: str, address: str) -> list[str]:
    """The ways in which people write a password into a URL; `address`: host, port and database."""
    return [
        f"postgresql://someone:{password}@{address}",
        f"postgresql://someone:{quote(password, safe='')}@{address}",
        f"postgresql://{address}?user=someone&password={password}",
        f"{password}://someone@{address}",
        password,
        f"host=127.0.0.1 password={password}",
    ]


def complaint(url: str) -> str:
    """What is said of a URL that nothing answers at."""
    try:
        with connect(read_settings({"DATABASE_URL": url}, Path("/nonexistent")).require_database_url()) as database:
            database.begin()
    except errors.FleetfuelError as error:
        return f"{error} {error!r} {error.facts}"
    raise AssertionError(f"something answers at {url!r}")


@pytest.mark.parametrize("password", PASSWORDS)
def test_an_error_about_the_database_does_not_say_the_password(password: str) -> None:
    for url in urls(password, "127.0.0.1:1/fuel"):
        assert not says_secret(complaint(url)), url


@settings(max_examples=60 * int(os.environ.get("FLEETFUEL_LAWS", "1")), deadline=None)
@given(st.lists(st.sampled_from(BETWEEN) | st.text(max_size=3), max_size=3).map("".join))
def test_nor_does_one_about_any_password_at_all(between: str) -> None:
    for url in urls(f"{FIRST}{between}{LAST}", "127.0.0.1:1/fuel")[:3]:
        assert not says_secret(complaint(url.replace("\0", "")))


def read(name: str, value: str) -> str:
    """What is said of a setting, and of those that hold it."""
    try:
        return repr(read_settings({name: value}, Path("/nonexistent")))
    except errors.FleetfuelError as error:
        return f"{error} {error.facts}"


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("name", ["RUSTFS_ENDPOINT", "RUSTFS_ACCESS_KEY", "RUSTFS_SECRET_KEY", "DATABASE_URL"])
def test_a_secret_in_a_setting_is_not_said_either(name: str, between: str) -> None:
    secret = f"{FIRST}{between}{LAST}"
    for value in (f"http://key:{secret}@127.0.0.1:1", f"http://{secret}@127.0.0.1:1", secret):
        assert not says_secret(read(name, value)), value


def everything_said(finished: Finished, stage: Stage) -> str:
    """Output, errors, and the files that the run left."""
    reports = (path for path in (stage.folder / "reports").rglob("*") if path.is_file())
    return finished.out + finished.err + "".join(path.read_bytes().decode("latin-1") for path in reports)


def ledger(stage: Stage) -> str:
    tables = ("ingest_runs", "ingest_starts", "ingest_files", "ingest_state", "rejects", "record_versions")
    return "".join(
        str(stage.sql(f"select coalesce(string_agg(t::text, ''), '') as said from fuel.{table} as t")[0])
        for table in tables
    )


def test_no_command_says_the_password_it_works_with(stage: Stage, new_role: NewRole) -> None:
    password = f"{FIRST}%zz @/?#:&+'é{LAST}"
    doubled = password.replace("'", "''")
    new_role(stage.url, "someone", f"superuser login password '{doubled}'")
    url = f"postgresql://someone:{quote(password, safe='')}@{stage.url.rpartition('@')[2]}"
    stage.snapshot(fills=3)
    for command in COMMANDS:
        done = stage.run(*command, DATABASE_URL=url, RUSTFS_SECRET_KEY=stage.env["RUSTFS_SECRET_KEY"])
        assert not says_secret(everything_said(done, stage)), (command, done)
        assert stage.env["RUSTFS_SECRET_KEY"] not in everything_said(done, stage), command
    assert not says_secret(ledger(stage))


BROKEN: Final = tuple(
    (command, url)
    for number, command in enumerate(COMMANDS)
    for url in [urls(f"{FIRST}{BETWEEN[number * 5 % len(BETWEEN)]}{LAST}", "127.0.0.1:1/fuel")[number % 6]]
)


@pytest.mark.parametrize(("command", "url"), BROKEN, ids=[" ".join(command) for command, _ in BROKEN])
def test_no_command_says_a_password_that_does_not_work(stage: Stage, command: tuple[str, ...], url: str) -> None:
    for form in ("text", "json"):
        done = stage.run(*command, DATABASE_URL=url, FLEETFUEL_LOG=form)
        assert done.code != 0
        assert not says_secret(everything_said(done, stage)), (command, url, done)


def test_no_command_says_a_secret_of_the_bucket(stage: Stage) -> None:
    for changed in (
        {"RUSTFS_ENDPOINT": f"http://key:{FIRST}@127.0.0.1:1/{LAST}"},
        {"RUSTFS_ENDPOINT": f"http://127.0.0.1:1?secret={FIRST}"},
        {"RUSTFS_SECRET_KEY": f"{FIRST}\n{LAST}"},
        {"RUSTFS_SECRET_KEY": f"{FIRST} {LAST}"},
        {"RUSTFS_ACCESS_KEY": f"{FIRST}é"},
    ):
        for command in (("doctor", "--json"), ("import", "--snapshot", "--apply"), ("runs", "last", "--json")):
            done = stage.run(*command, **changed)
            assert not says_secret(everything_said(done, stage)), (command, changed, done)
    assert not says_secret(ledger(stage))
