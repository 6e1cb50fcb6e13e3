"""The thread that calls the database's driver: an interruption at any line of a call leaves the next one its answer."""

from __future__ import annotations

import itertools
import sys
import threading
from functools import partial
from types import FrameType
from typing import Any, Final

import pytest

from fleetfuel.table.driver import Driver

PATIENCE: Final = 20.0
"""Seconds after which a call counts as hanging."""


class Interrupting:
    """Raises a KeyboardInterrupt before the line of this number, of all that run in this thread from here on."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, _frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


def answer_of(driver: Driver) -> list[str]:
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(driver.call(lambda: "again")), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return answers


@pytest.mark.parametrize("seconds", [0, 0.02])
def test_an_interruption_at_any_line_leaves_the_next_call_its_answer(seconds: float) -> None:
    interrupted = 0
    for number in itertools.count(1):
        driver, let_go = Driver(), threading.Event()
        interrupting = Interrupting(number)
        sys.settrace(interrupting)
        try:
            driver.call(partial(let_go.wait, seconds), let_go.set)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(None)
        assert answer_of(driver) == ["again"], f"hangs after an interruption before line {number}"
        driver.end()
        if interrupting.left > 0:
            break
    assert interrupted > 5
