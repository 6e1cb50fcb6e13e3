"""The same commands in twenty-odd surroundings: locales, limits, folders, users, closed streams, foreign variables.

Whatever they are, the outcome is one that the exit codes name: never a bug (70), never Python's own 1 or a signal, and
what was loaded is what the feed says. FLEETFUEL_ENVIRONMENTS=full runs every command in each, not the shortest way.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.sandbox.store import ObjectStore

from .stage import Stage, create_database, environment

FOREIGN = {
    "PANDERA_VALIDATION_ENABLED": "False",
    "PANDERA_VALIDATION_DEPTH": "SCHEMA_ONLY",
    "POLARS_MAX_EXPR_DEPTH": "1",
    "POLARS_MAX_THREADS": "0",
    "POLARS_ENGINE_AFFINITY": "gpu",
    "POLARS_QUERY_MONITORING": "1",
    "AWS_PROFILE": "nobody",
    "AWS_CA_BUNDLE": "/nowhere",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_RETRY_MODE": "none of them",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}
NOT_OURS = "unshare --user --map-user=54321 --map-group=54321"
"""Another user, without a name or a home, if the kernel lets us be one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One surrounding."""

    env: dict[str, str | None] = field(default_factory=dict)
    shell: str = ""
    """Run first in the shell that becomes the program; `$@` is the program."""
    python: tuple[str, ...] = ()
    """Python's own options."""
    codes: frozenset[int] = frozenset({0})
    """What an import may end with."""


def cell(shell: str = "", *, codes: tuple[int, ...] = (0,), python: tuple[str, ...] = (), **env: str | None) -> Cell:
    return Cell(env=dict(env), shell=shell, python=python, codes=frozenset(codes))


