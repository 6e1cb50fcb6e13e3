"""How far a run is: on a terminal, a line redrawn in place; with --verbose, a log line for each stage, too."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fleetfuel.model.progress import Progress

log = logging.getLogger("fleetfuel")

PAUSE: Final = 0.1
"""Seconds between two drawings of a stage."""
WIDEST: Final = 78


@contextmanager
def shown() -> Iterator[Progress]:
    """Progress on stderr while the block lasts; afterwards the line is removed."""
    meter = _Meter(draws=sys.stderr.isatty() and os.environ.get("TERM") != "dumb")
    _shown.append(meter)
    try:
        yield meter.report
    finally:
        meter.end_stage()
        _shown.remove(meter)


def clear() -> None:
    """Make room on the line: something else is about to be written to stderr."""
    for meter in _shown:
        meter.clear()


class _Meter:
    def __init__(self, *, draws: bool) -> None:
        self._draws = draws
        self._stage = ""
        self._began = self._drawn_at = 0.0
        self._last = (0, 0)
        self._is_drawn = False

    def report(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self.end_stage()
            self._stage, self._began, self._drawn_at = stage, now, 0.0
        self._last = (done, total)
        if self._draws and (now - self._drawn_at >= PAUSE or done >= total):
            self._drawn_at = now
            self._draw(done, total)

    def end_stage(self) -> None:
        self.clear()
        if self._stage:
            log.info(
                "%s: %s in %.1f s",
                self._stage,
                _amount(self._stage, self._last[0]) + UNITS.get(self._stage, " records"),
                time.monotonic() - self._began,
            )
        self._stage = ""

    def clear(self) -> None:
        if self._is_drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # noqa: T201
            self._is_drawn = False

    def _draw(self, done: int, total: int) -> None:
        width = min(WIDEST, shutil.get_terminal_size().columns - 1)
        print("\r" + bar(self._stage, done, total, width) + "\x1b[K", end="", file=sys.stderr, flush=True)  # noqa: T201
        self._is_drawn = True


_shown: Final[list[_Meter]] = []

UNITS: Final = {"fetch": "", "migrate": " steps", "prune": " folders"}
"""What a stage counts, if not records; the amounts of `fetch` have their own units."""


def bar(stage: str, done: int, total: int, width: int) -> str:
    """The line, at most `width` columns wide."""
    share = min(1.0, done / total) if total else 1.0
    text = f" {share:>4.0%}  {_amount(stage, done)} of {_amount(stage, total)}"
    room = max(0, width - 8 - len(text) - 2)
    filled = round(room * share)
    return f"{stage:<8}[{'#' * filled}{'.' * (room - filled)}]{text}"[:width]


def _amount(stage: str, number: int) -> str:
    if stage != "fetch":
        return f"{number:,}"
    return (
        f"{number:,} B" if number < 10_000 else f"{number / 1e3:,.0f} kB" if number < 1e7 else f"{number / 1e6:,.1f} MB"
    )
