"""The README's set-up on a Debian made for it: its install commands, its cron line under Debian's cron, its units.

Needs root and Debian's packages (`.ci/run` installs them), and takes itself away again.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.sandbox.store import ObjectStore

from .blocks import marked
from .stage import Stage, create_database
from .transcripts import README

pytestmark = pytest.mark.system

PLACES = ("/opt/fleetfuel", "/var/lib/fleetfuel", "/var/log/fleetfuel")
FILES = marked("file")
PATIENCE = 150


def shell(command: str, folder: Path = README.parent) -> str:
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=folder,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


@pytest.fixture(scope="module")
def machine() -> Iterator[None]:
    """A machine on which the README's install commands ran: with Debian's Python, pip and users."""
    assert os.geteuid() == 0, "needs root of a machine made for it"
    assert not [each for each in (*PLACES, *FILES) if Path(each).exists()], "this machine has a fleetfuel already"
    assert "fleetfuel" not in [user.pw_name for user in pwd.getpwall()]
    try:
        shell(marked("run")["install"].replace("python3 -m venv", "/usr/bin/python3 -m venv"))
        shell(marked("run")["cron folder"])
        for path, text in FILES.items():
            Path(path).write_text(text)
        yield
    finally:
        for path in FILES:
            Path(path).unlink(missing_ok=True)
        for folder in PLACES:
            shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["/usr/sbin/userdel", "fleetfuel"], check=False, capture_output=True)


@pytest.fixture
def day(machine: None, tmp_path: Path, postgres: PostgresServer, store: ObjectStore) -> Stage:
    stage = Stage(folder=tmp_path, url=postgres.uri(create_database(postgres, "template1")), store=store)
    names = [name for name in stage.env if name.startswith(("DATABASE", "RUSTFS"))]
    Path("/var/lib/fleetfuel/.env").write_text("".join(f"{name}={stage.env[name]}\n" for name in names))
    stage.snapshot()
    return stage


def test_the_installed_program_works_for_its_user(day: Stage) -> None:
    python = shell("/opt/fleetfuel/bin/python -c 'import sys; print(sys.version)'")
    assert python.split()[0] == shell("/usr/bin/python3 -c 'import sys; print(sys.version)'").split()[0]
    as_user = "cd /var/lib/fleetfuel && runuser -u fleetfuel -- /opt/fleetfuel/bin/fleetfuel"
    assert "migrations applied" in shell(f"{as_user} migrate")
    assert "dry run" in shell(f"{as_user} import --snapshot")
    assert "_FLEETFUEL_COMPLETE" in shell("_FLEETFUEL_COMPLETE=bash_source /opt/fleetfuel/bin/fleetfuel")


def test_debians_cron_runs_the_line(day: Stage) -> None:
    """The README's file, its five replaced by every minute: the second time nothing is new, and nothing is said."""
    file = Path("/etc/cron.d/fleetfuel")
    text = FILES[str(file)]
    assert text.count("5 * * * *") == 1
    log = Path("/var/log/fleetfuel/fleetfuel.log")
    log.unlink(missing_ok=True)
    file.write_text(text.replace("5 * * * *", "* * * * *"))
    file.chmod(0o644)
    daemon = subprocess.Popen(["/usr/sbin/cron", "-f"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and runs(day) < 2:
            assert daemon.poll() is None
            time.sleep(2)
    finally:
        daemon.terminate()
        daemon.wait(10)
        file.write_text(text)
    said = log.read_text()
    assert runs(day) >= 2, said
    assert day.done("runs", "--json").json[-1]["status"] == "applied"
    assert said.count("fleetfuel snapshot · applied") == 1
    assert log.owner() == "fleetfuel"
    assert "rotating pattern" in shell("/usr/sbin/logrotate --debug /etc/logrotate.d/fleetfuel 2>&1")


def runs(stage: Stage) -> int:
    if not stage.sql("select to_regclass('fuel.ingest_runs') is not null as there")[0]["there"]:
        return 0
    return int(stage.sql("select count(*) as runs from fuel.ingest_runs where status = 'applied'")[0]["runs"])


def test_systemd_accepts_the_units_and_finds_them_hardened(machine: None) -> None:
    units = [path for path in FILES if path.startswith("/etc/systemd/")]
    assert len(units) == 3
    assert (
        subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False).stderr == ""
    )
    shell("systemd-analyze security --offline=true --threshold=40 /etc/systemd/system/fleetfuel.service")