CELLS = {
    "plain": cell(),
    "C": cell(LC_ALL="C", LANG=None),
    "ASCII": cell(LC_ALL="POSIX", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0", PYTHONIOENCODING="ascii"),
    "ISO-8859-1": cell(LANG="en_US.ISO-8859-1", PYTHONIOENCODING="latin-1", PYTHONUTF8="0"),
    "a locale that is none": cell(LC_ALL="tlh_QO.KOI8-Ж"),
    "another zone": cell(TZ="Pacific/Kiritimati", PGTZ="America/New_York", PGDATESTYLE="German, DMY"),
    "a zone that is none": cell(TZ=":/nowhere"),
    "umask 077": cell("umask 077"),
    "umask 0777": cell("umask 0777", codes=(0, 73)),
    "no HOME": cell(HOME=None),
    "a HOME that is none": cell(HOME="/nowhere/at/all"),
    "another user": cell('exec other "$@"', HOME=None, codes=(0, 73)),
    "a folder that may not be written to": cell('mkdir -p shut; cd shut; chmod 0555 .; exec other "$@"', codes=(0, 73)),
    "a folder that is gone": cell("mkdir gone; cd gone; rmdir ../gone", codes=(78,)),
    "a folder of secrets": cell("mkdir -p odd/.env; cd odd"),
    "a .env in UTF-16": cell("mkdir -p odd16; cd odd16; printf '\\377\\376R\\0' > .env", codes=(78,)),
    "a .env in latin-1": cell("mkdir -p odd1; cd odd1; printf 'RUSTFS_REGION=\\344\\n' > .env", codes=(78,)),
    "no temporary folder": cell(TMPDIR="/nowhere/at/all", codes=(73,)),
    "stdin closed": cell("exec <&-"),
    "stdout closed": cell("exec >&-", codes=(73,)),
    "stderr closed": cell("exec 2>&-"),
    "all closed": cell("exec <&- >&- 2>&-", codes=(73,)),
    "stdout full": cell("exec >/dev/full", codes=(73,)),
    "-O": cell(python=("-O",)),
    "-OO": cell(PYTHONOPTIMIZE="2"),
    "-W error": cell(PYTHONWARNINGS="error", PYTHONDEVMODE="1"),
    "small numbers": cell(PYTHONINTMAXSTRDIGITS="640", PYTHONHASHSEED="7"),
    "20 files": cell("ulimit -n 20", codes=(0, 69, 73, 78)),
    "64 files": cell("ulimit -n 64", codes=(0, 78)),
    "no file may grow": cell("ulimit -f 0", codes=(0, 73)),
    "a terminal one column wide": cell(COLUMNS="1", TERM="dumb", NO_COLOR="1"),
    "other libraries' variables": Cell(env=dict(FOREIGN)),
    "libpq's encoding": cell(PGCLIENTENCODING="SQL_ASCII", PGAPPNAME="x", PGOPTIONS="-c search_path=public"),
    "libpq's variables, wrong": cell(PGSSLMODE="verify-full", PGREQUIREAUTH="none", codes=(77, 78)),
    "a proxy that is none": cell(HTTP_PROXY="socks9://[::1", http_proxy="socks9://[::1", NO_PROXY="", codes=(0, 78)),
    "a name that is none": cell(FLEETFUEL_REPROTS="x", RUSTFS_BUKET="y"),
    "line ends of secrets": cell(RUSTFS_REGION=" us-east-1\r\n"),
}

SHORT = (("--help",), ("import", "--snapshot", "--apply"))
FULL = (
    *SHORT,
    *(
        ("runs", "last"),
        ("migrate",),
        ("import", "--snapshot"),
        ("doctor",),
        ("runs",),
        ("history", "1"),
        ("rejects",),
        ("status",),
    ),
    ("import", "--changes", "--apply"),
)
COMMANDS = FULL if os.environ.get("FLEETFUEL_ENVIRONMENTS") == "full" else SHORT

RECORDS: list[dict[str, object]] = [
    {"id": 1, "car": "KAA 123A", "liters": 40, "amount": 7200, "driver": "Zoë Müller", "datetime": "2026-06-11-20-24"},
    {"id": 2, "car": "KBB 456B", "liters": 30, "amount": 5400, "driver": "李 小龙 →", "datetime": "2026-06-11-21-24"},
    {"id": None, "car": "KCC 789C", "driver": "Żaneta"},
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, store: ObjectStore) -> Stage:
    folder = tmp_path_factory.mktemp("environments")
    stage = Stage(folder=folder, url=postgres.uri(create_database(postgres, "template1")), store=store)
    stage.done("migrate")
    return stage


def export(world: Stage, amount: int) -> None:
    """A snapshot in which the first record has another amount than before."""
    records = [RECORDS[0] | {"amount": amount}, *RECORDS[1:]]
    body = json.dumps({"metadata": {"record_count": len(RECORDS)}, "records": records}).encode()
    world.put(("fuel_records/latest.json", body))


@pytest.fixture(scope="module")
def other(world: Stage) -> Path:
    """A folder with `other`, which runs a program as another user, or as it is if that cannot be."""
    tried = subprocess.run([*NOT_OURS.split(), "true"], check=False, capture_output=True)
    program = world.folder / "bin" / "other"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {NOT_OURS if tried.returncode == 0 else ""} "$@"\n')
    program.chmod(0o755)
    return program.parent


@pytest.mark.parametrize("name", CELLS)
def test_a_run_is_itself_in_every_surrounding(name: str, world: Stage, other: Path) -> None:
    surrounding = CELLS[name]
    given = environment(world.env | surrounding.env)
    given["PATH"] = f"{other}:{given['PATH']}"
    amount = 7000 + list(CELLS).index(name)
    export(world, amount)
    for words in COMMANDS:
        program = [sys.executable, *surrounding.python, "-m", "fleetfuel", *words]
        done = subprocess.run(
            ["/bin/sh", "-c", f'{surrounding.shell or ":"}\nexec "$@"', "sh", *program],
            cwd=world.folder,
            env=given,
            capture_output=True,
            check=False,
        )
        said = done.stderr.decode("utf-8", "replace")
        seen = f"{name}: {' '.join(words)} ended with {done.returncode}: {said}"
        assert done.returncode not in (1, 70, 120), seen
        assert done.returncode >= 0, seen
        assert "Traceback" not in said, seen
        if words == ("--help",):
            assert done.returncode in (0, 73), seen
        if "--apply" in words:
            assert done.returncode in surrounding.codes, seen
            if "std" in name:
                assert "othing was" not in said, seen
    if surrounding.codes == {0}:
        loaded = world.sql("select driver, amount_kes::bigint as amount from fuel.records order by id")
        assert [row["driver"] for row in loaded] == [record["driver"] for record in RECORDS[:2]]
        assert loaded[0]["amount"] == amount


def test_a_store_of_rules_is_heeded_whatever_pandera_is_asked(world: Stage) -> None:
    """Records that the checks flag are flagged, under Pandera's own variables, too."""
    odd = [{"id": 7, "car": "KAA 123A", "liters": 40, "amount": 99, "odometer": -5, "datetime": "2026-06-11-20-24"}]
    (world.folder / "odd.json").write_text(json.dumps(odd))
    plain = world.done("import", "--file", "odd.json", "--json", "--no-report").json
    reported = world.done("import", "--file", "odd.json", "--json", "--no-report", **FOREIGN).json
    assert plain["rules"]
    assert reported["rules"] == plain["rules"]
    wrong = world.run("import", "--file", "odd.json", "--no-report", PANDERA_VALIDATION_DEPTH="no such depth")
    assert wrong.code == 0, wrong.err
