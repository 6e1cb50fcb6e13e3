"""Which rows of a report are shown, in which order, and how many there are where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from fleetfuel.report import saved
from fleetfuel.report.saved import GROUPS, OTHER, SavedReport

PLACES: Final = 12
"""At most so many departments, or vehicles, are listed."""


def count_groups(report: SavedReport) -> Mapping[str, int]:
    """Group → its rows, in the order of `GROUPS`; those without rows are left out."""
    counted = saved.collected(report.changes.group_by("group").len(), report.folder / "changes.parquet")
    rows = dict(counted.iter_rows())
    return {group: rows[group] for group in (*GROUPS, OTHER) if rows.get(group)}


def choose_rows(report: SavedReport, group: str | None, limit: int | None) -> pl.DataFrame:
    """The rows of one group, or of all, at most `limit`: each group gets its share, soft deletes come first.

    Within a group the newest fills come first, as it is those that somebody remembers.
    """
    counts = count_groups(report) if group is None else {group: limit or 0}
    shares = share_out(counts, limit) if limit is not None and group is None else dict.fromkeys(counts, limit)
    parts = [_newest(report, name, most) for name, most in shares.items() if most is None or most > 0]
    return pl.concat(parts) if parts else saved.collected(report.changes.head(0), report.folder / "changes.parquet")


def _newest(report: SavedReport, group: str, most: int | None) -> pl.DataFrame:
    rows = report.changes.filter(pl.col("group") == group)
    order = ["day", "id"]
    chosen = rows.sort(order, descending=True, nulls_last=True, maintain_order=True)
    return saved.collected(chosen if most is None else chosen.head(most), report.folder / "changes.parquet")


def share_out(counts: Mapping[str, int], limit: int) -> Mapping[str, int]:
    """Group → how many of its rows fit into `limit`: small groups whole, the others alike."""
    left = {name: rows for name, rows in counts.items() if rows}
    shares = dict.fromkeys(counts, 0)
    room = limit
    while left and room > 0:
        each = max(room // len(left), 1)
        for name in [*left]:
            taken = min(left[name], each, room)
            shares[name] += taken
            room -= taken
            left[name] -= taken
            if not left[name]:
                del left[name]
    return shares


# --- where --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Rows by a department or a vehicle, most hit first."""

    rows: pl.DataFrame
    """`name` and a column of counts for each group that has rows, and `total`."""
    others: int
    """How many more names there are."""


def count_places(report: SavedReport, column: str) -> Places:
    """How many rows of each group a department (or vehicle) has. Spellings that differ only in case, spaces, dots,
    dashes or underscores count as one, under the spelling that is most frequent."""
    folded = pl.col(column).str.to_uppercase().str.replace_all(r"[\s._-]+", "")
    counted = saved.collected(
        report.changes.select("group", name=pl.col(column), key=folded)
        .group_by("key", "name", "group")
        .len()
        .sort("len", "name", descending=[True, False]),
        report.folder / "changes.parquet",
    )
    names = counted.group_by("key", maintain_order=True).agg(pl.col("name").first())
    wide = counted.pivot("group", index="key", values="len", aggregate_function="sum").join(
        names, on="key", how="left", nulls_equal=True
    )
    groups = [group for group in (*GROUPS, OTHER) if group in wide.columns]
    rows = (
        wide.with_columns(pl.col(groups).fill_null(0).cast(pl.Int64))
        .with_columns(total=pl.sum_horizontal(groups) if groups else pl.lit(0, dtype=pl.Int64))
        .sort("total", "name", descending=[True, False], nulls_last=True)
        .select("name", *groups, "total")
    )
    return Places(rows=rows.head(PLACES), others=max(rows.height - PLACES, 0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Days:
    """Rows by the day of their fill."""

    rows: pl.DataFrame
    """`day` (date), `group`, `rows`; days or, over more than `DAILY` days, the Mondays of weeks."""
    first: date
    last: date
    is_weekly: bool
    undated: int
    """Rows without a day."""
    outside: int
    """Rows far before or after nearly all others (1970, a mistyped year): they are not drawn."""
    busiest: tuple[date, int]


DAILY: Final = 400
FAR: Final = 0.01
"""Share of the rows, at either end, that may be left out so that the others do not lie too close together."""


def count_days(report: SavedReport) -> Days | None:
    """Rows of each group by day of fill; None if no row has one."""
    counted = saved.collected(
        report.changes.group_by("day", "group").len("rows").sort("day", "group"), report.folder / "changes.parquet"
    )
    undated = int(counted.filter(pl.col("day").is_null())["rows"].sum())
    dated = counted.drop_nulls("day")
    if dated.is_empty():
        return None
    total = int(dated["rows"].sum())
    drawn = dated
    if _span(dated) > DAILY:
        so_far = pl.col("rows").cum_sum()
        drawn = dated.filter((so_far > total * FAR) & (so_far - pl.col("rows") < total * (1 - FAR)))
    is_weekly = _span(drawn) > DAILY
    if is_weekly:
        drawn = drawn.with_columns(pl.col("day").dt.truncate("1w")).group_by("day", "group").agg(pl.col("rows").sum())
    per_day = drawn.group_by("day").agg(pl.col("rows").sum()).sort("rows", "day", descending=[True, False])
    return Days(
        rows=drawn.sort("day", "group"),
        first=drawn["day"].min(),  # type: ignore[arg-type]
        last=drawn["day"].max(),  # type: ignore[arg-type]
        is_weekly=is_weekly,
        undated=undated,
        outside=total - int(drawn["rows"].sum()),
        busiest=per_day.row(0),
    )


def _span(days: pl.DataFrame) -> int:
    first, last = days["day"].min(), days["day"].max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    return (last - first).days
