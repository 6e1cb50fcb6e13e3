"""A report's folder as a value: what `show` needs of it, read without a database and without reading it all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from fleetfuel import errors
from fleetfuel.records.fills import FILL, fill_names, read_fills
from fleetfuel.report import evidence
from fleetfuel.report.summary import as_object
from fleetfuel.rules.book import Rules

ACTIONS: Final = {
    "soft_delete_absent": "soft deletes",
    "soft_delete_flagged": "soft deletes",
    "insert": "inserts",
    "update": "updates",
    "restore": "restores",
}
"""Action of a row in `changes.parquet` → the group in which it is shown. All outputs have the groups in this order:
soft deletes come first."""

GROUPS: Final = tuple(dict.fromkeys(ACTIONS.values()))
OTHER: Final = "other"
"""The group of an action that this release does not know."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedReport:
    """One report, as its folder holds it."""

    folder: Path
    run: Mapping[str, Any]
    """The object of `plan.json`: `summary.Summary` as plain values."""
    changes: pl.LazyFrame
    """`changes.parquet`, with `plate`, `department` (text), `day` (date, East Africa) and `group` (one of `GROUPS`)."""
    rejects: pl.LazyFrame
    """`rejects.parquet`."""
    notices: pl.LazyFrame
    """`notices.parquet`."""


def read_saved(folder: Path, rules: Rules, zone: ZoneInfo) -> SavedReport:
    """The report in a folder. Raises `SourceNotFound` if there is none, `BadInput` naming the file that is damaged."""
    run = as_object(evidence.read_report(folder))
    home = folder.parent if folder.is_file() else folder
    changes = _scan(home / "changes.parquet")
    if not set(FILL) <= set(changes.collect_schema().names()):
        frame = changes.collect()
        changes = frame.hstack(
            read_fills(frame.select(pl.coalesce("after", "before")).to_series(), fill_names(rules, zone))
        ).lazy()
    group = pl.col("action").replace_strict(ACTIONS, default=OTHER, return_dtype=pl.String)
    return SavedReport(
        folder=home,
        run=run,
        changes=changes.with_columns(group=group),
        rejects=_scan(home / "rejects.parquet"),
        notices=_scan(home / "notices.parquet"),
    )


def _scan(path: Path) -> pl.LazyFrame:
    if not path.is_file():
        raise errors.DamagedReport(key=path, reason="the report lacks this file")
    try:
        frame = pl.scan_parquet(path)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise errors.DamagedReport(key=path, reason=f"the report cannot be read ({reason})") from None
    return frame


def collected(frame: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """The rows of a part of a report. Raises `BadInput` for a file that is damaged inside."""
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise errors.DamagedReport(key=path, reason=f"the report cannot be read ({reason})") from None
