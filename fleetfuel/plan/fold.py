"""Pure: the words on one id, weighed one after another → what its row is to hold.

A snapshot has one word on an id, change files may have several. Files are folded in the order of (file time, key),
records by position: a catch-up gives what single runs in that order would give.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from fleetfuel.plan.evidence import Mark, before_the_mark, change_is_newer, change_is_stale, snapshot_is_taken

_MET: Final = ("row_own_at", "row_change_at", "row_deleted_at", "row_is_absent", "is_met")
"""The columns of a row against which the words on it are weighed; `is_met` is whether there is a row."""

_SAID: Final = ("file", "position", "is_delete", "has_own_time", "source_at", "says_deleted")
"""What is kept of the last record whose word was taken; of the last record if none was taken."""

_PLACE: Final = {"value_file": "file", "value_position": "position"}
"""Where the values lie that the row is to hold: a delete message alone keeps those before it."""


SETTLED: Final = (
    *("id", "file", "position", "is_delete", "source_at", "says_deleted", "value_file", "value_position"),
    *("is_taken", "change_at", "deleted_at", "is_absent"),
)
"""What is decided of an id: whether a word on it was taken, which record's that was (if none: the last record), where
the values lie that the row is to hold, its `change_at` and `deleted_at`, and whether it is absent."""


def says_deleted() -> pl.Expr:
    """Whether a record says that it is deleted, by a message or by itself."""
    return pl.col("is_delete") | pl.col("is_deleted")


def carries_values() -> pl.Expr:
    """Whether a record says what it holds, not only that it is gone."""
    return ~pl.col("is_delete") | pl.col("carries_values")


def deleted_since() -> pl.Expr:
    """When the record whose word is taken was deleted: its own `deleted_at`; else, for a delete message on a deleted
    row, that of the row; else its source time."""
    return pl.when(says_deleted()).then(
        pl.coalesce("deleted_at", pl.when("is_delete").then("row_deleted_at"), "source_at")
    )


def settle_snapshot(winners: pl.DataFrame, mark: Mark) -> pl.DataFrame:
    """The last words of a snapshot (`decide.last_words`, with `file_at` and the columns of the row met) → `SETTLED`."""
    is_taken = snapshot_is_taken(mark) | ~pl.col("is_met")
    forgotten = change_is_forgotten(mark)
    return winners.with_columns(
        is_taken=is_taken,
        says_deleted=says_deleted(),
        deleted_at=pl.when(is_taken).then(deleted_since()).otherwise("row_deleted_at"),
        is_absent=pl.col("row_is_absent") & (~is_taken | pl.col("is_delete")),
        change_at=pl.when(~forgotten).then("row_change_at"),
    ).select(SETTLED)


def change_is_forgotten(mark: Mark) -> pl.Expr:
    """Whether a restored source makes void what a newer change file said."""
    return change_is_newer() if mark.is_forced else pl.lit(value=False)


def in_turn(candidates: pl.DataFrame) -> pl.DataFrame:
    """Records of change files, sorted by id; those of one id in the order in which they are folded."""
    return candidates.sort("id", "file", "position")


def whole_ids(words: pl.DataFrame, height: int) -> Iterator[pl.DataFrame]:
    """`words`, sorted by id or one row an id, in slices of about `height` rows. The rows of one id stay together."""
    start = 0
    while start < words.height:
        end = min(start + height, words.height)
        while end < words.height and words["id"][end] == words["id"][end - 1]:
            end += 1
        yield words.slice(start, end - start)
        start = end


def settle_changes(candidates: pl.DataFrame, mark: Mark) -> pl.DataFrame:
    """Records of change files → `SETTLED`, one row an id, sorted by id. The records are sorted by id, then as they
    follow each other. They have `file_at` and the columns of the row met, the same for each record of an id."""
    turns = candidates.with_columns(turn=pl.int_range(pl.len(), dtype=pl.UInt32).over("id"))
    if not (turns["turn"] > 0).any():  # as in nearly every file
        return _weigh(_unweighed(turns), mark).select(SETTLED)
    return pl.concat(_fold(turns, mark)).sort("id")


def _fold(turns: pl.DataFrame, mark: Mark) -> Iterator[pl.DataFrame]:
    first, *others = turns.partition_by("turn", maintain_order=True)
    weighed = _weigh(_unweighed(first), mark)
    for following in others:
        goes_on = weighed["id"].is_in(following["id"].implode())
        yield weighed.filter(~goes_on).select(SETTLED)
        before = weighed.filter(goes_on).select(
            *(pl.col(name).alias(f"before_{name}") for name in (*_SAID, *_PLACE)),
            is_taken="is_taken",
            row_own_at="own_at",
            row_change_at="change_at",
            row_deleted_at="deleted_at",
            row_is_absent="is_absent",
            is_met=pl.lit(value=True),
        )
        weighed = _weigh(pl.concat([following.drop(_MET), before], how="horizontal"), mark)
    yield weighed.select(SETTLED)


def _unweighed(first: pl.DataFrame) -> pl.DataFrame:
    return first.with_columns(
        *(pl.col(name).alias(f"before_{name}") for name in _SAID if name != "says_deleted"),
        *(pl.lit(None, dtype=pl.UInt32).alias(f"before_{name}") for name in _PLACE),
        before_says_deleted=says_deleted(),
        is_taken=pl.lit(value=False),
    )


def _weigh(words: pl.DataFrame, mark: Mark) -> pl.DataFrame:
    """One word on each id, against what is there: a row of the table, or what an earlier word left of it."""
    is_taken = ~change_is_stale(mark) | ~pl.col("is_met")
    is_shown = is_taken | ~pl.col("is_taken")
    is_first = is_taken & ~pl.col("is_taken")
    return words.with_columns(says_deleted=says_deleted()).select(
        "id",
        *(pl.when(is_shown).then(name).otherwise(f"before_{name}").alias(name) for name in _SAID),
        *(
            pl.when(is_shown & carries_values()).then(place).when(~is_first).then(f"before_{name}").alias(name)
            for name, place in _PLACE.items()
        ),
        is_taken=is_taken | pl.col("is_taken"),
        own_at=pl.when(is_taken).then(pl.when("has_own_time").then("source_at")).otherwise("row_own_at"),
        change_at=pl.when(is_taken).then(pl.max_horizontal("row_change_at", "file_at")).otherwise("row_change_at"),
        deleted_at=pl.when(is_taken).then(deleted_since()).otherwise("row_deleted_at"),
        is_absent=pl.when(~pl.col("is_met"))
        .then(before_the_mark(mark))
        .otherwise(pl.col("row_is_absent") & (~is_taken | pl.col("is_delete"))),
    )
