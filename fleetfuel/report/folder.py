"""A report's folder: it appears whole or not at all, and only its owner can ever read it.

It is written as `.RUN.partial` next to its place, then renamed. If a killed run leaves such a folder, a later run
removes it: only if nobody holds its lock, as a run does while it writes, and if it holds nothing but a report's files.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import msgspec

from fleetfuel import errors
from fleetfuel.report.summary import FORMAT, Summary, read_summary

PLAN: Final = "plan.json"

SUMS: Final = "SHA256SUMS"
"""The checksum of each other file, as `sha256sum` writes them."""

CHECKED: Final = ("changes.parquet", "rejects.parquet", "notices.parquet", "writes.parquet", "writes.json")
"""The files that the checksum of a plan is over, next to plan.json."""

FILES: Final = frozenset({*CHECKED, SUMS, PLAN, f".{PLAN}.partial"})
"""What may lie in a report that is not finished."""

_PARTIAL: Final = re.compile(r"\.[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}\.partial")


def read_report(folder: Path) -> Summary:
    """The summary of a saved report. Raises `SourceNotFound` or `BadInput`."""
    path = folder if folder.is_file() else folder / PLAN
    if not path.is_file():
        hint = "Give the folder of a report: the one that holds plan.json; `ls reports/` shows them."
        raise errors.SourceNotFound(what="The report", where=folder, next_step=hint)
    try:
        text = path.read_bytes()
        about = msgspec.json.decode(text, type=_About)
        if about.format > FORMAT:
            raise LaterFormat(
                key=path, reason=f"it was written by fleetfuel {about.version}, in a format that is not known here."
            )
        return read_summary(text)
    except ValueError as error:
        raise errors.DamagedReport(key=path, reason=f"the report cannot be read ({error}).") from None


class LaterFormat(errors.BadInput):
    """A report that a later release wrote."""

    message = """{key}: {reason}
    Nothing was written. Read it with that release, or a later one."""


class _About(msgspec.Struct):
    version: str = "of some later release"
    format: int = 1


@contextlib.contextmanager
def new_folder(folder: Path, run_id: str) -> Iterator[Path]:
    """The folder in which to write the report of `run_id`: it becomes `folder` if the block ends well.

    Raises `ReportUnwritable`, also if something is there that is not this run's own.
    """
    place = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow a link to where the reports lie
    if place == place.parent or Path.cwd().is_relative_to(place):
        raise errors.ReportUnwritable(path=folder, reason="a report needs a folder of its own")
    partial = place.with_name(f".{run_id}.partial")
    try:
        _make_folders(place.parent)
        _remove_leftovers(place.parent)
        partial.mkdir(mode=0o700)
        with _locked(partial):
            yield partial
            if place.exists():
                _make_way(place, folder)
            partial.rename(place)
            _sync(place.parent)
    except OSError as error:
        raise errors.ReportUnwritable(path=folder, reason=error.strerror or str(error)) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # there is none after a success


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file of a report, open for writing; it is on the disk (fsync) when the block ends."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _make_folders(folder: Path) -> None:
    if not folder.exists():
        _make_folders(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _make_way(place: Path, folder: Path) -> None:
    """Remove what may be replaced: an empty folder."""
    if not place.is_dir() or any(place.iterdir()):
        raise errors.ReportUnwritable(path=folder, reason="something is there already, and evidence is not overwritten")
    place.rmdir()


def remove_own(folder: Path) -> None:
    """Remove a report that this same run wrote before it had to plan again."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= FILES:
        shutil.rmtree(folder)


def _remove_leftovers(parent: Path) -> None:
    """Remove what killed runs left half written."""
    for path in parent.iterdir():
        if not _PARTIAL.fullmatch(path.name) or not path.is_dir() or path.is_symlink():
            continue
        with contextlib.suppress(OSError), _locked(path):
            if {each.name for each in path.iterdir()} <= FILES:
                shutil.rmtree(path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process. Raises `OSError` if somebody else holds it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
