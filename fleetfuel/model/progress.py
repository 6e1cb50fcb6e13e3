"""How a stage reports how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, how much is done, and how much there is: `fetch` in bytes, all others in records."""


def silence(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""
