"""Pure: the delivery's records against the table's rows → what has to be written.

Whose word is taken is decided in `evidence`, what several words on one id leave in `fold`; here the outcome is compared
with the row.
"""

from __future__ import annotations

from typing import Final

import polars as pl
import pyarrow as pa

from fleetfuel.plan import fold
from fleetfuel.plan.evidence import Mark
from fleetfuel.plan.same import changed_fields
from fleetfuel.records.rows import INSTANT, TYPED, columns
from fleetfuel.writes import INSERTS, WRITES

_DECIDING: Final = (
    *("file", "position", "id", "is_delete", "carries_values", "is_deleted"),
    *("deleted_at", "source_at", "has_own_time"),
)


CANDIDATES: Final = columns({name: TYPED[name] for name in _DECIDING})
"""The columns of an accepted record that the decision needs, without its fingerprint and its file's time."""


DECISIONS: Final = columns({**WRITES, "said_by": pl.UInt32})
"""`WRITES` with two more actions, unchanged and stale, which write nothing. `said_by` is the file whose version wins;
null for a row that is absent."""


def last_words(candidates: pl.DataFrame) -> pl.DataFrame:
    """One row an id of a snapshot, the version that wins: by source time, then file, then position.

    A delete message that wins keeps the values of the newest version before it: `value_file` and `value_position` say
    where those lie (null for a delete message alone).
    """
    carries = fold.carries_values()
    place = {"value_file": "file", "value_position": "position"}
    ordered = candidates if candidates["id"].is_sorted() else candidates.sort("id")
    if not (ordered["id"] == ordered["id"].shift()).any():  # as in nearly every file: nothing to choose from
        has_values = bool(ordered.select(carries.all()).item())
        return ordered.with_columns(
            (pl.col(name) if has_values else pl.when(carries).then(name)).alias(said) for said, name in place.items()
        )
    ordered = candidates.sort("id", "source_at", "file", "position")
    values = ordered.filter(carries).unique("id", keep="last").select("id", **place)
    return ordered.unique("id", keep="last", maintain_order=True).join(
        values, on="id", how="left", maintain_order="left"
    )


def meet_rows(words: pl.DataFrame, details: pl.DataFrame) -> pl.DataFrame:
    """`words` with what the settling needs to know of the row each meets (`state.DETAILS`): see `fold`."""
    met = details.select(
        "id",
        row_own_at="own_at",
        row_change_at="change_at",
        row_deleted_at="deleted_at",
        row_is_absent=pl.col("absent_since").is_not_null(),
        is_met=pl.lit(value=True),
    )
    return words.join(met, on="id", how="left", maintain_order="left").with_columns(
        pl.col("row_is_absent", "is_met").fill_null(value=False)
    )


