"""The ledger: a line when a run begins, one when it ends, its files, and where the feeds stand after it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from fleetfuel import __version__, errors
from fleetfuel.model.plan import Origin, Plan, Undo
from fleetfuel.printable import sentence
from fleetfuel.table.database import Database

MARK: Final = ("watermark", "key", "etag", "modified_at", "rules_digest", "run_id")
"""The columns of `fuel.ingest_state` that the ledger keeps of a feed, before and after a run."""


def begin_run(run_id: str, mode: str, source: str, started_at: datetime, database: Database) -> None:
    """The line of a run that begins. The caller commits it at once: so it is seen, whatever becomes of the run."""
    database.execute("write_start", run_id, mode, source, started_at.isoformat(), __version__)


def record_applied(plan: Plan, summary: Any, database: Database) -> None:
    """The lines of a run in the transaction that writes it: the run, its files, and where the feeds stand after it."""
    bad = next((file for file in plan.files if file.status == "bad"), None)
    exit_code, message = (errors.BadChangeFile.exit_code, f"{bad.key}: {bad.reason}") if bad else (0, None)
    before, mark = _marks(database), _mark(plan)
    _write_run(
        plan,
        summary,
        database,
        status="applied",
        exit_code=exit_code,
        message=message,
        marks={"before": before, "after": _moved(before, mark, plan)},
    )
    lines = [*_file_lines(plan)]
    if lines:
        database.execute("write_files", json.dumps(lines))
    if mark and plan.mode == "snapshot":
        mark["proof"] = database.rows("read_proof")[0]["proof"]
    if mark:
        database.execute("write_mark", json.dumps(mark))
    if plan.undo:
        _keep_undo(plan, plan.undo, database)
    elif mark:
        database.execute("release_lists", plan.run_id, plan.reading if plan.reading == "snapshot" else None, None)


def _moved(before: Mapping[str, Any], mark: Mapping[str, Any] | None, plan: Plan) -> dict[str, Any]:
    """Where the feeds stand after the run: as `write_mark`, `restore_mark` and `remove_mark` leave them."""
    after = dict(before)
    if plan.undo:
        restored = plan.undo.marks
        after |= {feed: {**mark, "run_id": plan.run_id} for feed, mark in restored.items() if mark is not None}
        return {feed: stands for feed, stands in after.items() if restored.get(feed, stands) is not None}
    if mark is not None:
        feed = mark["feed"]
        new = {name: mark[name] for name in MARK}
        old = before.get(feed)
        reached = datetime.fromisoformat(mark["watermark"])
        is_past = old is not None and reached < old["watermark"] <= datetime.now(UTC)
        if feed == "changes" and old is not None and is_past:
            new = {**old, "rules_digest": mark["rules_digest"], "run_id": mark["run_id"]}
        after[feed] = new
    return after


def _keep_undo(plan: Plan, undo: Undo, database: Database) -> None:
    """Marks that go back, and lists of records that are held, or held no longer."""
    for feed, mark in undo.marks.items():
        if mark is None:
            database.execute("remove_mark", feed)
        else:
            database.execute("restore_mark", json.dumps({**mark, "feed": feed, "run_id": plan.run_id}))
    if undo.releases:
        database.execute("release_lists", plan.run_id, None, undo.releases)
    if undo.held:
        held = [{**each, "undone_run": undo.run_id, "undone_by": plan.run_id} for each in undo.held]
        database.execute("hold_lists", json.dumps(held))


def _marks(database: Database) -> dict[str, Any]:
    """Where the feeds stand, without the proof."""
    return {
        mark["feed"]: {name: mark[name] for name in MARK}
        for mark in database.rows("read_marks")
        if mark["watermark"] is not None
    }


def record_refusal(plan: Plan, summary: Any, database: Database) -> None:
    """The line of a run that a guard refused: the run writes nothing else."""
    message = "; ".join(f"{guard.code}: {guard.seen}, limit {guard.limit}" for guard in plan.guards)
    database.begin()
    _write_run(plan, summary, database, status="refused", exit_code=3, message=message)
    database.commit()


def record_untouched(summary: Any, database: Database) -> None:
    """The line of a run that found the snapshot applied already, in the open transaction."""
    line = {name: getattr(summary, name) for name in ("run_id", "mode", "source", "source_at", "started_at", "version")}
    line |= {"counts": summary.counts, "rules_digest": summary.rules_digest, "metadata": []}
    line |= {"status": "applied", "exit_code": 0, "summary": summary, "message": None, "plan_run_id": summary.run_id}
    marks = _marks(database)
    line |= {"marks": {"before": marks, "after": marks}}
    database.execute("write_run", _json(line))


def record_failure(run_id: str, error: errors.FleetfuelError, database: Database) -> None:
    """The line of a run that failed. Nothing is written if it never began, or has ended."""
    message = sentence(str(error).splitlines()[0])
    database.begin()
    database.execute("write_failure", run_id, error.exit_code, message)
    database.commit()


def _write_run(
    plan: Plan,
    summary: Any,
    database: Database,
    *,
    status: str,
    exit_code: int,
    message: str | None,
    marks: dict[str, Any] | None = None,
) -> None:
    line = {
        "run_id": plan.run_id,
        "mode": plan.mode,
        "source": plan.source,
        "source_at": plan.source_at,
        "started_at": plan.started_at,
        "status": status,
        "exit_code": exit_code,
        "counts": plan.counts,
        "summary": summary,
        "metadata": [_metadata(origin.metadata) for origin in plan.origins],
        "message": message and sentence(message),
        "rules_digest": plan.rules_digest,
        "version": __version__,
        "plan_run_id": plan.planned_by,
        "plan_checksum": summary.checksum,
        "marks": marks,
        "lists": plan.undo.redone if plan.undo else [_list(origin, plan) for origin in plan.origins],
        "undone_run": plan.undo.run_id if plan.undo else None,
        "reopened": plan.undo.reopened if plan.undo else (),
    }
    database.execute("write_run", _json(line))


def _list(origin: Origin, plan: Plan) -> dict[str, Any]:
    return {"list_hash": origin.list_hash, "rules_digest": plan.rules_digest, "reading": plan.reading}


METADATA_MOST: Final = 1 << 16
"""Characters of a file's metadata that the ledger keeps, verbatim. If there are more, it keeps only their number."""


