"""Pure: the records of a batch against the rows they meet, chunk by chunk → what is decided of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import polars as pl

from fleetfuel.model import Cut, State, Table
from fleetfuel.plan import decide
from fleetfuel.plan.batch import Batch
from fleetfuel.records import frame
from fleetfuel.records.places import FeedTexts


def find_winners(batch: Batch, current: State) -> deque[pl.DataFrame]:
    """The versions that win, with `is_met`: whether there is a row to compare them with. In chunks, to be let go of."""
    winners = decide.last_words(batch.accepted)
    met = current.rows["id"].filter(decide.rows_of(winners["id"], current))
    return deque(winners.with_columns(is_met=pl.col("id").is_in(met.implode())).iter_slices(frame.CHUNK))


def compare_winners(
    winners: deque[pl.DataFrame], texts: FeedTexts, cuts: tuple[Cut, ...], current: State, table: Table
) -> Iterator[pl.DataFrame]:
    file_times = pl.Series([cut.file_at for cut in cuts], dtype=frame.INSTANT)
    while winners:
        chunk = winners.popleft()
        met = chunk.filter("is_met")["id"]
        details = table.details(met)
        position = chunk.select(pl.when("is_met").then("value_position")).to_series()
        values = texts.take(chunk["value_file"], position)
        versions = chunk.with_columns(
            file_at=file_times.gather(chunk["file"]),
            fingerprint=texts.fingerprints(chunk["file"], chunk["position"]),
        )
        yield decide.compare_rows(versions, details, values, current.vouched_at)


def find_gone(
    known: pl.DataFrame,
    batch: Batch,
    texts: FeedTexts,
    cuts: tuple[Cut, ...],
    current: State,
    table: Table,
) -> Iterator[pl.DataFrame]:
    legible = pl.Series(batch.legible_ids, dtype=pl.Int64)
    others = pl.concat([batch.accepted["id"], batch.rejected["id"].drop_nulls(), legible])
    unkeyed = _unkeyed(batch, texts)
    for chunk in decide.find_absent(current, known, others).to_frame().iter_slices(frame.CHUNK):
        details = decide.without_unkeyed(table.details(chunk["id"]), unkeyed)
        yield decide.mark_absent(details, cuts[-1].file_at, current.vouched_at)


def _unkeyed(batch: Batch, texts: FeedTexts) -> Sequence[bytes]:
    """Texts of the records that hold no usable id: which rows they are, only their other values can tell."""
    refused = batch.rejected.filter(pl.col("id").is_null())
    return [texts.text(file, position) for file, position in refused.select("file", "position").iter_rows()]
