"""Processes that tests started and nobody waits for any more."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

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


def none_is_left(scratch: Path, checkout: Path) -> Iterator[None]:
    """Around all tests of a session: a process that it leaves fails it. What was there before is others'."""
    if not Path("/proc/self/stat").exists():
        yield
        return
    before = orphans(scratch, checkout)
    yield
    deadline = time.monotonic() + PATIENCE
    while left := {pid: words for pid, words in orphans(scratch, checkout).items() if pid not in before}:
        assert time.monotonic() < deadline, f"tests left these processes: {left}"
        time.sleep(0.2)
