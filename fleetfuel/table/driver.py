"""The thread that calls the driver, so that Ctrl-C and SIGTERM act at once.

The driver's own Ctrl-C only cancels a statement, and is lost if none is running.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import adbc_driver_postgresql.dbapi as adbc

from fleetfuel import errors

T = TypeVar("T")

WAITING: Final = 1.0
"""Seconds of one wait for a call: a signal that comes right before a wait begins is handled only after it."""

LETTING_GO: Final = 10.0
"""Seconds that the driver gets to end a call that was interrupted."""


class _Call(Generic[T]):
    """A call of the driver, the right to begin it, and its outcome.

    It uses SimpleQueues, because an interruption cannot come in the middle of their operations. A Future takes and
    frees a lock in Python: an interruption in between would leave it locked for ever, and the next call would hang.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._right: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._right.put(None)
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._answer: tuple[T] | None = None
        self.error: BaseException | None = None
        self.is_done = False

    def claim(self) -> bool:
        """True for the first who asks only: that one may begin the call, or keep it from ever beginning."""
        try:
            self._right.get_nowait()
        except queue.Empty:
            return False
        return True

    def run(self) -> None:
        try:
            self._answer = (self._call(),)
        except BaseException as error:  # the waiting thread's to handle, whatever it is
            self.error = error
        self.is_done = True
        self._ended.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait for its end, at most so long; whether it has ended."""
        if not self.is_done:
            with contextlib.suppress(queue.Empty):
                self._ended.get(timeout=seconds)
        return self.is_done

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        assert self._answer
        return self._answer[0]


class Driver:
    """Calls the driver in a thread of its own, one call after the other."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self.is_interrupted = threading.Event()
        self.answers = True
        """Whether it can still be called. Not if an interrupted call does not end, nor after `end`: then what is open
        is left as it is until the process ends. A generator that an interruption left half-way may ask as late as
        that."""
        self._cancelling: list[threading.Thread] = []
        threading.Thread(target=self._serve, name="fleetfuel-database", daemon=True).start()

    def call(self, call: Callable[[], T], cancel: Callable[[], None] | None = None, *, finish: bool = False) -> T:
        """The call's result. An interruption cancels the call, waits until it has ended, and is raised again.

        With `finish`, if the call ends well all the same, its result is returned and the interruption is dropped.
        """
        if not self.answers:
            raise errors.Interrupted()
        asked = _Call(call)
        try:
            self._calls.put(asked)
            while not asked.wait(WAITING):
                pass
            return asked.result()
        except BaseException as interruption:
            if asked.is_done and asked.error is interruption:
                raise
            self.is_interrupted.set()
            if asked.claim():  # it has not begun, and will not
                raise
            if cancel and not asked.is_done:
                cancelling = threading.Thread(target=quietly(cancel), daemon=True)
                cancelling.start()
                self._cancelling.append(cancelling)
            self._await(asked)
            if finish and asked.is_done:
                return asked.result()
            raise

    def _await(self, asked: _Call[Any]) -> None:
        deadline = time.monotonic() + LETTING_GO
        while not asked.is_done:
            if time.monotonic() > deadline:
                self.answers = False
                return
            with contextlib.suppress(KeyboardInterrupt, errors.Interruption):  # a second one changes nothing
                asked.wait(0.2)

    def end(self) -> None:
        self.answers = False
        self._calls.put(None)

    def _serve(self) -> None:
        while asked := self._calls.get():
            while self._cancelling:  # what is being cancelled must not be closed meanwhile: the driver would crash
                self._cancelling.pop().join()
            if asked.claim():
                asked.run()
            del asked


left_open: Final[list[object]] = []
"""Kept, because the driver would crash if what it is working on were freed."""


def quietly(call: Callable[[], None]) -> Callable[[], None]:
    """The same call, without the driver's errors."""

    def quiet() -> None:
        with contextlib.suppress(adbc.Error):
            call()

    return quiet
