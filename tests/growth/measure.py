"""How a reader's work grows with what it reads: CPU time at three sizes, each twice the one before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SIZES: Final = (50_000, 100_000, 200_000)
"""Characters. Work that grows with their square takes sixteen times as long for the last as for the first."""

MOST: Final = 9.0
"""Times as long, for four times as much: linear work, and what a busy machine adds."""

LEAST: Final = 0.06
"""Seconds below which a time says nothing."""


def grows(spend: Callable[[int], float], sizes: tuple[int, ...] = SIZES) -> str | None:
    """What to say of a reader whose work grows too fast; None if it does not. `spend`: seconds for a size."""
    first, *_, last = spent = [spend(size) for size in sizes]
    if last <= MOST * max(first, LEAST):
        return None
    again = min(spend(sizes[0]), first), min(spend(sizes[-1]), last)  # a hiccup does not come twice
    if again[1] <= MOST * max(again[0], LEAST):
        return None
    return ", ".join(f"{size:,}: {seconds:.2f} s" for size, seconds in zip(sizes, spent, strict=True))
