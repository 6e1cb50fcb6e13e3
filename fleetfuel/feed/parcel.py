"""Fetched bytes on their way into a `Delivery`: where they lie, how many have come, and the views on them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from fleetfuel.feed.spool import Spool
from fleetfuel.model.files import SourceFile

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all; from several threads, one at a time."""


@dataclass(slots=True)
class Fetched:
    """A file whose bytes lie in the spool, or in a map of its own."""

    key: str
    etag: str
    modified_at: datetime
    key_at: datetime | None
    offset: int
    size: int
    mapped: memoryview | None = None


@contextmanager
def open_spool() -> Iterator[Spool]:
    """A spool, closed at the end of the block. Raises `SpoolFull`."""
    spool = Spool()
    try:
        yield spool
    finally:
        spool.close()


@contextmanager
def delivered(spool: Spool, fetched: Sequence[Fetched]) -> Iterator[tuple[SourceFile, ...]]:
    """The fetched files in this order; their bytes are readable inside the block."""
    with spool.view() as view:
        files = tuple(
            SourceFile(
                key=each.key,
                etag=each.etag,
                size=each.size,
                modified_at=each.modified_at,
                key_at=each.key_at,
                content=view[each.offset : each.offset + each.size] if each.mapped is None else each.mapped,
            )
            for each in fetched
        )
        yield files


class Meter:
    """Adds up what arrives and reports it."""

    def __init__(self, progress: Progress | None, total: int | None = None) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def moved(self, count: int, size: int) -> None:
        if self._progress is None:
            return
        with self._lock:
            self._done = max(0, self._done + count)
            total = size if self._total is None else self._total
            self._progress(min(self._done, total), total)
