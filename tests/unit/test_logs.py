"""What is said on stderr, whatever happens while that is being set up."""

from __future__ import annotations

import logging
import sys
from types import FrameType
from typing import Any

import pytest
from table import spoken

from fleetfuel.cli import logs
from fleetfuel.errors import Interruption


def test_interrupted_at_any_line_of_its_set_up_the_log_still_says_who_speaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    level = logging.getLogger().level
    logs.set_up("text")
    stopped = 0
    try:
        while _interrupted_set_up(at=stopped + 1):
            stopped += 1
            logs.log.error("Interrupted.")
            assert spoken(capsys.readouterr().err) == "fleetfuel: Interrupted.\n", stopped
    finally:
        logging.getLogger().setLevel(level)
    assert stopped > 3


def _interrupted_set_up(*, at: int) -> bool:
    """Set the log up again, interrupted at the line that comes as the `at`-th; whether there were so many."""
    lines = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != logs.__file__:
            return None
        lines += event == "line"
        if lines == at:
            lines += 1
            raise Interruption
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        logs.set_up("text", verbose=True)
    except Interruption:
        return True
    finally:
        sys.settrace(before)
    return False
