"""Rejected records, as the database keeps them, for people; personal values only if asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fleetfuel.report.shown import open_fields
from fleetfuel.report.words import indented, iso, moment
from fleetfuel.rules.book import Rules
from fleetfuel.table.database import Database

Row = dict[str, Any]
"""A row of `fuel.rejects`: names of columns → values."""

WRAPS: Final = 3
"""At most so many messages around a record, one inside the other, are opened: no record lies deeper."""


def read_rejects(
    database: Database,
    rules: Rules,
    *,
    only_open: bool = False,
    record: int | None = None,
    last: int = 50,
    personal: bool = False,
) -> tuple[list[Row], int]:
    """At most `last` rejected records, last seen first, and how many there are in all. `shown`: the record, without
    what has to stay hidden."""
    rows = database.rows("read_rejects", only_open, record, last)
    total = rows[0]["total"] if rows else 0
    return [_reject(row, rules, personal=personal) for row in rows], total


def _reject(row: Row, rules: Rules, *, personal: bool) -> Row:
    times = {name: iso(row[name]) for name in ("first_seen_at", "last_seen_at", "resolved_at")}
    content = row["content"]
    shown = content if personal else _shown(content, rules)
    plain = {name: row[name] for name in row if name not in ("content", "is_binary", "total")}
    return plain | times | {"shown": shown}


def _shown(content: str | None, rules: Rules) -> str | None:
    """The record with the values of fields that are known and not personal; None if it is no JSON object."""
    try:
        record = json.loads(content or "null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    return json.dumps(_public(record, open_fields(rules)), ensure_ascii=False)


def _public(record: Mapping[str, Any], allowed: frozenset[str], wraps: int = WRAPS) -> dict[str, Any]:
    """Known values, also those of a record inside at most `wraps` messages (`{"op": …, "row": {…}}`)."""
    inner = {
        name: _public(value, allowed, wraps - 1) for name, value in record.items() if isinstance(value, dict) and wraps
    }
    return {
        name: inner.get(name) or value
        for name, value in record.items()
        if inner.get(name) or (name in allowed and not isinstance(value, dict | list))
    }


def render_rejects(rejects: Sequence[Row], total: int, *, width: int, only_open: bool = False) -> str:
    """A block a rejected record: rule and id, reason, file and position, the record."""
    kind = "open " if only_open else ""
    if not rejects:
        return f"No {kind}rejected record.\n"
    blocks = [f"{total:,} {kind}rejected {'record' if total == 1 else 'records'}, last seen first."]
    blocks += ["\n".join(reject_lines(row, width)) for row in rejects]
    if total > len(rejects):
        blocks.append(f"… {total - len(rejects):,} more: --last {total}")
    return "\n\n".join(blocks) + "\n"


def reject_lines(row: Row, width: int) -> Iterator[str]:
    """One rejected record (`read_rejects`) in lines."""
    who = "without a usable id" if row["id"] is None else f"record {row['id']}"
    repaired = f"resolved {moment(row['resolved_at'])} by run {row['resolved_by']}" if row["resolved_at"] else "open"
    yield f"{row['rule']}, {who}, {repaired}"
    yield from indented(row["reason"], width)
    yield from indented(f"{row['source_key']}, position {row['position']:,}", width)
    times = "once" if row["times_seen"] == 1 else f"{row['times_seen']:,} times"
    yield from indented(f"seen {times}, last {moment(row['last_seen_at'])} by run {row['last_run_id']}", width)
    yield from indented(row["shown"] or "(no JSON object; the report's rejects.parquet holds it whole)", width)
