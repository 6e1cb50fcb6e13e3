"""Throwaway folders in TMPDIR. Whoever makes one holds a lock in it for life: what a killed one left, the next removes.

Standard library only: the guard of a server uses it, too.
"""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

LOCK: Final = "in-use"
"""The locked file of a folder."""
LITTER: Final = "litter.json"
"""The file that names what lies elsewhere and goes with the folder: sockets."""

_held: Final[list[int]] = []
"""The locks of this process; its end, however it comes, frees them."""


def make_scratch(name: str) -> Path:
    """A new folder `<name>-…`, locked. Folders of that name that nobody holds any more are removed first."""
    clear_abandoned(name)
    # It gets its name when it is locked: until then, nobody takes it for abandoned.
    hidden = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=_place()))
    lock = os.open(hidden / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    _held.append(lock)
    return hidden.rename(hidden.with_name(hidden.name.removeprefix(".")))


def clear_abandoned(name: str) -> None:
    """Remove this user's folders `<name>-…` that nobody holds, with what they name as their litter."""
    for folder in find_abandoned(name):
        with contextlib.suppress(OSError, ValueError):
            clear(folder, json.loads((folder / LITTER).read_text()))
        clear(folder, ())


def find_abandoned(name: str) -> list[Path]:
    """This user's folders `<name>-…` in TMPDIR that nobody holds."""
    found = []
    for folder in sorted(_place().glob(f"{name}-*")):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid != os.geteuid() or folder.is_symlink():
                continue
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found.append(folder)
            finally:
                os.close(lock)
    return found


def _place() -> Path:
    """TMPDIR as it is now, if it can be written to: `tempfile` remembers what it was."""
    named = os.environ.get("TMPDIR")
    return Path(named if named and os.access(named, os.W_OK | os.X_OK) else tempfile.gettempdir())


def note_litter(folder: Path, litter: Iterable[str]) -> None:
    """Write down what lies elsewhere, before it does."""
    (folder / LITTER).write_text(json.dumps(sorted(litter)))


def clear(folder: Path, litter: Iterable[str]) -> None:
    """Remove a folder and its litter. What cannot be removed belongs to somebody else, and stays."""
    for path in litter:
        with contextlib.suppress(OSError):
            Path(path).unlink()
    shutil.rmtree(folder, ignore_errors=True)
