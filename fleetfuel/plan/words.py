"""Pure: the records of a batch against the rows they meet, chunk by chunk → what is decided of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime

import polars as pl

from fleetfuel.model.files import Reading
from fleetfuel.model.records import Cut
from fleetfuel.model.table import State, Table
from fleetfuel.plan import absent, decide, fold, match
from fleetfuel.plan.batch import Batch
from fleetfuel.plan.evidence import Mark
from fleetfuel.records.places import FeedTexts
from fleetfuel.records.rows import CHUNK, INSTANT


def find_words(reading: Reading, batch: Batch, cuts: tuple[Cut, ...], current: State) -> deque[pl.DataFrame]:
    """The words on each id (`decide.CANDIDATES`), with `file_at` and `has_row`: whether there is a row to compare with.
    A snapshot has one word on an id, change files may have several. In chunks, so that each can be freed."""
    file_times = pl.Series([cut.file_at for cut in cuts], dtype=INSTANT)
    words = decide.last_words(batch.accepted) if reading == "snapshot" else fold.in_turn(batch.accepted)
    met = current.rows["id"].filter(match.rows_of(words["id"], current))
    words = words.with_columns(has_row=pl.col("id").is_in(met.implode()), file_at=file_times.gather(words["file"]))
    return deque(fold.whole_ids(words, CHUNK))


def compare_words(
    reading: Reading, words: deque[pl.DataFrame], texts: FeedTexts, mark: Mark, table: Table
) -> Iterator[pl.DataFrame]:
    """`DECISIONS` for the words of each chunk (`find_words`, which this empties)."""
    settle = fold.settle_snapshot if reading == "snapshot" else fold.settle_changes
    while words:
        chunk = words.popleft()
        details = table.details(chunk.filter("has_row")["id"].unique())
        settled = settle(decide.meet_rows(chunk, details), mark)
        has_row = pl.col("id").is_in(details["id"].implode())
        values = texts.take(settled["value_file"], settled.select(pl.when(has_row).then("value_position")).to_series())
        settled = settled.with_columns(fingerprint=texts.fingerprints(settled["file"], settled["position"]))
        yield decide.compare_rows(settled, details, values, mark)


def find_gone(
    known: pl.DataFrame,
    batch: Batch,
    texts: FeedTexts,
    snapshot_at: datetime,
    current: State,
    mark: Mark,
    table: Table,
) -> Iterator[pl.DataFrame]:
    """`DECISIONS` for the rows that a complete snapshot lacks; and, if the source was restored to it, for the rows that
    stay as they are and of which newer change files spoke."""
    legible = pl.Series(batch.legible_ids, dtype=pl.Int64)
    others = pl.concat([batch.accepted["id"], batch.rejected["id"].drop_nulls(), legible])
    unkeyed = _unkeyed(batch, texts)
    decided = [batch.accepted["id"]]
    for chunk in absent.find_absent(current, known, others).to_frame().iter_slices(CHUNK):
        details = absent.without_unkeyed(table.details(chunk["id"]), unkeyed)
        decided.append(details["id"])
        yield absent.mark_absent(details, snapshot_at, mark)
    if mark.is_forced:
        left = absent.find_forgotten(current, snapshot_at, pl.concat(decided))
        for chunk in left.to_frame().iter_slices(CHUNK):
            yield absent.forget_changes(table.details(chunk["id"]), snapshot_at)


def _unkeyed(batch: Batch, texts: FeedTexts) -> Sequence[bytes]:
    """Texts of the records without a usable id: only their other values can show which rows they are."""
    nameless = batch.rejected.filter(pl.col("id").is_null())
    return [texts.text(file, position) for file, position in nameless.select("file", "position").iter_rows()]
