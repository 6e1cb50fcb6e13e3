"""READER 2: a run that is to be undone, and how the rows that it wrote stand now."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

import polars as pl

from fleetfuel import errors
from fleetfuel.model.table import Undone
from fleetfuel.records.rows import INSTANT, columns
from fleetfuel.table.database import Database
from fleetfuel.table.frames import as_frame
from fleetfuel.table.standing import read_marks

WRITTEN: Final = columns(
    {
        "id": pl.Int64,
        "was_inserted": pl.Boolean,
        "is_conflict": pl.Boolean,
        "last_run": pl.String,
        "raw_before": pl.String,
        "raw_now": pl.String,
        **{
            f"{name}_{when}": kind
            for when in ("before", "now")
            for name, kind in (
                ("deleted", INSTANT),
                ("absent", INSTANT),
                ("key", pl.String),
                ("source_at", INSTANT),
                ("change_at", INSTANT),
                ("fingerprint", pl.Int128),
            )
        },
        "plate": pl.String,
        "filled_at": INSTANT,
        "seen": pl.Int64,
    }
)
"""Rows that a run wrote: as they were before, and as they are now. `raw_before` is null if the text stayed."""


NOTED: Final = columns(
    {
        "id": pl.Int64,
        "fingerprint": pl.Int128,
        "source_at": INSTANT,
        "change_at": INSTANT,
        "deleted_at": INSTANT,
        "absent_since": INSTANT,
        "plate": pl.String,
        "filled_at": INSTANT,
        "seen": pl.Int64,
    }
)
"""Rows of which a run noted newer evidence: what that was before."""


LEFT: Final = columns(
    {
        "id": pl.Int64,
        "raw": pl.String,
        "is_deleted": pl.Boolean,
        "is_absent": pl.Boolean,
        "key": pl.String,
        "stands": pl.Boolean,
    }
)
"""Rows that an undone run had written, as it left them. `stands`: it is so again. Empty if its history is pruned, or if
an undone snapshot is no longer all that the table held: since then, other rows changed."""


def read_undone(database: Database, beginning: str) -> Undone:
    """A run, with what is needed to undo it. `beginning`: of its id, or `last`. In the open transaction.

    Raises `SourceNotFound` for a run that the ledger does not hold, and `CannotUndo`.
    """
    if beginning == "last":
        beginning = next((row["run_id"] for row in database.rows("read_last_applied")), beginning)
    found = database.rows("read_undoable", beginning)
    if len(found) != 1:
        where = "the ledger, fuel.ingest_runs, has none (it may be pruned)" if not found else "it is one of several"
        raise errors.SourceNotFound(
            what=f"A run {beginning!r}", where=where, next_step="`fleetfuel runs` lists them; dry runs wrote nothing."
        )
    run = found[0]
    if run["status"] != "applied":
        raise errors.CannotUndo(run_id=run["run_id"], reason=f"it was {run['status']}, and wrote nothing")
    if run["kept_since"] and run["stamped_at"] < run["kept_since"]:
        since = f"{run['kept_since']:%Y-%m-%d %H:%M:%SZ}"
        raise errors.CannotUndo(
            run_id=run["run_id"], reason=f"what it overwrote is pruned: history is kept since {since}"
        )
    if run["undone_by"] and not _is_undone(database, run["undone_by"]):
        by = run["undone_by"]
        raise errors.CannotUndo(
            run_id=run["run_id"], reason=f"run {by} undid it already; `fleetfuel undo {by}` gives it back"
        )
    marks = json.loads(run["marks"])
    before, after = marks.get("before", {}), marks.get("after", {})
    now = read_marks(database)
    stands = {feed: {name: now[feed][name] for name in ("watermark", "run_id")} for feed in now}
    moved = {
        feed: before.get(feed)
        for feed, mark in after.items()
        if before.get(feed) != mark
        and stands[feed]["run_id"] == mark["run_id"]
        and stands[feed]["watermark"] == datetime.fromisoformat(mark["watermark"])
    } | {feed: mark for feed, mark in before.items() if feed not in after and now[feed]["watermark"] is None}
    rejects = database.table("read_resolved_rejects", run["run_id"])["reject_id"].to_pylist()
    return Undone(
        run_id=run["run_id"],
        source=run["source"],
        written=as_frame(database.table("read_written", run["run_id"]), WRITTEN),
        noted=as_frame(database.table("read_noted", run["run_id"]), NOTED),
        resolved_rejects=tuple(rejects),
        marks=moved,
        held=tuple(json.loads(run["lists"])),
        undid=run["undone_run"],
        redone=tuple(json.loads(run["redone"] or "[]")),
        reopened=tuple(json.loads(run["reopened"])),
        live_before=int(database.rows("count_live")[0]["rows"]),
        now=now["snapshot"]["asked_at"],
        mark=now["snapshot"]["watermark"],
        watermark=now["changes"]["watermark"],
    )


def _is_undone(database: Database, run_id: str) -> bool:
    """Whether an undo was undone itself, so that what it undid is applied again."""
    by = database.rows("read_undoable", run_id)[0]["undone_by"]
    return bool(by) and not _is_undone(database, by)
