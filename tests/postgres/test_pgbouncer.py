"""Through a real PgBouncer, in both modes, with few server connections that all clients share in turn."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from table import Table, at, envelope, fill

from fleetfuel import errors
from fleetfuel.database_url import read_url, write_url
from fleetfuel.sandbox.process import free_ports
from fleetfuel.table.database import connect

from .test_exit_codes import run, written

pytestmark = pytest.mark.system

MODES = ("session", "transaction")
PROGRAM = "/usr/sbin/pgbouncer"


@contextmanager
def pooled(uri: str, mode: str, connections: int = 3) -> Iterator[str]:
    """The URL of a pooler before this database."""
    server, (port,) = read_url(uri), free_ports(1)
    folder = Path(tempfile.mkdtemp(prefix="fleetfuel-pgbouncer-"))
    at_server = " ".join(f"{name}={server[name]}" for name in ("host", "port", "dbname", "user", "password"))
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\nfuel = {at_server}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\ndefault_pool_size = {connections}\nquery_wait_timeout = 60\nlog_connections = 0\n"
    )
    for each in (folder, folder / "pgbouncer.ini"):
        each.chmod(0o755)
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    pooler = subprocess.Popen(  # type: ignore[call-overload]
        [PROGRAM, "-q", folder / "pgbouncer.ini"], cwd="/", start_new_session=True, **user
    )
    try:
        wait_for(port)
        yield write_url({"host": "127.0.0.1", "port": str(port), "dbname": "fuel", "user": "anybody"})
    finally:
        pooler.send_signal(signal.SIGTERM)
        pooler.wait()
        shutil.rmtree(folder)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def left_behind(url: str) -> dict[str, str]:
    """What another client of the pool finds in the session."""
    import adbc_driver_postgresql.dbapi as adbc

    settings = ("lock_timeout", "client_connection_check_interval", "idle_in_transaction_session_timeout")
    with adbc.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        found: dict[str, str] = {}
        for name in settings:
            cursor.execute(
                f"select setting from pg_settings where name = '{name}' and setting is distinct from boot_val"
            )
            if changed := cursor.fetchall():
                found[name] = str(changed)
        cursor.execute(
            "select count(*)::bigint as n from pg_locks where locktype = 'advisory'"
            " or (locktype = 'relation' and mode ~ 'Exclusive' and relation::regclass::text ~ '^fuel[.]')"
        )
        ((locks,),) = cursor.fetchall()
        if locks:
            found["locks"] = str(locks)
        cursor.execute("select relname::text from pg_class where relpersistence = 't' and relkind = 'r'")
        if stages := cursor.fetchall():
            found["temporary"] = str(stages)
        return found


@pytest.mark.parametrize("mode", MODES)
def test_hour_after_hour_loads_through_a_pooler_and_leaves_nothing_in_it(mode: str, table: Table) -> None:
    with pooled(table.uri, mode) as url:
        for hour in range(3):
            feed = written(table, envelope([fill(1) | {"driver": "Zoë Müller"}, fill(2 + hour)], at(hour)))
            words = ("import", "--file", feed, "--as", "snapshot", "--apply", "--no-report", "--max-deletes", "5")
            done = run(*words, folder=table.folder, url=url, PGCLIENTENCODING="LATIN1")
            assert done.returncode == 0, done.stderr
            assert sorted(table.live()) == [1, 2 + hour]
            assert left_behind(url) == {}
        for command in (("migrate",), ("runs",), ("history", "1")):
            done = run(*command, folder=table.folder, url=url)
            assert done.returncode == 0, (command, done.stderr, done.stdout)
        assert left_behind(url) == {}
    assert [row["driver"] for row in table.query("select driver from fuel.records where id = 1")] == ["Zoë Müller"]


@pytest.mark.parametrize("mode", MODES)
def test_the_lock_keeps_others_out_through_a_pooler_and_ends_with_its_holder(mode: str, table: Table) -> None:
    feed = written(table, envelope([fill(1)], at(0)))
    words = ("import", "--file", feed, "--apply", "--no-report")
    holding = (
        "import sys, time\nfrom fleetfuel.table.database import connect\n"
        "with connect(sys.argv[1]) as database:\n"
        "    database.take_lock()\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    with pooled(table.uri, mode) as url:
        holder = subprocess.Popen([sys.executable, "-c", holding, url], stdout=subprocess.PIPE, text=True)
        try:
            assert holder.stdout
            assert holder.stdout.readline() == "held\n"
            assert run(*words, folder=table.folder, url=url).returncode == 75
        finally:
            holder.kill()
            holder.wait()
        done = run(*words, "--wait", "30", folder=table.folder, url=url)
        assert done.returncode == 0, done.stderr
        assert list(table.live()) == [1]


def test_what_a_pooler_refuses_is_reported_as_a_setting(table: Table) -> None:
    with pooled(table.uri, "transaction") as url:
        for changed in ({"dbname": "nowhere"}, {"options": "-c a=b"}):
            with pytest.raises(errors.ConfigurationError) as caught, connect(write_url(read_url(url) | changed)):
                pass
            assert caught.value.exit_code == 78
