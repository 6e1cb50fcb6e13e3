"""What tests left: processes that nobody waits for any more, folders, sockets, shared memory."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fleetfuel.sandbox.scratch import find_abandoned

PATIENCE: Final = 15.0
"""Seconds in which one may still come to its end: a server whose guard has gone, say."""


def orphans(scratch: Path, checkout: Path) -> dict[int, str]:
    """Process id → command line: of those whose parent has gone, and that work in the tests' own folder, or run what
    lies there, in the checkout, or this Python. A shell that somebody left in the checkout is no test's."""
    place = str(scratch.resolve())
    programs = (place, str(checkout.resolve()), sys.prefix)
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):  # it has ended meanwhile, or is somebody else's
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
            where = str((process / "cwd").readlink())
            is_here = f"{where}/".startswith(f"{place}/") or any(f"{each}/" in words for each in programs)
            if parent == 1 and is_here and "pytest" not in words:
                found[int(process.name)] = words
    return found


FOLDERS: Final = ("fleetfuel-demo", "fleetfuel-postgres", "fleetfuel-store")


def leftovers() -> set[Path]:
    """Folders of the demo and of servers that nobody holds, and this user's sockets of stores that nobody answers at,
    and shared memory of servers that are gone."""
    found = {folder for name in FOLDERS for folder in find_abandoned(name)}
    found |= {path for path in Path("/tmp").glob("seaweedfs-*.sock") if not _answers(path)}
    return found | {path for path in Path("/dev/shm").glob("PostgreSQL.*") if not _is_mapped(path)}


def _is_mapped(path: Path) -> bool:
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            if f" {path}\n" in maps.read_text():
                return True
    return False


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(1)
        try:
            door.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return not path.exists()
        except OSError:
            return True
        return True


def none_is_left(scratch: Path, checkout: Path) -> Iterator[None]:
    """Around all tests of a session: what it leaves fails it. What was there before is others'."""
    if not Path("/proc/self/stat").exists():
        yield
        return
    before, lay_there = orphans(scratch, checkout), leftovers()
    yield
    deadline = time.monotonic() + PATIENCE
    while lies := leftovers() - lay_there:
        assert time.monotonic() < deadline, f"tests left these: {sorted(map(str, lies))}"
        time.sleep(0.2)
    while left := {pid: words for pid, words in orphans(scratch, checkout).items() if pid not in before}:
        assert time.monotonic() < deadline, f"tests left these processes: {left}"
        time.sleep(0.2)