def _metadata(text: str) -> msgspec.Raw | str:
    return msgspec.Raw(text.encode()) if len(text) <= METADATA_MOST else f"{len(text):,} characters, not kept"


def _json(line: Any) -> str:
    return msgspec.json.encode(line).decode()


def _file_lines(plan: Plan) -> Iterator[dict[str, object]]:
    """The files read, and those skipped: bad in a version that will not get better, or to be tried again."""
    origins = {origin.key: origin for origin in plan.origins}
    for file in plan.files:
        if file.status == "bad":
            continue
        origin = origins.get(file.key)
        yield {
            "key": file.key,
            "etag": file.etag,
            "size": origin.size if origin else 0,
            "file_at": (origin.file_at if origin else file.at).isoformat(),
            "modified_at": file.modified_at.isoformat(),
            "status": file.status,
            "records": origin.records if origin else 0,
            "counts": file.counts,
            "reason": file.reason and sentence(file.reason),
            "run_id": plan.run_id,
        }


def _mark(plan: Plan) -> dict[str, object] | None:
    """Where the feed stands after this run; None if nothing of the feed was read.

    A snapshot stands at its file time, because it is true for that time. Change files stand at the time that their keys
    name, because the next files are found by it; a file that holds only markers moves nothing.
    """
    if plan.reading == "snapshot":
        at = {origin.key: origin.file_at for origin in plan.origins}
    elif plan.mode == "changes":
        at = {file.key: file.at for file in plan.files if file.status in ("applied", "quarantined")}
    else:
        return None
    if not at:
        return None
    newest = max(at, key=lambda key: (at[key], key))
    reached = at[newest] if plan.reading == "snapshot" else min(at[newest], plan.started_at)  # a key may name any day
    versions = {file.key: file for file in plan.files}
    return {
        "feed": plan.reading,
        "watermark": reached.isoformat(),
        "key": newest,
        "etag": versions[newest].etag,
        "modified_at": versions[newest].modified_at.isoformat(),
        "rules_digest": plan.rules_digest,
        "run_id": plan.run_id,
    }
