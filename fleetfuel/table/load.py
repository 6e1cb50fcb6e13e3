"""THE WRITER: stage, merge, prove that the merge did what the plan says, commit. It decides nothing.

The plan was made in the same REPEATABLE READ transaction, so what it read is what is written over: a row that somebody
else changed meanwhile makes the merge fail (`SerializationConflict`) and the run is planned again.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import polars as pl
import pyarrow as pa
import xxhash

from fleetfuel import errors, writes
from fleetfuel.model.plan import Plan, Receipt
from fleetfuel.model.progress import Progress, silence
from fleetfuel.records.places import part_texts
from fleetfuel.records.texts import as_bytes
from fleetfuel.table.database import Database

log = logging.getLogger("fleetfuel")

SETTLING: Final = 60.0
"""Seconds to find out what became of a commit whose answer was lost."""
LINGERING: Final = 5.0
"""Seconds of these in which a session that lost its client may end by itself."""

BATCH: Final = 20_000
"""Rows staged at a time: the driver holds a whole encoded batch in memory."""

STAGE: Final = pa.schema(
    [
        ("action", pa.string()),
        ("id", pa.int64()),
        ("raw", pa.json_()),
        ("fingerprint", pa.uuid()),
        ("source_key", pa.string()),
        ("source_at", pa.timestamp("us", tz="UTC")),
        ("change_at", pa.timestamp("us", tz="UTC")),
        ("deleted_at", pa.timestamp("us", tz="UTC")),
        ("absent_since", pa.timestamp("us", tz="UTC")),
        ("seen", pa.int64()),
    ]
)
"""Columns of the statement create_stage, as Arrow sends them."""

REJECT_STAGE: Final = pa.schema(
    [
        ("content_hash", pa.uuid()),
        ("rule", pa.string()),
        ("id", pa.int64()),
        ("reason", pa.string()),
        ("content", pa.string()),
        ("content_bytes", pa.binary()),
        ("source_key", pa.string()),
        ("position", pa.int64()),
    ]
)
"""Columns of the statement create_reject_stage."""

WRITING_ACTIONS: Final = ("update", "restore", "soft_delete_flagged", "soft_delete_absent")


def load_plan(plan: Plan, database: Database, progress: Progress = silence) -> Receipt:
    """Write a plan's rows and rejects in the open transaction, for `commit_plan`.

    Raises `LoadMismatch` if the merge did something else than planned, `SerializationConflict` if somebody else
    wrote the same rows; nothing is written then.
    """
    planned: Counter[str] = Counter(dict(plan.diff.others["action"].value_counts().iter_rows()))
    planned += Counter(insert=plan.diff.inserts.height)
    if planned:
        _stage(plan, database, progress)
        if plan.planned_by != plan.run_id:
            _check_seen(plan, database)
        _merge(plan, planned, database, progress)
    _write_rejects(plan, database)
    refreshed = sum(planned.get(action, 0) for action in writes.QUIET)
    return Receipt(written=sum(planned.values()) - refreshed, refreshed=refreshed)


def _check_seen(plan: Plan, database: Database) -> None:
    """Raises `PlanNoLongerFits` if a row is no longer as the saved plan saw it: it overwrites nothing else."""
    moved = database.rows("find_moved")[0]
    if moved["rows"]:
        by = f", last by run {moved['run_id']}" if moved["run_id"] else ""
        rows = "1 row it would write is" if moved["rows"] == 1 else f"{moved['rows']:,} rows it would write are"
        raise errors.PlanNoLongerFits(
            plan=plan.planned_by, reason=f"{rows} no longer what it saw (id {moved['ids']}){by}"
        )


def _stage(plan: Plan, database: Database, progress: Progress) -> None:
    database.execute("create_stage")
    database.ingest("fuel_stage", pa.RecordBatchReader.from_batches(STAGE, _stage_batches(plan, progress)))
    database.execute("index_stage")


def _stage_batches(plan: Plan, progress: Progress) -> Iterator[pa.RecordBatch]:
    keys = pa.array(plan.keys, type=pa.string())
    staged, total = 0, plan.diff.height
    for rows in writes.batches(plan.diff, BATCH):
        texts = plan.texts.take(rows["file"], rows["position"])
        yield pa.RecordBatch.from_arrays(
            [
                rows["action"].to_arrow().cast(pa.string()),
                rows["id"].to_arrow(),
                pa.ExtensionArray.from_storage(pa.json_(), texts.cast(pa.string())),
                _uuids(as_bytes(rows["fingerprint"])),
                keys.take(rows["file"].to_arrow()),
                *(rows[name].to_arrow() for name in ("source_at", "change_at", "deleted_at", "absent_since", "seen")),
            ],
            schema=STAGE,
        )
        staged += rows.height
        progress("stage", staged, total)


def _uuids(values: list[bytes | None]) -> pa.ExtensionArray:
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array(values, type=pa.binary(16)))


def _merge(plan: Plan, planned: Mapping[str, int], database: Database, progress: Progress) -> None:
    total, done, versions = sum(planned.values()), dict[str, int](), 0
    counted = database.rows("count_writes")[0]
    progress("merge", 0, total)
    database.execute("announce_load")
    if "insert" in planned:
        done["insert"] = _rows(database, "merge_inserts", plan.run_id)
    for action in WRITING_ACTIONS:
        if action in planned:
            progress("merge", sum(done.values()), total)
            written = database.rows("merge_writes", plan.run_id, action)[0]
            done[action], versions = written["rows"], versions + written["versions"]
    if "mark_absent" in planned:
        done["mark_absent"] = _rows(database, "merge_marks", plan.run_id)
        versions += done["mark_absent"]
    for action in ("refresh", "forget"):
        if action in planned:
            done[action] = _rows(database, "merge_refreshes", plan.run_id, action)
    progress("merge", total, total)
    _prove(plan.run_id, planned, done, versions, counted, database)


def _prove(
    run_id: str,
    planned: Mapping[str, int],
    done: Mapping[str, int],
    versions: int,
    counted: Mapping[str, Any],
    database: Database,
) -> None:
    """Compare the merge with the plan: its counts, every staged row, the history, and what else was written. Raises
    `LoadMismatch`."""
    total = sum(planned.values())
    for action, rows in planned.items():
        if done.get(action) != rows:
            raise errors.LoadMismatch(what=action, planned=rows, done=done.get(action))
    found = database.rows("prove_merge", run_id)[0]
    if found["wrong"]:
        raise errors.LoadMismatch(what="rows as planned", planned=total, done=total - found["wrong"])
    if found["versions"] != versions:
        raise errors.LoadMismatch(what="versions kept in the history", planned=versions, done=found["versions"])
    now = database.rows("count_writes")[0]
    inserts = planned.get("insert", 0)
    for what, rows in (("inserted", inserts), ("updated", total - inserts), ("deleted", 0)):
        if now["is_counted"] and now[what] - counted[what] != rows:
            raise errors.LoadMismatch(what=f"rows {what} in all", planned=rows, done=now[what] - counted[what])


def _rows(database: Database, statement: str, *parameters: object) -> int:
    """How many rows the statement wrote, as it counts itself: with parameters the driver does not say."""
    return int(database.rows(statement, *parameters)[0]["rows"])


def _write_rejects(plan: Plan, database: Database) -> None:
    if plan.rejected.height:
        database.execute("create_reject_stage")
        database.ingest("fuel_reject_stage", pa.RecordBatchReader.from_batches(REJECT_STAGE, [_reject_batch(plan)]))
        database.execute("merge_rejects", plan.run_id)
    ids = "{" + ",".join(map(str, plan.resolved_rejects)) + "}"
    snapshot_key = plan.origins[-1].key if plan.reading == "snapshot" and plan.origins else None
    database.execute("resolve_rejects", plan.run_id, ids, snapshot_key)
    if plan.undo and plan.undo.reopened:
        database.execute("reopen_rejects", "{" + ",".join(map(str, plan.undo.reopened)) + "}")


def _reject_batch(plan: Plan) -> pa.RecordBatch:
    rows = plan.rejected
    contents = [plan.texts.whole(file, position) for file, position in rows.select("file", "position").iter_rows()]
    texts, others = part_texts(contents)
    return pa.RecordBatch.from_arrays(
        [
            _uuids([xxhash.xxh3_128_digest(content) for content in contents]),
            rows["rule"].to_arrow().cast(pa.string()),
            rows["id"].to_arrow(),
            rows["reason"].to_arrow().cast(pa.string()),
            pa.array(texts, type=pa.string()),
            pa.array(others, type=pa.binary()),
            pa.array([plan.keys[file] for file in rows["file"]], type=pa.string()),
            rows["position"].cast(pl.Int64).to_arrow(),
        ],
        schema=REJECT_STAGE,
    )


# --- the commit ---------------------------------------------------------------------------------------------------


def commit_plan(plan: Plan, database: Database) -> None:
    """Commit what `load_plan` wrote. If the answer is lost, the database is asked. Raises `CommitUnknown` if it cannot
    be asked either, and `DatabaseUnavailable` if it did not commit."""
    transaction = database.rows("read_transaction")[0]
    try:
        database.commit(is_last=True)
    except errors.DatabaseUnavailable as error:
        try:
            is_committed = _find_out(plan.run_id, transaction, database)
        except (KeyboardInterrupt, errors.Interruption, errors.Interrupted):
            is_committed = None
        reason = str(error.facts["reason"])
        if is_committed is None:
            raise errors.CommitUnknown(run_id=plan.run_id, reason=reason) from error
        if not is_committed:
            raise _not_committed(error, reason, database) from error
        log.warning("The answer to the commit was lost (%s). The ledger says that it was committed.", reason)


def _not_committed(error: errors.DatabaseUnavailable, reason: str, database: Database) -> errors.DatabaseUnavailable:
    if not isinstance(error, errors.DatabaseInterrupted):
        return error
    return errors.DatabaseInterrupted(reason=f"{reason}; it did not commit", target=database.target)


def _find_out(run_id: str, transaction: Mapping[str, Any], database: Database) -> bool | None:
    """Whether the run is in the ledger, once its transaction has ended; None if the server cannot be asked in time.

    A session that has not noticed that its client is gone keeps its transaction open, and the run lock: it is ended.
    """
    began = time.monotonic()
    while time.monotonic() < began + SETTLING:
        with contextlib.suppress(errors.DatabaseUnavailable), database.second_connection() as second:
            while second.rows("read_is_open", transaction["xid"])[0]["is_open"]:
                if time.monotonic() > began + SETTLING:
                    return None
                if time.monotonic() > began + LINGERING:
                    second.rows("end_session", transaction["pid"], transaction["xid"])
                time.sleep(0.2)
            return bool(second.rows("has_run", run_id)[0]["present"])
        time.sleep(0.5)
    return None
