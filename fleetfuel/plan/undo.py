"""Pure: what a run wrote, and how it stands now → the plan that gives back what was before.

A row still as the run left it goes back to the version before, with that version's evidence; a row that the run
inserted becomes absent. A row written since is a conflict, and stays.

| live now | live then | raw differs | action                                           |
|----------|-----------|-------------|--------------------------------------------------|
| yes      | no        |             | soft_delete_flagged if deleted then, else absent |
| no       | yes       |             | restore                                          |
| yes      | yes       |             | update                                           |
| no       | no        | yes         | update                                           |
| no       | no        | no          | mark_absent: the marks of a deleted row          |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from fleetfuel import writes
from fleetfuel.model.plan import Counts, Diff, Plan, Undo
from fleetfuel.model.table import Undone
from fleetfuel.plan import same
from fleetfuel.plan.limits import check_undo
from fleetfuel.plan.run import Run
from fleetfuel.plan.samples import changed_columns, sample_changes, sample_rows
from fleetfuel.printable import counted
from fleetfuel.records.fills import fill_names
from fleetfuel.records.judge import NOTICES
from fleetfuel.records.rows import INSTANT, REJECTED


class HistoryTexts:
    """The texts of the versions that come back: `position` is the line in `undone.WRITTEN`, `file` is not used."""

    def __init__(self, texts: pl.Series) -> None:
        self._texts = texts.cast(pl.Binary)

    def whole(self, _file: int, position: int) -> bytes:
        return bytes(self._texts[position])

    def take(self, _files: pl.Series, positions: pl.Series) -> pa.Array:
        return self._texts.gather(positions).to_arrow().cast(pa.large_binary())


def plan_rows(undone: Undone, run: Run) -> Plan:
    """The plan of an undo: rows, counts, guards, and what else goes back."""
    written = undone.written.with_row_index("line")
    conflicts = written.filter("is_conflict")
    rows = written.filter(~pl.col("is_conflict"))
    keys = rows.select(_key()).to_series().unique().sort().to_list() or [None]
    others = pl.concat([_back(rows, keys, undone.now), _unnoted(undone.noted)])
    acted = dict(others["action"].value_counts().iter_rows())
    absent, flagged = acted.get("soft_delete_absent", 0), acted.get("soft_delete_flagged", 0)
    counts = Counts(
        records=sum(acted.get(name, 0) for name in ("update", "restore", "soft_delete_flagged")),
        updates=acted.get("update", 0),
        restores=acted.get("restore", 0),
        soft_deletes=absent + flagged,
        soft_deletes_absent=absent,
        soft_deletes_flagged=flagged,
    )
    diff, names = Diff(inserts=writes.INSERTS.to_frame(), others=others), fill_names(run.rules, run.zone)
    texts = HistoryTexts(undone.written["raw_before"])
    samples, _ = sample_changes(others, texts.whole, run.rules)
    return Plan(
        run_id=run.run_id,
        mode="undo",
        reading="changes",
        source=f"run {undone.run_id} ({undone.source})",
        started_at=run.started_at,
        origins=(),
        texts=texts,
        diff=diff,
        rejected=REJECTED.to_frame(),
        notices=_conflict_notices(conflicts, undone.run_id),
        counts=counts,
        columns=changed_columns(others, run.rules),
        samples=samples,
        row_samples=sample_rows(diff, texts.whole, names),
        fill_names=names,
        rules={},
        resolved_rejects=undone.reopened,
        files=(),
        guards=check_undo(counts, undone.live_before, run.rules, run.overrides),
        live_before=undone.live_before,
        watermark_before=undone.watermark,
        rules_digest=run.rules.digest,
        remarks=_remarks(undone, conflicts.height),
        mark_before=undone.mark,
        keys=tuple(keys),
        rule_files=dict(run.rules.file_digests),
        planned_by=run.run_id,
        undo=Undo(
            run_id=undone.run_id,
            reopened=undone.resolved_rejects,
            marks=undone.marks,
            held=undone.held if _wrote(undone) else (),
            releases=undone.run_id if undone.undid else None,
            redone=undone.redone,
            conflicts=conflicts.height,
        ),
    )


def _key() -> pl.Expr:
    return pl.when("was_inserted").then("key_now").otherwise("key_before")


def _back(rows: pl.DataFrame, keys: Sequence[str | None], now: datetime) -> pl.DataFrame:
    """Rows of `undone.WRITTEN` (with `line`) → what gives back what was (`writes.WRITES`)."""
    inserted = pl.col("was_inserted")
    deleted_then = pl.when(inserted).then("deleted_now").otherwise("deleted_before")
    absent_then = (
        pl.when(inserted).then(pl.coalesce("absent_now", pl.lit(now, dtype=INSTANT))).otherwise("absent_before")
    )
    is_live = pl.col("deleted_now").is_null() & pl.col("absent_now").is_null()
    was_live = deleted_then.is_null() & absent_then.is_null()
    differs = pl.col("raw_before").is_not_null()
    action = (
        pl.when(is_live & ~was_live)
        .then(
            pl.when(deleted_then.is_not_null())
            .then(pl.lit("soft_delete_flagged"))
            .otherwise(pl.lit("soft_delete_absent"))
        )
        .when(~is_live & was_live)
        .then(pl.lit("restore"))
        .when((is_live & was_live) | differs)
        .then(pl.lit("update"))
        .otherwise(pl.lit("mark_absent"))
    )
    # A trigger takes the fingerprint for stale if it stays while the row changes.
    fingerprint = pl.when(~inserted & pl.col("fingerprint_before").ne_missing(pl.col("fingerprint_now"))).then(
        "fingerprint_before"
    )
    changed = [
        [*(same.changed_fields(now_.encode(), before.encode()) if before is not None else ()), *marks]
        for now_, before, marks in zip(
            rows["raw_now"], rows["raw_before"], _marks_changed(rows, deleted_then, absent_then), strict=True
        )
    ]
    return (
        rows.with_columns(changed=pl.Series(changed, dtype=pl.List(pl.String)))
        .select(
            action=action,
            id="id",
            file=_key().replace_strict(list(keys), list(range(len(keys))), return_dtype=pl.UInt32),
            position=pl.when(differs).then("line"),
            fingerprint=fingerprint,
            source_at=pl.when(inserted).then("source_at_now").otherwise("source_at_before"),
            change_at=pl.when(inserted).then("change_at_now").otherwise("change_at_before"),
            deleted_at=deleted_then,
            absent_since=absent_then,
            changed="changed",
            before="raw_now",
            plate="plate",
            filled_at="filled_at",
            seen="seen",
        )
        .cast(dict(writes.WRITES.items()))
    )


def _marks_changed(rows: pl.DataFrame, deleted_then: pl.Expr, absent_then: pl.Expr) -> list[list[str]]:
    reported = rows.select(
        deleted_at=deleted_then.is_null() != pl.col("deleted_now").is_null(),
        absent_since=absent_then.is_null() != pl.col("absent_now").is_null(),
    )
    return [[name for name, is_other in row.items() if is_other] for row in reported.iter_rows(named=True)]


def _unnoted(noted: pl.DataFrame) -> pl.DataFrame:
    """Rows of `undone.NOTED` → the evidence they had before (`writes.WRITES`)."""
    return noted.select(
        action=pl.lit("refresh"),
        id="id",
        file=pl.lit(0),
        position=pl.lit(None),
        fingerprint="fingerprint",
        source_at="source_at",
        change_at="change_at",
        deleted_at="deleted_at",
        absent_since="absent_since",
        changed=pl.lit(None),
        before=pl.lit(None),
        plate="plate",
        filled_at="filled_at",
        seen="seen",
    ).cast(dict(writes.WRITES.items()))


def _conflict_notices(conflicts: pl.DataFrame, run_id: str) -> pl.DataFrame:
    rows = [
        {
            "id": row["id"],
            "rule": "undo_conflict",
            "severity": "notice",
            "reason": f"written since, by {_author(row['last_run'], run_id)}: it stays as it is",
        }
        for row in conflicts.select("id", "last_run").iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=NOTICES)


def _author(last_run: str | None, run_id: str) -> str:
    """Who wrote a row last. An edit by hand leaves `last_run` as it was."""
    return "hand" if last_run in (None, run_id) else f"run {last_run}"


def _remarks(undone: Undone, conflicts: int) -> tuple[str, ...]:
    said = [f"{counted(conflicts, 'row')} written since run {undone.run_id}, left as written"] if conflicts else []
    said += [f"rejected records open again: {len(undone.resolved_rejects):,}"] if undone.resolved_rejects else []
    said += [_moved(feed, mark, undone) for feed, mark in undone.marks.items()]
    if not _wrote(undone):
        said.append(f"run {undone.run_id} wrote nothing that can be given back: what it read is not held")
    if undone.undid:
        said.append(f"this gives back what run {undone.undid} had done")
    return tuple(said)


def _moved(feed: str, mark: Mapping[str, Any] | None, undone: Undone) -> str:
    """Where the mark or watermark of a feed goes."""
    name, now = ("mark", undone.mark) if feed == "snapshot" else ("watermark", undone.watermark)
    if not mark:
        return f"the {name} of the {feed} is removed: there was none before"
    then = datetime.fromisoformat(mark["watermark"])
    way = "forward" if now is None or then > now else "back"
    return f"the {name} of the {feed} goes {way} to {then.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def _wrote(undone: Undone) -> bool:
    """Whether the run wrote anything: an hour without changes is not held, as doing it again changes nothing."""
    return bool(undone.written.height or undone.noted.height or undone.resolved_rejects or undone.reopened)
