"""Ctrl-C and SIGTERM: heard once, raised where nothing is left half made."""

from __future__ import annotations

import signal
import sys
import threading
from functools import partial
from types import CodeType, FrameType
from typing import Final

from fleetfuel import errors

interrupted: Final = threading.Event()


COMPILED: Final = frozenset({"polars", "pandera"})
"""Packages whose compiled code calls Python and panics, or goes on, where that raises."""


HEARD: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


def listen(run: CodeType) -> None:
    """From now on a signal raises `Interruption` inside `run`, whose caller catches it; once that has ended, nobody
    would.
    """
    for each in HEARD:
        signal.signal(each, partial(_interrupt, run))


def listen_no_more() -> None:
    """What is left to do, once all is said, takes an instant, and the exit code is to be what was said."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for each in HEARD:
        signal.signal(each, signal.SIG_IGN)


def _interrupt(run: CodeType, _signal: int, frame: FrameType | None) -> None:
    """Raise `Interruption`, if it does not fall into compiled code's hands; else try again in an instant."""
    interrupted.set()
    is_running = False
    while frame:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in COMPILED:
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            return
        is_running |= frame.f_code is run
        frame = frame.f_back
    if is_running:
        raise errors.Interruption


def swallowed(unraisable: sys.UnraisableHookArgs) -> None:
    """Of an interruption that a compiled library swallowed, or of what it left half made, Python says nothing."""
    if not interrupted.is_set():
        sys.__unraisablehook__(unraisable)


def or_interrupted(error: errors.FleetfuelError) -> errors.FleetfuelError:
    """Libraries may swallow an interruption and stumble over what they then lack: that is no failure of its own."""
    if interrupted.is_set() and not isinstance(error, errors.CommitUnknown):
        return errors.Interrupted()
    return error
