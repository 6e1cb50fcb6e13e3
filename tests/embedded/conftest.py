import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fleetfuel.sandbox.process import output_of

NOBODY = 65_534

USERS = ["the user who runs the tests", *(["a normal user"] if os.geteuid() == 0 else [])]
"""As root, what a program does is tried as another user too."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that a server's user can enter, unlike pytest's own when root runs it."""
    path = Path(tempfile.mkdtemp(prefix="fleetfuel-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def scratch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where throwaway folders are made during the test."""
    folder.chmod(0o1777)
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


class Program:
    """A program that starts a server, tells about it in one line of JSON, and then sleeps."""

    def __init__(self, code: str, user: str) -> None:
        become: list[str] = []
        if user != USERS[0]:
            become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
            if output_of([sys.executable, "-c", "import fleetfuel"], (NOBODY, NOBODY)) is None:
                # The interpreter or the checkout lies where that user cannot go: let it look, and stay who it is.
                become += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        self.process = subprocess.Popen(
            [*become, sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the program ended"
        self.reported: dict[str, Any] = json.loads(line)
        self.server = psutil.Process(self.reported["pid"])
        self.guard = self.server.parent()
        self.uid = self.server.uids().real
        assert self.guard
        self.all = [self.guard, self.server, *self.server.children(recursive=True)]

    def assert_nothing_is_left(self) -> None:
        wait_for(lambda: all(map(gone, self.all)))
        wait_for(lambda: not Path(self.reported["data"]).exists())


@pytest.fixture(params=USERS)
def start(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Callable[[str], Program]]:
    """Start a program's code, as each user in turn; it is killed at the end of the test at the latest."""
    programs: list[Program] = []

    def started(code: str) -> Program:
        programs.append(Program(code, request.param))
        assert programs[-1].uid != 0
        if request.param != USERS[0]:
            assert programs[-1].uid == NOBODY
        return programs[-1]

    yield started
    for program in programs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.process.pid, signal.SIGKILL)
        program.process.communicate()
        program.assert_nothing_is_left()


def gone(process: psutil.Process) -> bool:
    """Whether it ended; as an orphan it may wait a while for init to take notice."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def listening_addresses(pid: int) -> set[str]:
    """Where a process or a child of it accepts TCP connections or datagrams."""
    process = psutil.Process(pid)
    connections = [each for one in (process, *process.children()) for each in one.net_connections("inet")]
    return {each.laddr.ip for each in connections if each.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)}
