"""What the database remembers of runs, rejected records and versions, for people; personal values only if asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from fleetfuel import errors
from fleetfuel.printable import counted, sentence
from fleetfuel.report.summary import read_summary
from fleetfuel.report.text import render_summary
from fleetfuel.report.words import ago, iso, moment, wrapped
from fleetfuel.rules.book import Rules
from fleetfuel.table.database import Database

Row = dict[str, Any]
"""A row of the ledger: names of columns → values."""

GONE: Final = "soft-deleted: gone from the snapshot"
HIDDEN: Final = "(not shown; --personal shows it)"


# --- runs ---------------------------------------------------------------------------------------------------------


def read_runs(database: Database, *, status: str | None = None, last: int = 20) -> list[Row]:
    """The last runs, newest first, as JSON-ready objects."""
    return [_run(row) for row in database.rows("read_runs", status, last)]


def read_run(database: Database, run_id: str) -> Row:
    """One run with its stored `summary`; `run_id` may be its beginning, or `last`. Raises `SourceNotFound`."""
    if run_id == "last":
        newest = read_runs(database, last=1)
        run_id = newest[0]["run_id"] if newest else run_id
    found = database.rows("read_run", run_id)
    if len(found) != 1:
        what = f"A run {run_id!r}" if not found else f"One run that begins with {run_id!r}"
        where = "the ledger, fuel.ingest_runs, has none" if not found else f"{found[0]['run_id']} is one of several"
        hint = "`fleetfuel runs` lists them. Dry runs are not in the ledger: `fleetfuel show REPORT` shows theirs."
        raise errors.SourceNotFound(what=what, where=where, next_step=hint)
    return _run(found[0]) | {name: json.loads(found[0][name]) for name in ("summary", "metadata")}


def _run(row: Row) -> Row:
    finished = row["finished_at"]
    seconds = round((finished - row["started_at"]).total_seconds(), 3) if finished else None
    times = {name: iso(row[name]) for name in ("source_at", "started_at", "finished_at")}
    plain = {name: row[name] for name in row if name not in ("summary", "metadata")}
    return plain | times | {"counts": json.loads(row["counts"]), "seconds": seconds}


def render_runs(runs: Sequence[Row], *, width: int, now: datetime, status: str | None = None) -> str:
    """A line a run, newest first, after a sentence that says how long ago the last one was."""
    if not runs and status:
        return f"No run was {status}.\n"
    if not runs:
        return "No run is in the ledger. Dry runs are not; `fleetfuel import --snapshot --apply` makes the first.\n"
    lines = []
    for run in runs:
        start = f"{run['run_id']:<23}  {run['mode']:<8}  {run['status']:<7}  "
        said = _said(run)
        if len(start) + len(said) <= width:
            lines.append(start + said)
        else:
            lines += [start.rstrip(), *_indented(said, width)]
    return "\n".join([_last(runs, now, status), "", *lines]) + "\n"


def _last(runs: Sequence[Row], now: datetime, status: str | None) -> str:
    ended = next((run["finished_at"] for run in runs if run["finished_at"]), None)
    if ended is None:
        return "No run has ended." if status is None else f"{counted(len(runs), 'run')} began and did not end."
    which = f"last {status} run" if status else "last run"
    return f"The {which} ended {ago(now - datetime.fromisoformat(ended))} ago."


def _said(run: Row) -> str:
    if run["status"] == "began":
        return "at work now" if run["is_at_work"] else "began, never ended: it was killed, or its connection was lost"
    if run["status"] != "applied":
        return f"exit {run['exit_code']}: {run['message']}"
    counts = run["counts"]
    names = {"inserts": "new", "updates": "changed", "soft_deletes": "deleted", "restores": "restored"}
    done = [f"{counts[name]:,} {word}" for name, word in names.items() if counts.get(name)] or ["no changes"]
    rejected = [f"{counts['rejected']:,} rejected"] if counts.get("rejected") else []
    return ", ".join([*done, *rejected])


def render_run(run: Row, *, width: int) -> str:
    """One run in full: how it ended, then what its summary said."""
    if run["status"] == "began":
        head = f"{run['run_id']} {_said(run)}, {moment(run['started_at'])}, by role {run['role']}"
        about = _indented(f"{run['mode']}, {run['source']}", width)
        return "\n".join([*wrapped(head, width, then="  "), *about]) + "\n"
    head = (
        f"{run['run_id']} {run['status']}, exit {run['exit_code']}, "
        f"{moment(run['finished_at'])}, {run['seconds']:.1f} s, by role {run['role']}"
    )
    lines = wrapped(head, width, then="  ")
    if run["message"]:
        lines += _indented(run["message"], width)
    if run["plan_checksum"]:
        lines += _indented(f"plan of run {run['plan_run_id']}, checksum {run['plan_checksum']}", width)
    if not run["summary"]:
        lines += _indented(f"{run['mode']}, {run['source']}: it failed before there was anything to count.", width)
        return "\n".join(lines) + "\n"
    return "\n".join([*lines, "", render_summary(read_summary(json.dumps(run["summary"])), width=width)])


# --- rejected records ---------------------------------------------------------------------------------------------


def read_rejects(
    database: Database,
    rules: Rules,
    *,
    only_open: bool = False,
    record: int | None = None,
    last: int = 50,
    personal: bool = False,
) -> tuple[list[Row], int]:
    """Rejected records, last seen first, and how many there are in all. `shown`: the record, as far as may be seen."""
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
    return json.dumps(_public(record, _open_fields(rules)), ensure_ascii=False)


def _public(record: Mapping[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    """Known values, also those of a record wrapped in a message (`{"op": …, "row": {…}}`)."""
    return {
        name: _public(value, allowed) if isinstance(value, dict) else value
        for name, value in record.items()
        if isinstance(value, dict) or (name in allowed and not isinstance(value, list))
    }


def _open_fields(rules: Rules) -> frozenset[str]:
    """The feed's names of fields that are known and not personal."""
    return frozenset(alias for name, aliases in rules.fields.items() if name not in rules.personal for alias in aliases)


