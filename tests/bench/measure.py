"""One program, run whole and watched: its time, CPU and memory, and the CPU of its database server. Linux only."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

POLL: Final = 0.05
"""Seconds between two looks at a program's memory."""

TICKS: Final = os.sysconf("SC_CLK_TCK")


class ContenderFailed(Exception):
    """A contender ended badly, took too long, or did not do what it was to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run of a program cost."""

    wall: float
    """Seconds from start to end."""
    cpu: float
    """Seconds of CPU, user and system, of the program and what it started."""
    server_cpu: float
    """Seconds of CPU that the PostgreSQL server spent meanwhile, all its processes."""
    peak_rss: float
    """MiB resident at most, the whole process tree, pages of mapped files included."""
    peak_anonymous: float
    """MiB at most without the pages of mapped files, the whole process tree; looked at every 50 ms."""
    stdout: str

    @property
    def whole_cpu(self) -> float:
        """Seconds of CPU of both: what neighbours on the same machine disturb least."""
        return self.cpu + self.server_cpu


def measure(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, timeout: float, server: int
) -> Measured:
    """Run a command to its end, in `folder`. `server`: the postmaster's process id. Raises `ContenderFailed`."""
    out, err = folder / "stdout", folder / "stderr"
    before = cpu_of_tree(server)
    with out.open("wb") as stdout, err.open("wb") as stderr:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=stdout, stderr=stderr, start_new_session=True
        )
        watch = _Watch(process.pid, timeout)
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            watch.end()
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    server_cpu = cpu_of_tree(server) - before
    if process.returncode:
        said = err.read_text(errors="replace")[-2000:]
        late = f" after its {timeout:.0f} s" if watch.is_late else ""
        raise ContenderFailed(f"{' '.join(command[:3])} … ended with {process.returncode}{late}\n{said}")
    return Measured(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        server_cpu=server_cpu,
        peak_rss=watch.rss / 1024,
        peak_anonymous=watch.anonymous / 1024,
        stdout=out.read_text(),
    )


class _Watch:
    """Looks at a process tree's memory until told to end; kills it when its time is up."""

    def __init__(self, pid: int, timeout: float) -> None:
        self.rss = 0
        self.anonymous = 0
        self.is_late = False
        self._pid = pid
        self._deadline = time.monotonic() + timeout
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        is_ended = False
        while not is_ended:
            statuses = [_status(pid) for pid in _tree(self._pid)]
            self.rss = max(self.rss, sum(each.get("VmRSS", 0) for each in statuses), *_peaks(statuses))
            self.anonymous = max(
                self.anonymous, sum(each.get("RssAnon", 0) + each.get("RssShmem", 0) for each in statuses)
            )
            if time.monotonic() > self._deadline:
                self.is_late = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)
                return
            is_ended = self._ended.wait(POLL)


def _peaks(statuses: list[dict[str, int]]) -> list[int]:
    """The kernel's own peak, which needs no luck, if the program is a single process."""
    return [statuses[0].get("VmHWM", 0)] if len(statuses) == 1 else [0]


def _status(pid: int) -> dict[str, int]:
    """KiB by name: VmRSS, VmHWM, RssAnon, RssFile, RssShmem; nothing for a process that is gone."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {
            name: int(rest.split()[0])
            for name, _, rest in (line.partition(":") for line in lines)
            if name.startswith(("VmRSS", "VmHWM", "Rss"))
        }
    return {}


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                yield from _tree(int(child))


def cpu_of_tree(pid: int) -> float:
    """Seconds that a process, its children, and the children it has seen end have spent."""
    spent = 0
    for each in _tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            spent += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return spent / TICKS
