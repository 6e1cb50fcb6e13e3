"""An operator's first day, from an empty database to the night shift; each chapter goes on where the one before ended.

Read it as a story: what she types, what she sees, and what goes wrong on the way. CI runs it as a normal user, too.
"""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from table import spoken

from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.sandbox.store import ObjectStore

from .stage import COMMAND, Stage, create_database, environment


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, store: ObjectStore) -> Stage:
    """Her world in the morning: a database that nobody has touched, a bucket that the export job writes to."""
    url = postgres.uri(create_database(postgres, "template1"))
    return Stage(folder=tmp_path_factory.mktemp("day"), url=url, store=store)


def test_1_she_asks_the_program_what_it_is(day: Stage) -> None:
    assert day.done().out == day.done("--help").out
    assert day.run("imprt").code == 64
    for command in ("migrate", "import", "doctor", "status", "runs"):
        assert f"fleetfuel {command}" in day.done(command, "--help").out


def test_2_she_writes_her_settings_down_and_gets_one_wrong(day: Stage) -> None:
    nothing = {name: None for name in day.env if name.startswith(("DATABASE", "RUSTFS"))}
    assert day.run("doctor", "--quick", **nothing).code == 78
    env_file = day.folder / ".env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in day.env.items() if name in nothing), "utf-16")
    broken = day.run("runs", **nothing)
    assert (broken.code, "bug" in broken.err, ".env" in broken.err) == (78, False, True)
    env_file.write_text("".join(f"{name}={value}\n" for name, value in day.env.items() if name in nothing))
    env_file.chmod(0o600)
    found = {each["name"]: each["state"] for each in day.run("doctor", "--json", **nothing).json["checks"]}
    assert (found["settings"], found["database"], found["migrations"]) == ("works", found["database"], "fails")
    assert found["database"] in ("works", "look")


def test_3_she_brings_up_the_schema_twice(day: Stage) -> None:
    assert "migrations applied" in day.done("migrate").out
    assert "Nothing to do" in day.done("migrate").out
    status = day.done("migrate", "--status", "--json").json
    assert (len(status["applied"]) > 5, status["pending"]) == (True, [])


def test_4_she_looks_before_she_applies(day: Stage) -> None:
    day.snapshot()
    dry = day.done("import", "--snapshot")
    assert "dry run" in dry.out
    command = dry.out.splitlines()[-1].removeprefix("Next").strip()
    assert command.startswith("fleetfuel apply reports/")
    assert "applied" in day.shell(command)
    assert day.sql("select count(*) as rows from fuel.records")[0]["rows"] == 1_900


def test_5_every_hour_the_same_line(day: Stage) -> None:
    line = "fleetfuel migrate >/dev/null && fleetfuel import --snapshot --apply --quiet"
    assert day.shell(line) == ""
    day.snapshot(edits=2)
    assert "updates               2" in day.shell(line)
    assert day.done("status").out.startswith("fresh: ")


def test_6_a_store_that_is_none(day: Stage) -> None:
    """It closes; it speaks SSH; https on a port that speaks http. Never a bug, always the bucket (69)."""
    for answer in (b"", b"SSH-2.0-OpenSSH_9.2\r\n"):
        with stranger(answer) as port:
            lost = day.run("import", "--snapshot", "--apply", RUSTFS_ENDPOINT=f"http://127.0.0.1:{port}")
            assert (lost.code, "bug" in lost.err) == (69, False), lost.err
    tls = day.run("import", "--snapshot", RUSTFS_ENDPOINT=day.store.endpoint.replace("http:", "https:"))
    assert (tls.code in (69, 78), "untrusted" in tls.err) == (True, False), tls.err


def test_7_output_that_nobody_can_read(day: Stage) -> None:
    day.snapshot(edits=1)
    closed = redirected(day, ">&-", "import", "--snapshot", "--apply")
    assert closed.returncode == 73
    assert "The run is applied all the same" in closed.stderr
    assert day.done("runs", "last", "--json").json["status"] == "applied"
    assert redirected(day, ">/dev/full", "migrate").returncode == 73
    assert redirected(day, ">/dev/full", "--help").returncode == 73
    assert redirected(day, "2>&-", "import", "--snapshot", "--apply").returncode == 0


def test_8_a_broken_export_at_noon(day: Stage) -> None:
    before = day.sql("select count(*) as rows from fuel.records where deleted_at is null and absent_since is null")
    day.put(("fuel_records/latest.json", b'{"metadata": {}, "records": []}'))
    refused = day.run("import", "--snapshot", "--apply")
    assert (refused.code, "empty_snapshot" in refused.out) == (3, True)
    assert day.run("status").code == 2
    after = day.sql("select count(*) as rows from fuel.records where deleted_at is null and absent_since is null")
    assert after == before
    day.snapshot()
    day.done("import", "--snapshot", "--apply")
    assert day.run("status").code == 0


def test_9_who_changed_that(day: Stage) -> None:
    day.sql("update fuel.records set raw = raw || '{\"amount\": 1}' where id = 1200")
    assert "edited by hand" in day.done("history", "1200").out
    assert day.done("rejects", "--open").out.startswith("1 ")
    assert day.done("runs").out.count("applied") >= 3


def test_10_the_evidence_is_hers_alone(day: Stage) -> None:
    reports = sorted((day.folder / "reports").iterdir())
    assert reports
    for path in (*reports, *(file for report in reports for file in report.iterdir())):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert day.done("show", str(reports[0])).out.startswith("fleetfuel snapshot")


def test_11_at_night_a_machine_reads_along(day: Stage) -> None:
    done = day.done("import", "--snapshot", "--apply", "--json", FLEETFUEL_LOG="json")
    (end,) = map(json.loads, done.err.splitlines())
    assert (end["event"], end["exit_code"], end["run_id"]) == ("end", 0, done.json["run_id"])
    failed = day.run("import", "--snapshot", "--apply", RUSTFS_PREFIX="elsewhere/")
    assert failed.code == 66
    assert spoken(failed.err) != failed.err


def redirected(stage: Stage, how: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", f'"$@" {how}', "bash", *COMMAND, *words]
    return subprocess.run(
        command, cwd=stage.folder, env=environment(stage.env), capture_output=True, text=True, check=False
    )


@contextmanager
def stranger(answer: bytes) -> Iterator[int]:
    """A port on which somebody says this to whoever comes, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    caller.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
