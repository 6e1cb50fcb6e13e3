"""Files that are read whole, and pipes: reading one that nobody writes to would take for ever."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path
from typing import Final

STEP: Final = 0.02
"""Seconds between two looks at a pipe that has no writer yet."""
AT_ONCE: Final = 1 << 20
"""Bytes read at a time."""

_KINDS: Final = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_regular(path: Path) -> bytes:
    """What a file holds. Raises `OSError`, also for a pipe, a socket or a device (but /dev/null, which is empty)."""
    descriptor = _open(path)
    try:
        _demand_regular(descriptor, path)
        return _rest(descriptor)
    finally:
        os.close(descriptor)


def demand_regular(path: Path) -> None:
    """Raises `OSError` if it is no file, or cannot be opened."""
    descriptor = _open(path)
    try:
        _demand_regular(descriptor, path)
    finally:
        os.close(descriptor)


def read_regular_or_pipe(path: Path, *, for_writer: float, for_text: float) -> bytes:
    """What a file holds, or what comes out of a pipe until its end. Raises `OSError` as `read_regular`; and if nobody
    writes to the pipe within so many seconds, or if somebody does and nothing comes for so many."""
    descriptor = _open(path)
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            _demand_regular(descriptor, path)
            return _rest(descriptor)
        content = await_writer(descriptor, path, for_writer)
        while select.select([descriptor], [], [], for_text)[0]:
            piece = os.read(descriptor, AT_ONCE)
            if not piece:
                return content
            content += piece
        raise OSError(errno.ETIMEDOUT, f"it is a pipe, and nothing came out of it for {for_text:g} seconds", str(path))
    finally:
        os.close(descriptor)


def await_writer(descriptor: int, path: Path, seconds: float) -> bytes:
    """Wait until somebody writes to a pipe that was opened without blocking; it blocks from then on. The first bytes,
    if they are there already. Raises `OSError` if nobody does within so many seconds.

    A pipe without a name, as `<(command)` makes one, has a writer or had one.
    """
    until = time.monotonic() + seconds
    has_name = _has_name(path)
    while True:
        try:
            head = os.read(descriptor, AT_ONCE)
        except BlockingIOError:  # there is a writer, that has not written yet
            head = b""
        else:
            if not head and has_name:
                if time.monotonic() >= until:
                    raise OSError(errno.ENXIO, "it is a pipe, and nobody writes to it", str(path))
                time.sleep(STEP)
                continue
        os.set_blocking(descriptor, True)
        return head


def is_denied(error: OSError) -> bool:
    """Whether it is a matter of rights, and not of what kind of file it is."""
    return error.errno not in (errno.EINVAL, errno.ENXIO, errno.ETIMEDOUT)


def _has_name(path: Path) -> bool:
    """Whether a pipe lies in a folder. Of /dev/stdin and /dev/fd/63, the real path is no path: `pipe:[4711]`."""
    return os.path.exists(os.path.realpath(path))  # noqa: PTH110


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))


def _demand_regular(descriptor: int, path: Path) -> None:
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    is_null = stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev  # noqa: PTH116
    if not stat.S_ISREG(status.st_mode) and not is_null:
        kind = next((words for is_kind, words in _KINDS if is_kind(status.st_mode)), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))


def _rest(descriptor: int) -> bytes:
    return b"".join(iter(lambda: os.read(descriptor, AT_ONCE), b""))
