"""The rows that a plan writes: their columns, and the pieces in which they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from fleetfuel.model.plan import Diff
from fleetfuel.records.rows import INSTANT, columns

WRITES: Final = columns(
    {
        "action": pl.String,
        "id": pl.Int64,
        "file": pl.UInt32,  # the file that says so
        "position": pl.UInt32,  # where in it the record's text lies; null if `raw` is left as it is
        "fingerprint": pl.Int128,
        "source_at": INSTANT,
        "change_at": INSTANT,
        "deleted_at": INSTANT,
        "absent_since": INSTANT,
        "changed": pl.List(pl.String),  # names of fields, as the feed calls them
        "before": pl.String,  # JSON text of the row before; null for an insert
        "plate": pl.String,  # of the row before
        "filled_at": INSTANT,
        "seen": pl.Int64,  # a hash of the row as the plan saw it; null for an insert
    }
)
"""Rows to write. Actions: insert, update, restore, soft_delete_flagged, soft_delete_absent; and three that change
nothing for a reader of the table: refresh (fingerprint and times of an unchanged row), forget (what newer change files
said of the row is void) and mark_absent (a deleted row is absent, too)."""


INSERTS: Final = columns(
    {name: WRITES[name] for name in ("id", "file", "position", "fingerprint", "source_at", "change_at")}
)
"""The columns of a row that is new, and neither deleted nor absent: its other columns of `WRITES` are null."""


QUIET: Final = ("refresh", "forget", "mark_absent")
"""Actions that change nothing for a reader of the table."""


def batches(diff: Diff, height: int) -> Iterator[pl.DataFrame]:
    """All rows to write (`WRITES`), at most `height` at a time."""
    for rows in diff.inserts.iter_slices(height):
        yield pl.concat([WRITES.to_frame(), rows], how="diagonal").with_columns(action=pl.lit("insert"))
    yield from diff.others.iter_slices(height)
