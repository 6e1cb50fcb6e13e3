"""Pure: the times of hourly files → the hours in which none came."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

HOUR: Final = timedelta(hours=1)
GAP: Final = timedelta(minutes=90)
"""Two files further apart than this have an hour without a file between them."""


def find_gaps(times: Iterable[datetime]) -> list[tuple[datetime, datetime, int]]:
    """(last file before, first file after, hours without a file between them), oldest first."""
    return [
        (before, after, round((after - before) / HOUR) - 1)
        for before, after in pairwise(sorted(set(times)))
        if after - before > GAP
    ]


def describe_gaps(times: Iterable[datetime], *, most: int = 5) -> list[str]:
    """A sentence for each of the last `most` gaps, and one with the number of earlier gaps."""
    gaps = find_gaps(times)
    said = [
        f"no change file for {hours} {'hour' if hours == 1 else 'hours'} "
        f"between {before:%Y-%m-%d %H:%MZ} and {after:%Y-%m-%d %H:%MZ}"
        for before, after, hours in gaps[-most:]
    ]
    if len(gaps) > most:
        said.insert(0, f"{len(gaps) - most:,} earlier gaps in the change files, not listed")
    return said
