"""What the ledger holds of runs, for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fleetfuel import errors
from fleetfuel.printable import counted
from fleetfuel.report.summary import read_summary
from fleetfuel.report.text import render_summary
from fleetfuel.report.words import ago, indented, iso, moment, wrapped
from fleetfuel.table.database import Database

Row = dict[str, Any]
"""A row of the ledger: names of columns → values."""


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
            lines += [start.rstrip(), *indented(said, width)]
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
        about = indented(f"{run['mode']}, {run['source']}", width)
        return "\n".join([*wrapped(head, width, then="  "), *about]) + "\n"
    head = (
        f"{run['run_id']} {run['status']}, exit {run['exit_code']}, "
        f"{moment(run['finished_at'])}, {run['seconds']:.1f} s, by role {run['role']}"
    )
    lines = wrapped(head, width, then="  ")
    if run["message"]:
        lines += indented(run["message"], width)
    if run["plan_checksum"]:
        lines += indented(f"plan of run {run['plan_run_id']}, checksum {run['plan_checksum']}", width)
    if not run["summary"]:
        lines += indented(f"{run['mode']}, {run['source']}: it failed before there was anything to count.", width)
        return "\n".join(lines) + "\n"
    return "\n".join([*lines, "", render_summary(read_summary(json.dumps(run["summary"])), width=width)])
