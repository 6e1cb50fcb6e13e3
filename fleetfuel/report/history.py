"""Every version of one record, and who made it, for people; personal values only if asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from fleetfuel import errors
from fleetfuel.report.rejects import read_rejects, reject_lines
from fleetfuel.report.shown import open_fields
from fleetfuel.report.words import indented, iso, moment, or_nothing
from fleetfuel.rules.book import Rules
from fleetfuel.table.database import Database

Row = dict[str, Any]
"""A version of a record, or an event of its history: names → values."""

GONE: Final = "soft-deleted: gone from the snapshot"
HIDDEN: Final = "(not shown; --personal shows it)"


def read_history(database: Database, record: int, rules: Rules, *, personal: bool = False) -> Row:
    """Every version of a record as events, oldest first, JSON-ready. Raises `SourceNotFound`."""
    current = next(iter(database.rows("read_record", record)), None)
    versions = database.rows("read_versions", record)
    rejects, _ = read_rejects(database, rules, record=record, personal=personal)
    if not (current or versions or rejects):
        hint = "Ids are those of the feed's own records: the column id of reporting.v_fuel_fills."
        where = "neither in fuel.records nor in its history"
        raise errors.SourceNotFound(what=f"The record {record}", where=where, next_step=hint)
    states = [*versions, *([current] if current else [])]
    ids = sorted({run for state in states for run in (state["run_id"], state.get("replaced_by_run")) if run})
    runs = {row["run_id"]: row for row in database.rows("read_run_modes", json.dumps(ids))}
    visible = None if personal else open_fields(rules)
    return {
        "id": record,
        "plate": current["plate"] if current else None,
        "state": _state(current),
        "first_seen_at": iso(current["first_seen_at"] if current else states[0]["valid_from"] if states else None),
        "events": [*_events(states, runs, visible, is_removed=current is None)],
        "rejects": rejects,
    }


def _state(row: Row | None) -> str:
    if row is None:
        return "not in the table"
    return "deleted" if row["deleted_at"] else "gone from the snapshot" if row["absent_since"] else "live"


def _events(
    states: Sequence[Row], runs: Mapping[str, Row], visible: frozenset[str] | None, *, is_removed: bool
) -> Iterator[Row]:
    """What led from each version of a row to the next. A version that begins after the one before it ended is a new
    row."""
    for number, state in enumerate(states):
        before = states[number - 1] if number else None
        if before is None or state["valid_from"] > before["replaced_at"]:
            if before:
                yield _event(
                    "removed from the table", before["replaced_at"], None, before["replaced_by_role"], None, runs, []
                )
            action = "inserted again" if before else "inserted"
            yield _event(action, state["valid_from"], state["run_id"], None, state, runs, [])
        else:
            run_id = before["replaced_by_run"]
            changed = [*_changes(before, state, visible)]
            undone = runs.get(run_id or "", {}).get("undone_run")
            action = f"put back, as before run {undone}" if undone else _action(before, state)
            action = action if run_id else "edited by hand"
            yield _event(action, before["replaced_at"], run_id, before["replaced_by_role"], state, runs, changed)
    if states and is_removed:
        last = states[-1]
        yield _event("removed from the table", last["replaced_at"], None, last["replaced_by_role"], None, runs, [])


def _event(
    action: str,
    at: datetime,
    run_id: str | None,
    role: str | None,
    state: Row | None,
    runs: Mapping[str, Row],
    changed: list[Row],
) -> Row:
    run = runs.get(run_id or "", {})
    return {
        "at": iso(at),
        "action": action,
        "by_hand": run_id is None,
        "run_id": run_id,
        "mode": run.get("mode"),
        "role": role or run.get("role"),
        "source_key": state["source_key"] if state and run_id else None,
        # A row that a snapshot lacks went at the snapshot's time, whatever time the row itself was of.
        "source_at": iso(state["absent_since"] if action == GONE else state["source_at"]) if state and run_id else None,
        "changed": changed,
    }


def _action(before: Row, after: Row) -> str:
    was, becomes = _state(before), _state(after)
    if was == becomes:
        return "updated"
    return {"live": "restored", "deleted": "soft-deleted: marked deleted"}.get(becomes, GONE)


def _changes(before: Row, after: Row, visible: frozenset[str] | None) -> Iterator[Row]:
    """The fields in which two versions differ, as the feed calls them, then the marks of deletion."""
    from fleetfuel.plan.same import changed_fields

    names = changed_fields(before["raw"].encode(), after["raw"].encode())
    old, new = (_object(state["raw"]) for state in (before, after))
    for name in names:
        if visible is not None and name not in visible:
            yield {"field": name, "before": None, "after": None, "is_hidden": True}
        else:
            yield {"field": name, "before": old.get(name), "after": new.get(name), "is_hidden": False}
    for name in ("deleted_at", "absent_since"):
        if before[name] != after[name] and name not in names:
            yield {"field": name, "before": iso(before[name]), "after": iso(after[name]), "is_hidden": False}


def _object(raw: str) -> dict[str, str]:
    """Field → its value as JSON text, exactly as stored."""
    import msgspec

    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.ValidationError, RecursionError):
        return {"raw": raw}
    return {name: bytes(value).decode() for name, value in fields.items()}


def render_history(history: Row, *, width: int) -> str:
    """Each event with its time, its author, its file and what it changed."""
    plate = f", {history['plate']}" if history["plate"] else ""
    blocks = [f"Record {history['id']}{plate}, {history['state']}"]
    events = history["events"]
    if events and history["first_seen_at"] < events[0]["at"]:
        blocks.append(f"First seen {moment(history['first_seen_at'])}; versions before the next line were pruned.")
    blocks += ["\n".join(_event_lines(event, width)) for event in events]
    blocks += ["\n".join(reject_lines(row, width)) for row in history["rejects"]]
    return "\n\n".join(blocks) + "\n"


def _event_lines(event: Row, width: int) -> Iterator[str]:
    yield f"{moment(event['at'])}  {event['action']}"
    by = [f"role {event['role']}"] if event["role"] else []
    if event["by_hand"]:
        yield from indented("without a run, " + (", ".join(by) or "role unknown"), width)
    else:
        mode = f" ({event['mode']})" if event["mode"] else ""
        yield from indented(", ".join([f"run {event['run_id']}{mode}", *by]), width)
        if event["source_key"]:
            yield from indented(f"from {event['source_key']}, as of {moment(event['source_at'])}", width)
    names = max((len(change["field"]) for change in event["changed"]), default=0)
    for change in event["changed"]:
        said = HIDDEN if change["is_hidden"] else f"{or_nothing(change['before'])} → {or_nothing(change['after'])}"
        yield from indented(f"{change['field']:<{min(names, 20)}}  {said}", width)
