"""Work in a thread of its own, which is given up if the work next to it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from fleetfuel import errors

T = TypeVar("T")

Pause = Callable[[], None]
"""Called between the pieces of long work: raises if nobody waits for its result any more."""


def no_pause() -> None:
    """For work that somebody waits for."""


@contextmanager
def start_work(name: str, work: Callable[[Pause], T]) -> Iterator[Callable[[], T]]:
    """Begin `work` in a thread of this name; what is yielded waits for its result, or raises what it raised.

    If the block is left by an error or an interruption, the work is given up at its next pause (by an `Interrupted`
    that nobody sees). The block waits for that, because the work may still be reading the bytes of a file.
    """
    is_given_up = threading.Event()

    def pause() -> None:
        if is_given_up.is_set():
            raise errors.Interrupted()

    with ThreadPoolExecutor(1, name) as pool:
        future = pool.submit(work, pause)
        try:
            yield future.result
        except BaseException:
            is_given_up.set()
            raise
