"""Pure: whose word is taken. Two numbers decide, the mark of the last snapshot and each row's `change_at`.

A snapshot of file time S, for the row it meets (or lacks):

| the row's change_at | both own times, the snapshot's is later | --force-old-snapshot | its word |
|---------------------|-----------------------------------------|----------------------|----------|
| null, or up to S    |                                         |                      | taken    |
| newer than S        | yes                                     |                      | taken    |
| newer than S        | no                                      | no                   | not      |
| newer than S        | no                                      | yes                  | taken    |

A record of a change file of file time F, for the row it meets; "known" is that F, and its own time if it has one, lie
before the mark by more than the overlap:

| own times                 | the row's change_at | known | its word  |
|---------------------------|---------------------|-------|-----------|
| its own is earlier        |                     |       | stale (a) |
| its own is later          |                     | no    | taken     |
| equal, or one has none    | newer than F        |       | stale (b) |
| equal, or one has none    | null, or up to F    | no    | taken     |
|                           |                     | yes   | stale (c) |

An id that the table does not hold always comes in; by (c) as absent, because the snapshot of the mark lacked it.

Each function is one column of these tables, over columns of the record (`file_at`, `source_at`, `has_own_time`) and of
the row (`row_own_at`, `row_change_at`: null if there is none, or if a wrong clock wrote it).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from fleetfuel.records.rows import INSTANT


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where the last snapshot stands when a file arrives."""

    at: datetime | None
    """File time of the last applied snapshot; None before the first, or if it lies in the future."""
    overlap: timedelta
    """A change up to this long before the mark may be missing in the mark's snapshot: exports take time."""
    is_forced: bool = False
    """`--force-old-snapshot`: the source was restored to this snapshot."""


def both_have_own_times() -> pl.Expr:
    """Whether the record and its row both have an own time."""
    return pl.col("has_own_time") & pl.col("row_own_at").is_not_null()


def own_is_earlier() -> pl.Expr:
    """Whether both have an own time, and the record's is earlier."""
    return both_have_own_times() & (pl.col("source_at") < pl.col("row_own_at"))


def own_is_later() -> pl.Expr:
    """Whether both have an own time, and the record's is later."""
    return both_have_own_times() & (pl.col("source_at") > pl.col("row_own_at"))


def change_is_newer() -> pl.Expr:
    """Whether a change file newer than this file has spoken of the row."""
    return (pl.col("row_change_at") > pl.col("file_at")).fill_null(value=False)


def before_the_mark(mark: Mark) -> pl.Expr:
    """(c): the mark's snapshot knew this change, or a newer one."""
    if mark.at is None:
        return pl.lit(value=False)
    known_from = pl.lit(mark.at - mark.overlap, dtype=INSTANT)
    return (pl.col("file_at") < known_from) & (~pl.col("has_own_time") | (pl.col("source_at") < known_from))


def snapshot_is_taken(mark: Mark) -> pl.Expr:
    """Whether the word of a snapshot's record is taken: the first table."""
    return pl.lit(value=True) if mark.is_forced else ~change_is_newer() | own_is_later()


def change_is_stale(mark: Mark) -> pl.Expr:
    """Whether the word of a change file's record is stale: the second table."""
    return own_is_earlier() | (~own_is_later() & change_is_newer()) | before_the_mark(mark)


def snapshot_lacks(snapshot_at: datetime, mark: Mark) -> pl.Expr:
    """Whether a complete snapshot's lack of a row is taken for its absence, over the row's `change_at`."""
    if mark.is_forced:
        return pl.lit(value=True)
    return (pl.col("change_at") <= pl.lit(snapshot_at, dtype=INSTANT)).fill_null(value=True)
