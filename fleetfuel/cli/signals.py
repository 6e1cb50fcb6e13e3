"""Ctrl-C and SIGTERM: raised as an `Interruption`, only where nothing is left half done."""

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
"""Packages whose compiled code calls Python code, and panics or goes on if that raises."""


HEARD: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
"""Signals that interrupt; SIGALRM is the second try after one that came in compiled code."""


def listen(run: CodeType) -> None:
    """From now on a signal raises `Interruption`, but only while `run` is being executed: its caller catches it."""
    for each in HEARD:
        signal.signal(each, partial(_interrupt, run))


def listen_no_more() -> None:
    """Ignore signals from now on: the outcome is printed, little is left to do, and the exit code has to fit it."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for each in HEARD:
        signal.signal(each, signal.SIG_IGN)


def _interrupt(run: CodeType, _signal: int, frame: FrameType | None) -> None:
    """Raise `Interruption`, unless compiled code would catch it; then try again after 10 ms."""
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
    """Keep Python from reporting an interruption that a compiled library swallowed, or what that left half done."""
    if not interrupted.is_set():
        sys.__unraisablehook__(unraisable)


def or_interrupted(error: errors.FleetfuelError) -> errors.FleetfuelError:
    """`Interrupted` in place of an error after an interruption: libraries may swallow it, and fail because of it later.
    A `CommitUnknown` stays."""
    if interrupted.is_set() and not isinstance(error, errors.CommitUnknown):
        return errors.Interrupted()
    return error
