"""The rows of a report as text: fitted to a terminal, as CSV, as JSON; in pieces, so that a million rows can stream."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import polars as pl

from fleetfuel.report import choice, saved
from fleetfuel.report.saved import SavedReport
from fleetfuel.report.shown import HIDDEN, ShownRow, shown_row, visible_text
from fleetfuel.report.words import or_nothing
from fleetfuel.rules.book import Rules

READ: Final = 40
"""Rows shown at a terminal, unless another number is asked for."""

BATCH: Final = 10_000

COLUMNS: Final = (
    *("action", "id", "plate", "department", "day", "changed", "before", "after", "source_key", "position"),
)

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""If a cell begins with one of these, a spreadsheet would compute it."""


def render_rows(
    report: SavedReport, rules: Rules, *, group: str | None, limit: int, width: int, personal: bool
) -> Iterator[str]:
    """A line a row: what, id, plate, day, what changed; cut at `width`. Then how many more there are."""
    counts = choice.count_groups(report)
    of = counts.get(group, 0) if group else sum(counts.values())
    if not of:
        yield f"No {group or 'rows'}.\n" if group else "No row changes.\n"
        return
    rows = [
        shown_row(row, rules, personal=personal)
        for row in choice.choose_rows(report, group, limit).iter_rows(named=True)
    ]
    columns = [(row.group[:-1] if row.group in counts and row.group != saved.OTHER else row.action) for row in rows]
    sizes = [
        max(map(len, columns)),
        max(len(str(row.id)) for row in rows),
        min(max(len(row.plate) for row in rows), 16),
    ]
    for what, row in zip(columns, rows, strict=True):
        start = f"{what:<{sizes[0]}}  {row.id:>{sizes[1]}}  {row.plate[: sizes[2]]:<{sizes[2]}}  {row.day or '-':<10}  "
        yield _cut(start + said_of(row), width) + "\n"
    if len(rows) < of:
        name = f"{group} " if group else ""
        yield f"… {of - len(rows):,} more {name}rows: --limit {of}, or --csv and --json for all of them\n".replace(
            f"{name}rows", group or "rows"
        )


def said_of(row: ShownRow) -> str:
    """What changed in a row, or the values of a row that comes or goes, on one line."""
    changed = [
        f"{each.field} {HIDDEN}"
        if each.before == each.after == HIDDEN
        else f"{each.field} {or_nothing(each.before)} → {or_nothing(each.after)}"
        for each in row.changed
    ]
    return " · ".join(changed or [value for _, value in row.values])


def _cut(line: str, width: int) -> str:
    return line.rstrip() if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def csv_lines(
    report: SavedReport, rules: Rules, *, group: str | None, limit: int | None, personal: bool
) -> Iterator[str]:
    """`COLUMNS` with a header. `changed` is joined by spaces; a text that a spreadsheet would compute gets a `'`."""
    yield _csv([COLUMNS])
    for records in _records(report, rules, group, limit, personal=personal):
        yield _csv([[_cell(record[name]) for name in COLUMNS] for record in records])


def json_lines(
    report: SavedReport, rules: Rules, *, group: str | None, limit: int | None, personal: bool
) -> Iterator[str]:
    """A JSON list, an object a line; `before` and `after` are objects, or a text if they are no JSON object."""
    start = "[\n"
    for records in _records(report, rules, group, limit, personal=personal):
        for record in records:
            values = record | {side: _parsed(record[side]) for side in ("before", "after")}
            yield start + json.dumps(values, ensure_ascii=False)
            start = ",\n"
    yield "[]\n" if start == "[\n" else "\n]\n"


def _records(
    report: SavedReport, rules: Rules, group: str | None, limit: int | None, *, personal: bool
) -> Iterator[list[dict[str, Any]]]:
    frame = report.changes if group is None else report.changes.filter(pl.col("group") == group)
    chosen = frame.select(*COLUMNS) if limit is None else frame.select(*COLUMNS).head(limit)
    path = report.folder / "changes.parquet"
    offset = 0
    while (rows := saved.collected(chosen.slice(offset, BATCH), path)).height:
        yield [_record(row, rules, personal=personal) for row in rows.iter_rows(named=True)]
        offset += rows.height


def _record(row: Mapping[str, Any], rules: Rules, *, personal: bool) -> dict[str, Any]:
    sides = {side: visible_text(row[side], rules, personal=personal) for side in ("before", "after")}
    return dict(row) | sides | {"day": row["day"].isoformat() if row["day"] else None}


def _parsed(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return text


def _cell(value: Any) -> str:
    if isinstance(value, list):
        value = " ".join(value)
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text


def _csv(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
