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
"""About so many fingerprints are looked up at a time: a join's hash table takes more memory than both its sides."""


def match_rows(
    index: pl.DataFrame, state: State, mark: Mark, file_times: Sequence[datetime] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records whose exact text the table holds (`INDEX` with `row`, the place in `state.rows`), and the others
    (`INDEX`).

    `file_times` are given for change files. If a newer file says the same again, that has to be noted in the row, so
    such a record is among the others. A snapshot needs no such note: its mark speaks of every row.
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
    if found.height > looked_up.height:  # somebody copied a row by hand: neither of the two is trusted
        return _join(looked_up, rows.filter(pl.col("fingerprint").is_unique()))
    return found["row"]


def split_repeated(known: pl.DataFrame, accepted_ids: pl.Series, state: State) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`known` without the records whose id occurs again in the delivery, and those records: they have to be read, to
    find which one counts."""
    again = rows_of(accepted_ids, state).gather(known["row"])
    if rows_met(known, state).sum() < known.height:
        again |= known["row"].is_duplicated()
    return (known.filter(~again), known.filter(again)) if again.any() else (known, known.clear())


def rows_met(known: pl.DataFrame, state: State) -> pl.Series:
    """For each row of the table, whether a known record is that row."""
    return pl.repeat(value=False, n=state.rows.height, eager=True).scatter(known["row"], values=True)


def rows_of(ids: pl.Series, state: State) -> pl.Series:
    """For each row of the table, whether its id is one of these."""
    if ids.is_empty() or state.rows.is_empty():  # saves a hash table of all ids
        return pl.repeat(value=False, n=state.rows.height, eager=True)
    return state.rows["id"].is_in(ids.implode())
