"""Pure: the rows that a complete snapshot lacks, and what is decided of them."""

from __future__ import annotations

import decimal
import json
from collections.abc import Sequence
from datetime import datetime

import polars as pl

from fleetfuel.model.table import State
from fleetfuel.plan.decide import DECISIONS
from fleetfuel.plan.evidence import Mark, snapshot_lacks
from fleetfuel.plan.match import rows_met, rows_of
from fleetfuel.records.rows import INSTANT


def find_absent(state: State, known: pl.DataFrame, other_ids: pl.Series) -> pl.Series:
    """Ids of the rows that a complete snapshot does not hold: absent, if they are not newer than it."""
    is_absent = state.rows["is_present"] & ~rows_met(known, state)
    if is_absent.any():
        is_absent &= ~rows_of(other_ids, state)
    return state.rows["id"].filter(is_absent)


def without_unkeyed(details: pl.DataFrame, unkeyed: Sequence[bytes]) -> pl.DataFrame:
    """Rows that a snapshot lacks (`state.DETAILS`), without those whose values stand in a record with a broken id: that
    record is the row, so the row is not gone."""
    values = {_values(text) for text in unkeyed} - {None}
    if not values:
        return details
    return details.filter(pl.Series([_values(raw.encode()) not in values for raw in details["raw"]], dtype=pl.Boolean))


def _values(text: bytes) -> str | None:
    """What a record says apart from its id, equal for equal JSON values; None if it says nothing else."""
    try:
        fields = json.loads(text.decode("utf-8", "replace"), parse_int=decimal.Decimal, parse_float=decimal.Decimal)
        said = {name: value for name, value in fields.items() if name != "id"}
        return json.dumps(said, sort_keys=True, default=lambda number: [str(number.normalize())]) if said else None
    except (ValueError, RecursionError, AttributeError, ArithmeticError):
        return None


def mark_absent(details: pl.DataFrame, snapshot_at: datetime, mark: Mark) -> pl.DataFrame:
    """Rows that the snapshot lacks (`state.DETAILS`) → `DECISIONS` for those whose lack is taken for their absence."""
    return (
        details.filter(snapshot_lacks(snapshot_at, mark))
        .select(
            action=pl.when(pl.col("deleted_at").is_null())
            .then(pl.lit("soft_delete_absent"))
            .otherwise(pl.lit("mark_absent")),
            id="id",
            file=pl.lit(0, dtype=pl.UInt32),
            position=pl.lit(None, dtype=pl.UInt32),
            fingerprint=pl.lit(None, dtype=pl.Int128),
            source_at="source_at",
            change_at=_still_known(snapshot_at),
            deleted_at="deleted_at",
            absent_since=pl.lit(snapshot_at, dtype=INSTANT),
            changed=pl.lit(["absent_since"]),
            before="raw",
            plate="plate",
            filled_at="filled_at",
            seen="seen",
            said_by=pl.lit(None),
        )
        .cast(dict(DECISIONS.items()))
    )


def find_forgotten(state: State, snapshot_at: datetime, decided_ids: pl.Series) -> pl.Series:
    """Ids of the rows that a restored source does not name, and that a change file newer than it does."""
    is_newer = (state.rows["change_at"] > snapshot_at).fill_null(value=False)
    return (
        state.rows["id"].filter(is_newer & ~rows_of(decided_ids, state))
        if is_newer.any()
        else pl.Series(dtype=pl.Int64)
    )


def forget_changes(details: pl.DataFrame, snapshot_at: datetime) -> pl.DataFrame:
    """Rows that keep their values (`state.DETAILS`) → `DECISIONS` that make void what newer change files said."""
    return details.select(
        action=pl.lit("forget"),
        id="id",
        file=pl.lit(0, dtype=pl.UInt32),
        position=pl.lit(None, dtype=pl.UInt32),
        fingerprint="fingerprint",
        source_at="source_at",
        change_at=_still_known(snapshot_at),
        deleted_at="deleted_at",
        absent_since="absent_since",
        changed=pl.lit([], dtype=pl.List(pl.String)),
        before="raw",
        plate="plate",
        filled_at="filled_at",
        seen="seen",
        said_by=pl.lit(None),
    ).cast(dict(DECISIONS.items()))


def _still_known(snapshot_at: datetime) -> pl.Expr:
    return pl.when(pl.col("change_at") <= pl.lit(snapshot_at, dtype=INSTANT)).then("change_at")
