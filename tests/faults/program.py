"""The program in a process of its own: start it, follow its steps, hold it at one, kill it, see how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from table import spoken

PATIENCE: Final = 60.0
"""Seconds after which a process that should have ended, or a step that should have come, fails the test."""


@dataclass(slots=True, kw_only=True, eq=False)
class Program:
    """One process of fleetfuel."""

    pid: int
    folder: Path
    _steps: int | None
    _ended: threading.Event
    _code: list[int]
    seen: list[str] = field(default_factory=list)
    """The steps it announced so far."""
    _pending: bytes = b""

    def kill(self, how: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, how)

    def reach(self, step: str, times: int = 1) -> None:
        """Wait until it has announced this step so often."""
        deadline = time.monotonic() + PATIENCE
        while self.seen.count(step) < times:
            if time.monotonic() > deadline:
                raise self._hanging(f"no {step} after {self.seen}")
            assert self._read(0.2) or not self._ended.is_set(), f"ended before {step}: {self.seen}, {self.err!r}"

    def go_on(self) -> None:
        """Let it go on from the step where it stops."""
        with open(self.folder / "release", "wb", buffering=0) as release:  # noqa: PTH123
            release.write(b".")

    def wait(self) -> int:
        """Its exit code, negative if a signal ended it."""
        deadline = time.monotonic() + PATIENCE
        while not self._ended.wait(0.001 if self._steps is None else 0):
            if time.monotonic() > deadline:
                raise self._hanging(f"still running after {self.seen}")
            if self._steps is not None and not self._read(0.05):
                time.sleep(0.005)
        while self._steps is not None and self._read(0):
            pass
        if self._steps is not None:
            os.close(self._steps)
            self._steps = None
        return self._code[0]

    @property
    def is_running(self) -> bool:
        return not self._ended.is_set()

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text(encoding="utf-8")

    @property
    def said(self) -> list[str]:
        """The lines on stderr that say something, without the time and the run that each begins with."""
        return [line for line in spoken(self.err).splitlines() if line.strip()]

    def _hanging(self, what: str) -> AssertionError:
        """What is wrong, and where it hangs, thread by thread. It is killed: the tests that follow need its locks."""
        self.kill(signal.SIGUSR1)
        time.sleep(1)
        where = self.err
        self.kill(signal.SIGKILL)
        return AssertionError(f"{what}, {where}")

    def _read(self, seconds: float) -> bool:
        """Take in what was announced; whether there was something."""
        if self._steps is None or not select.select([self._steps], [], [], seconds)[0]:
            return False
        chunk = os.read(self._steps, 65_536)
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        self.seen += [line.decode() for line in lines]
        return bool(chunk)


class Zygote:
    """The process that forks the program."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**_plain_environment(), "POLARS_MAX_THREADS": "2"},
        )
        self._started: dict[int, int] = {}
        self._ends: dict[int, tuple[threading.Event, list[int]]] = {}
        self._changed = threading.Condition()
        self._numbers = iter(range(1, 10**9))
        self._is_ready = threading.Event()
        assert self._process.stdout
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()
        assert self._is_ready.wait(PATIENCE)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        assert self._process.wait(PATIENCE) == 0
        assert self._process.stdout
        self._process.stdout.close()

    def start(
        self,
        folder: Path,
        argv: Sequence[str | Path],
        *,
        database: str,
        steps: bool = True,
        stops: Sequence[str] = (),
        slow: Mapping[str, float] | None = None,
        sql: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        proves_rules: bool = False,
    ) -> Program:
        """Start it in a new folder of its own (`cwd`, `TMPDIR`, `out`, `err`); reports go to `reports` next to it.

        Proving the rules is left out unless asked for: it takes longer than all else and touches nothing outside.

        `stops` are steps to stop at until `go_on` is called, as often as each is named; `slow` are steps that take some
        seconds longer each time. `sql` are statements to run instead of ours, `settings` values of module attributes
        ("fleetfuel.table.load:BATCH").
        """
        prepare(folder)
        channel = None
        if steps:
            os.mkfifo(folder / "steps")
            os.mkfifo(folder / "release")
            channel = os.open(folder / "steps", os.O_RDONLY | os.O_NONBLOCK)
        number = next(self._numbers)
        request = {
            "number": number,
            "argv": [str(each) for each in argv],
            "cwd": str(folder),
            "env": {**_environment(folder, database), **(environment or {})},
            "out": str(folder / "out"),
            "err": str(folder / "err"),
            "steps": str(folder / "steps") if steps else None,
            "release": str(folder / "release"),
            "stops": list(stops),
            "slow": dict(slow or {}),
            "sql": dict(sql or {}),
            "set": dict(settings or {}),
            "skip": [] if proves_rules else ["fleetfuel.records.judge:prove_rules"],
        }
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        with self._changed:
            assert self._changed.wait_for(lambda: number in self._started, PATIENCE)
            pid = self._started.pop(number)
            ended, code = self._ends[pid]
        return Program(pid=pid, folder=folder, _steps=channel, _ended=ended, _code=code)

    def _listen(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            reported = json.loads(line)
            with self._changed:
                if "ready" in reported:
                    self._is_ready.set()
                elif "pid" in reported:
                    self._ends.setdefault(reported["pid"], (threading.Event(), []))
                    self._started[reported["for"]] = reported["pid"]
                else:
                    ended, code = self._ends.pop(reported["ended"])
                    code.append(reported["code"])
                    ended.set()
                self._changed.notify_all()


def start_plainly(folder: Path, argv: Sequence[str | Path], *, database: str) -> Program:
    """`python -m fleetfuel …`, interpreter, imports and all; its steps are not reported."""
    prepare(folder)
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "fleetfuel", *map(str, argv)],
            cwd=folder,
            env=_environment(folder, database),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    ended, code = threading.Event(), list[int]()

    def reap() -> None:
        code.append(process.wait())
        ended.set()

    threading.Thread(target=reap, daemon=True).start()
    return Program(pid=process.pid, folder=folder, _steps=None, _ended=ended, _code=code)


@contextmanager
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    try:
        yield started
    finally:
        started.close()


def prepare(folder: Path) -> None:
    (folder / "tmp").mkdir(parents=True)


def _plain_environment() -> dict[str, str]:
    """What a process needs of ours, and nothing that sets up fleetfuel or another database."""
    kept = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    root = str(Path(__file__).parents[2])
    return {**{name: os.environ[name] for name in kept if name in os.environ}, "PYTHONPATH": root}


def _environment(folder: Path, database: str) -> dict[str, str]:
    return {
        **_plain_environment(),
        "DATABASE_URL": database,
        "TMPDIR": str(folder / "tmp"),
        "FLEETFUEL_REPORTS": str(folder.parent / "reports"),
        "POLARS_MAX_THREADS": "2",
    }
