"""Pure: the texts of the delivery against the table's fingerprints → what is known, and what has to be read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import polars as pl

from fleetfuel.model.table import State
from fleetfuel.plan.evidence import Mark
from fleetfuel.records.rows import INSTANT

TOGETHER: Final = 2_000_000
"""Fingerprints looked up at a time, roughly: the hash table of a join takes more room than both its sides."""


def match_rows(
    index: pl.DataFrame, state: State, mark: Mark, file_times: Sequence[datetime] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records whose very text the table holds as it stands (`INDEX` with `row`, the place in `state.rows`), and the
    others (`INDEX`).

    Changes come with the times of their files: that a newer file said the same has to be noted, so such a record is
    among the others. A snapshot needs no such note: its mark speaks of every row.
    """
    rows = state.rows.select("fingerprint").with_row_index("row")
    is_sound = state.rows["fingerprint"].is_not_null() & state.rows["is_present"]
    row = _look_up(index["fingerprint"], rows if is_sound.all() else rows.filter(is_sound))
    is_held = row.is_not_null()
    if file_times is not None:
        times = pl.Series(file_times, dtype=INSTANT).gather(index["file"])
        is_noted = (times <= state.rows["change_at"].gather(row)).fill_null(value=False)
        if mark.at is not None:
            is_noted |= times < mark.at - mark.overlap
        is_held &= is_noted
    if is_held.all():
        return index.with_columns(row), index.clear()
    if not is_held.any():
        return index.with_columns(row).clear(), index
    return index.with_columns(row).filter(is_held), index.filter(~is_held)


def match_nothing(index: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What `match_rows` gives if no fingerprint is trusted."""
    return index.clear().with_columns(row=pl.lit(None, dtype=pl.UInt32)), index


def _look_up(fingerprints: pl.Series, rows: pl.DataFrame) -> pl.Series:
    """For each fingerprint, in order, the `row` that has it, or null."""
    looked_up = fingerprints.to_frame()
    found = pl.Series("row", [None], dtype=pl.UInt32).new_from_index(0, looked_up.height)
    if rows.is_empty():  # a first load: not even a table of what there is to look up
        return found
    parts = 1 << (max(looked_up.height, rows.height) // TOGETHER).bit_length()
    if parts == 1:
        return _join(looked_up, rows)
    part = (pl.col("fingerprint") & (parts - 1)).cast(pl.UInt16)
    looked_up, rows = looked_up.with_columns(part=part), rows.with_columns(part=part)
    for number in range(parts):
        asked = looked_up["part"] == number
        met = _join(looked_up.filter(asked).select("fingerprint"), rows.filter(part=number))
        found = found.scatter(asked.arg_true(), met)
    return found


def _join(looked_up: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    found = looked_up.join(rows.select("row", "fingerprint"), on="fingerprint", how="left", maintain_order="left")
    if found.height > looked_up.height:  # a row was copied by hand: of two that are alike, none is taken at its word
        return _join(looked_up, rows.filter(pl.col("fingerprint").is_unique()))
    return found["row"]


def split_repeated(known: pl.DataFrame, accepted_ids: pl.Series, state: State) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`known` without, and only, the records whose id occurs again in the delivery: their order has to be found."""
    again = rows_of(accepted_ids, state).gather(known["row"])
    if rows_met(known, state).sum() < known.height:
        again |= known["row"].is_duplicated()
    return (known.filter(~again), known.filter(again)) if again.any() else (known, known.clear())


def rows_met(known: pl.DataFrame, state: State) -> pl.Series:
    """Whether a row of the table is that of a known record, for each row."""
    return pl.repeat(value=False, n=state.rows.height, eager=True).scatter(known["row"], values=True)


def rows_of(ids: pl.Series, state: State) -> pl.Series:
    """Whether a row of the table has one of these ids, for each row."""
    if ids.is_empty() or state.rows.is_empty():  # no table of all ids for nothing
        return pl.repeat(value=False, n=state.rows.height, eager=True)
    return state.rows["id"].is_in(ids.implode())
