"""The thread that calls the driver, so that Ctrl-C and SIGTERM act at once.

The driver's own Ctrl-C only cancels a statement, and is lost if none is running.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any, Final, TypeVar

import adbc_driver_postgresql.dbapi as adbc

from fleetfuel import errors

T = TypeVar("T")

WAITING: Final = 1.0
"""Seconds waited for a call at a time: a signal that comes right before a wait begins is heard after it."""

LETTING_GO: Final = 10.0
"""Seconds that the driver gets to end a call that was interrupted."""


class Driver:
    """Calls the driver in a thread of its own, one call after the other."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[futures.Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self.is_interrupted = threading.Event()
        self.answers = True
        """Not if a call that was interrupted does not end, nor after the end: what is open is then left as it is,
        for the end of the process. A generator that an interruption left half-way may ask as late as that."""
        self._cancelling: list[threading.Thread] = []
        threading.Thread(target=self._serve, name="fleetfuel-database", daemon=True).start()

    def call(self, call: Callable[[], T], cancel: Callable[[], None] | None = None, *, finish: bool = False) -> T:
        """The call's result. An interruption cancels it, waits until it has ended, and goes on its way.

        With `finish` a call that ends well after all is as good as never interrupted: its result is returned.
        """
        if not self.answers:
            raise errors.Interrupted()
        future: futures.Future[T] = futures.Future()
        self._calls.put((future, call))
        try:
            while not futures.wait([future], timeout=WAITING).done:
                pass
            return future.result()
        except BaseException as interruption:
            if future.done() and future.exception() is interruption:
                raise
            self.is_interrupted.set()
            if future.cancel():  # it has not begun, and will not
                raise
            if cancel and not future.done():
                cancelling = threading.Thread(target=quietly(cancel), daemon=True)
                cancelling.start()
                self._cancelling.append(cancelling)
            self._await(future)
            if finish and future.done():
                return future.result()
            raise

    def _await(self, future: futures.Future[Any]) -> None:
        deadline = time.monotonic() + LETTING_GO
        while not future.done():
            if time.monotonic() > deadline:
                self.answers = False
                return
            with contextlib.suppress(KeyboardInterrupt, errors.Interruption):  # a second one changes nothing
                futures.wait([future], timeout=0.2)

    def end(self) -> None:
        self.answers = False
        self._calls.put(None)

    def _serve(self) -> None:
        while asked := self._calls.get():
            future, call = asked
            while self._cancelling:  # what is being cancelled must not be closed meanwhile: the driver would crash
                self._cancelling.pop().join()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # the waiting thread's to handle, whatever it is
                    future.set_exception(error)
            del asked, future, call


left_open: Final[list[object]] = []
"""Kept, because the driver would crash if what it is working on is freed."""


def quietly(call: Callable[[], None]) -> Callable[[], None]:
    def quiet() -> None:
        with contextlib.suppress(adbc.Error):
            call()

    return quiet