def compare_rows(settled: pl.DataFrame, details: pl.DataFrame, texts: pa.Array, mark: Mark) -> pl.DataFrame:
    """Decide each settled id (`fold`, with its `fingerprint`) against the row it meets (`state.DETAILS`) → `DECISIONS`.

    `texts` (large binary) holds the text of the values for each id that meets a row; null for a delete message without
    values.

    | word taken | row           | says         | differs           | action                                   |
    |------------|---------------|--------------|-------------------|------------------------------------------|
    | always     | none          | whatever     |                   | insert                                   |
    | no         | whatever      | whatever     | yes               | stale                                    |
    | no         | whatever      | whatever     | no                | unchanged                                |
    | yes        | live          | live         | no                | unchanged, or refresh: its evidence only |
    | yes        | live          | live         | yes               | update                                   |
    | yes        | live          | deleted      | whatever          | soft_delete_flagged                      |
    | yes        | deleted       | deleted      | no                | unchanged or refresh                     |
    | yes        | deleted       | deleted      | yes               | update                                   |
    | yes        | deleted       | live         | whatever          | restore                                  |
    | yes        | absent        | live         | whatever          | restore                                  |
    | yes        | absent        | deleted      | yes, or now there | update                                   |
    | yes        | absent        | deleted      | no, still absent  | unchanged or refresh                     |
    """
    met = settled.join(
        details.select(
            "id",
            *(
                pl.col(name).alias(f"row_{name}")
                for name in ("raw", "fingerprint", "deleted_at", "absent_since", "source_at", "change_at")
            ),
            row_plate="plate",
            row_filled_at="filled_at",
            row_seen="seen",
        ),
        on="id",
        how="left",
        maintain_order="left",
    )
    is_met = met["row_raw"].is_not_null()
    before, after = met["row_raw"].filter(is_met).to_list(), texts.filter(is_met.to_arrow()).to_pylist()
    changed = pa.array(
        [changed_fields(old.encode(), new) if new is not None else [] for old, new in zip(before, after, strict=True)],
        type=pa.list_(pa.string()),
    )
    place = pl.select(pl.when(is_met).then(is_met.cum_sum() - 1)).to_series()

    exists = pl.col("row_raw").is_not_null()
    is_taken = pl.col("is_taken")
    differs = pl.col("changed").list.len() > 0
    was_deleted = pl.col("row_deleted_at").is_not_null()
    was_absent = pl.col("row_absent_since").is_not_null()
    will_delete = pl.col("deleted_at").is_not_null()
    is_back = was_absent & ~pl.col("is_absent")
    was_live = ~was_deleted & ~was_absent
    will_live = ~will_delete & ~pl.col("is_absent")
    stays = ~is_taken | (~differs & (will_delete == was_deleted) & ~is_back)
    is_older = ~is_taken & (differs | (pl.col("says_deleted") != was_deleted))

    writes_raw = ~exists | (is_taken & differs)
    has_value = pl.col("value_position").is_not_null()
    is_sound = ~pl.col("is_delete") & ~pl.col("is_absent")  # else the text alone does not say what the row is
    brings_fingerprint = is_sound & pl.col("fingerprint").ne_missing(pl.col("row_fingerprint"))
    brings_evidence = (
        brings_fingerprint
        | pl.col("change_at").ne_missing(pl.col("row_change_at"))
        | (pl.lit(mark.is_forced) & (pl.col("source_at") != pl.col("row_source_at")))
    )
    action = (
        pl.when(~exists)
        .then(pl.lit("insert"))
        .when(stays & is_older)
        .then(pl.lit("stale"))
        .when(stays & is_taken & brings_evidence)
        .then(pl.lit("refresh"))
        .when(stays)
        .then(pl.lit("unchanged"))
        .when(was_live & will_delete)
        .then(pl.lit("soft_delete_flagged"))
        .when(~was_live & will_live)
        .then(pl.lit("restore"))
        .otherwise(pl.lit("update"))
    )
    is_reported = pl.col("is_delete") & (will_delete != was_deleted)
    return (
        met.with_columns(changed=pl.Series(changed.take(place.to_arrow())))
        .with_columns(action=action)
        .select(
            "action",
            "id",
            pl.when(writes_raw & has_value).then("value_file").otherwise("file").alias("file"),
            pl.when(writes_raw).then(pl.when(has_value).then("value_position").otherwise("position")).alias("position"),
            fingerprint=pl.when(is_sound & (is_taken | ~exists)).then("fingerprint"),
            source_at=pl.when(is_taken).then("source_at").otherwise("row_source_at"),
            change_at="change_at",
            deleted_at="deleted_at",
            absent_since=pl.when("is_absent").then(pl.coalesce("row_absent_since", pl.lit(mark.at, dtype=INSTANT))),
            changed=pl.when(exists).then(
                pl.when(is_reported).then(pl.col("changed").list.concat(pl.lit(["deleted_at"]))).otherwise("changed")
            ),
            before=pl.col("row_raw"),
            plate=pl.col("row_plate"),
            filled_at=pl.col("row_filled_at"),
            seen=pl.col("row_seen"),
            said_by="file",
        )
        .cast(dict(DECISIONS.items()))
    )


def part_inserts(decided: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`DECISIONS` → the rows that are simply new (`INSERTS`), and what else is written (`WRITES`)."""
    is_new = (pl.col("action") == "insert") & pl.all_horizontal(pl.col("deleted_at", "absent_since").is_null())
    writes = ~pl.col("action").is_in(["unchanged", "stale"])
    return decided.filter(is_new).select(INSERTS.names()), decided.filter(writes & ~is_new).select(WRITES.names())
