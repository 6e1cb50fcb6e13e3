"""Local files → `Delivery`: copied to the spool or memory-mapped. Bytes only: no row is parsed here."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, tzinfo
from functools import partial
from itertools import chain
from pathlib import Path

from fleetfuel import errors
from fleetfuel.feed.keys import parse_instant
from fleetfuel.feed.parcel import Fetched, Meter, Progress, delivered, open_spool
from fleetfuel.feed.spool import GZIP, MEBIBYTE, Spool, Undecodable, hash_spooled, hash_view, inflate
from fleetfuel.model.files import Delivery, Reading, UnreadableFile
from fleetfuel.readable import await_writer

PATIENCE = 5.0
"""Seconds in which somebody has to begin to write to a pipe."""

MAPPED_FROM = 64 * 2**20
"""Local files of more bytes than this are memory-mapped, smaller ones are copied to the spool. If somebody shortens a
mapped file, the process is killed (SIGBUS); but to copy a large file costs too much."""


@contextmanager
def open_files(
    paths: Sequence[Path], *, reading: Reading, timezone: tzinfo, progress: Progress | None = None
) -> Iterator[Delivery]:
    """Local files in time order (the instant in the name, else mtime); their bytes are readable inside the block.

    Small files are copied to the spool, those above `MAPPED_FROM` are memory-mapped; gzip is inflated.
    Raises `SourceNotFound`, `PermissionDenied`, and in a snapshot `BadInput` for bad gzip; a change file with bad gzip
    is reported as unreadable.
    """
    fetched: list[Fetched] = []
    unreadable: list[UnreadableFile] = []
    meter = Meter(progress)
    with open_spool() as spool, ExitStack() as maps:
        for path in paths:
            key = os.fsencode(path).decode(errors="backslashreplace")
            key_at = parse_instant(path.name, timezone)
            with _open(path, key) as (source, head):
                modified_at = datetime.fromtimestamp(os.fstat(source).st_mtime, UTC)
                mapped, offset, size = _take_in(source, head, spool, maps)
                meter.moved(size, size)
                etag = hash_spooled(spool, offset, size) if mapped is None else hash_view(mapped)
            file = Fetched(key, etag, modified_at, key_at, offset, size, mapped)
            if mapped is None:
                try:
                    file.offset, file.size = inflate(spool, offset, size, "")
                except Undecodable as error:
                    if reading == "snapshot":
                        raise errors.BadInput(key=key, reason=f"{error}.") from None
                    unreadable.append(
                        UnreadableFile(
                            key=key,
                            etag=etag,
                            at=key_at or modified_at,
                            modified_at=modified_at,
                            reason=str(error),
                            is_lasting=True,
                        )
                    )
                    continue
            fetched.append(file)
        fetched.sort(key=lambda each: (each.key_at or each.modified_at, each.key))
        unreadable.sort(key=lambda each: (each.at, each.key))
        source_name = fetched[0].key if len(paths) == 1 and fetched else f"{len(paths)} local files"
        with delivered(spool, fetched) as files:
            yield Delivery(reading=reading, source=source_name, files=files, unreadable=tuple(unreadable))


@contextmanager
def _open(path: Path, key: str) -> Iterator[tuple[int, bytes]]:
    """The open file, and what was read of it already: of a pipe, if there is something in it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except PermissionError as error:
        raise errors.PermissionDenied(
            what=f"Reading {key}", reason=error.strerror, next_step="Give this user the right to read it."
        ) from None
    except OSError as error:
        raise errors.SourceNotFound(
            what=f"The file {key}", where=error.strerror, next_step="Check the path given to --file."
        ) from None
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise errors.SourceNotFound(
                what=f"The file {key}",
                where="it is a folder",
                next_step=f"Name the files in it: --file {key.rstrip('/')}/*.json",
            )
        yield descriptor, _await_writer(descriptor, path, key)
    except OSError as error:
        raise errors.BadInput(key=key, reason=f"{error.strerror or error}.") from None
    finally:
        os.close(descriptor)


def _await_writer(descriptor: int, path: Path, key: str) -> bytes:
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.set_blocking(descriptor, True)
        return b""
    try:
        return await_writer(descriptor, path, PATIENCE)
    except OSError as error:
        raise errors.SourceNotFound(
            what=f"The file {key}",
            where=error.strerror,
            next_step="Begin to write to it before or right after the import begins.",
        ) from None


def _take_in(source: int, head: bytes, spool: Spool, maps: ExitStack) -> tuple[memoryview | None, int, int]:
    """The file as a map of its own, or its place in the spool."""
    status = os.fstat(source)
    if stat.S_ISREG(status.st_mode) and status.st_size > MAPPED_FROM and os.pread(source, 2, 0) != GZIP:
        mapped = mmap.mmap(source, status.st_size, access=mmap.ACCESS_READ)
        maps.callback(_close_map, mapped)
        return memoryview(mapped), 0, status.st_size
    offset, size = spool.reserve(0), 0
    for piece in chain((head,) if head else (), iter(partial(os.read, source, MEBIBYTE), b"")):
        spool.write(spool.reserve(len(piece)), piece)
        size += len(piece)
    return None, offset, size


def _close_map(mapped: mmap.mmap) -> None:
    with suppress(BufferError):
        mapped.close()