def render_rejects(rejects: Sequence[Row], total: int, *, width: int, only_open: bool = False) -> str:
    """A block a rejected record: rule and record, why, where it lies, the record."""
    kind = "open " if only_open else ""
    if not rejects:
        return f"No {kind}rejected record.\n"
    blocks = [f"{total:,} {kind}rejected {'record' if total == 1 else 'records'}, last seen first."]
    blocks += ["\n".join(_reject_lines(row, width)) for row in rejects]
    if total > len(rejects):
        blocks.append(f"… {total - len(rejects):,} more: --last {total}")
    return "\n\n".join(blocks) + "\n"


def _reject_lines(row: Row, width: int) -> Iterator[str]:
    who = "without a usable id" if row["id"] is None else f"record {row['id']}"
    repaired = f"resolved {moment(row['resolved_at'])} by run {row['resolved_by']}" if row["resolved_at"] else "open"
    yield f"{row['rule']}, {who}, {repaired}"
    yield from _indented(row["reason"], width)
    yield from _indented(f"{row['source_key']}, position {row['position']:,}", width)
    times = "once" if row["times_seen"] == 1 else f"{row['times_seen']:,} times"
    yield from _indented(f"seen {times}, last {moment(row['last_seen_at'])} by run {row['last_run_id']}", width)
    yield from _indented(row["shown"] or "(no JSON object; the report's rejects.parquet holds it whole)", width)


# --- the history of one record ------------------------------------------------------------------------------------


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
    visible = None if personal else _open_fields(rules)
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
    """What led from each state of a row to the next; one that begins later than the one before ended is a new row."""
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
        # What a snapshot no longer has went with that snapshot, whenever the row itself was true.
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
    blocks += ["\n".join(_reject_lines(row, width)) for row in history["rejects"]]
    return "\n\n".join(blocks) + "\n"


def _event_lines(event: Row, width: int) -> Iterator[str]:
    yield f"{moment(event['at'])}  {event['action']}"
    by = [f"role {event['role']}"] if event["role"] else []
    if event["by_hand"]:
        yield from _indented("without a run, " + (", ".join(by) or "role unknown"), width)
    else:
        mode = f" ({event['mode']})" if event["mode"] else ""
        yield from _indented(", ".join([f"run {event['run_id']}{mode}", *by]), width)
        if event["source_key"]:
            yield from _indented(f"from {event['source_key']}, as of {moment(event['source_at'])}", width)
    names = max((len(change["field"]) for change in event["changed"]), default=0)
    for change in event["changed"]:
        said = HIDDEN if change["is_hidden"] else f"{_value(change['before'])} → {_value(change['after'])}"
        yield from _indented(f"{change['field']:<{min(names, 20)}}  {said}", width)


def _value(text: str | None) -> str:
    return "(nothing)" if text is None else text


# --- words --------------------------------------------------------------------------------------------------------


def _indented(text: str, width: int) -> list[str]:
    return wrapped(sentence(text), width, first="  ", then="    ")
