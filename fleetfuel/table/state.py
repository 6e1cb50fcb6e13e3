"""READER 2: the table as it stands. Reads only; what it read means something only within its transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import polars as pl
import pyarrow as pa

from fleetfuel import errors
from fleetfuel.model.files import FilesRead, version_of
from fleetfuel.model.table import HeldList, State, Undone
from fleetfuel.records.rows import INSTANT, columns
from fleetfuel.records.texts import as_numbers
from fleetfuel.rules.fields import LOSABLE
from fleetfuel.table.database import Database

ROWS: Final = columns(
    {"id": pl.Int64, "fingerprint": pl.Int128, "change_at": INSTANT, "is_live": pl.Boolean, "is_present": pl.Boolean}
)

DETAILS: Final = columns(
    {
        "id": pl.Int64,
        "raw": pl.String,
        "fingerprint": pl.Int128,
        "deleted_at": INSTANT,
        "absent_since": INSTANT,
        "source_at": INSTANT,
        "own_at": INSTANT,
        "change_at": INSTANT,
        "plate": pl.String,
        "filled_at": INSTANT,
        "seen": pl.Int64,
    }
)
"""Rows in full, `raw` as PostgreSQL writes jsonb."""

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
"""Rows that a run wrote: as they were before, and as they are now. `raw_before` is null where the text stayed."""

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

OPEN_REJECTS: Final = columns({"reject_id": pl.Int64, "id": pl.Int64, "rule": pl.String, "source_key": pl.String})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a run has to know of the ledger before it fetches anything."""

    marks: Mapping[str, Mapping[str, Any]]
    """Feed → where it stands, by fuel.ingest_state, unless that lies in the future."""
    read: FilesRead
    """The change files that runs have read; none where nobody asked."""
    proven: Mapping[str, str]
    """File of `rules/` → digest of what it said when `migrate` proved and synced it."""
    last_summary: str | None
    """The `--json` object of the last run that was applied, as text."""
    has_stale_facts: bool
    """Whether stored facts of fills are to be computed anew."""

    @property
    def watermark(self) -> datetime | None:
        """Time of the newest change file applied; None before the first."""
        mark = self.marks.get("changes")
        return mark["watermark"] if mark else None


def read_standing(database: Database, *, with_files: bool) -> Standing:
    """Read it, in the open transaction. Raises `SchemaNotReady` where migrations are missing."""
    last = database.rows("read_last_summary")[0]
    return Standing(
        marks=believed_marks(read_marks(database)),
        read=read_files(database) if with_files else FilesRead(),
        proven={row["file"]: row["digest"] for row in database.rows("read_rules_state")},
        last_summary=last["summary"],
        has_stale_facts=last["has_stale_facts"],
    )


def read_marks(database: Database) -> Mapping[str, Mapping[str, Any]]:
    """Feed → where it stands, as the table says, and `asked_at`."""
    return {mark["feed"]: mark for mark in database.rows("read_marks")}


def believed_marks(marks: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Feed → where it stands, without `asked_at`; no feed whose mark lies in the future, which is a wrong clock's."""
    return {
        feed: {name: value for name, value in mark.items() if name != "asked_at"}
        for feed, mark in marks.items()
        if mark["watermark"] is not None and mark["watermark"] <= mark["asked_at"]
    }


class Now:
    """The table as it stands, in the open transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def state(self) -> State:
        """Ids, fingerprints and marks. Raises `SchemaNotReady` where migrations are missing."""
        marks = read_marks(self._database)
        rows = self._database.stream("read_rows", lambda batch: _frame(pa.Table.from_batches([batch]), ROWS))
        believed = believed_marks(marks)
        return State(
            rows=_whole(rows),
            now=marks["snapshot"]["asked_at"],
            mark=believed.get("snapshot", {}).get("watermark"),
            watermark=believed.get("changes", {}).get("watermark"),
            disbelieved=tuple(
                f"the mark of the {feed} lies in the future, {mark['watermark']:%Y-%m-%d %H:%MZ}: it counts as none"
                for feed, mark in marks.items()
                if mark["watermark"] is not None and feed not in believed
            ),
            open_rejects=_frame(self._database.table("read_open_rejects"), OPEN_REJECTS),
        )

    def details(self, ids: Iterable[int]) -> pl.DataFrame:
        """The rows with these ids, in full (`DETAILS`)."""
        wanted = "{" + ",".join(map(str, ids)) + "}"
        return DETAILS.to_frame() if wanted == "{}" else _frame(self._database.table("read_details", wanted), DETAILS)

    def unknown_spellings(self, spellings: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
        """(field, spelling) of those that the database's normalisers do not know; they are its alone to judge."""
        rows = self._database.rows("read_unknown_spellings", json.dumps(spellings))
        return [(row["field"], row["spelling"]) for row in rows]

    def column_shares(self) -> Mapping[str, float]:
        """Column → the share of live rows that have it; empty for an empty table."""
        return _shares(self._database.rows("read_column_shares", _LOSABLE)[0]["counted"])

    def held_lists(self) -> tuple[HeldList, ...]:
        """Lists of records that were undone, and are held."""
        return tuple(HeldList(**row) for row in self._database.rows("read_held_lists"))


class AsOf(Now):
    """The table as it stood at an instant, from what its history kept."""

    def __init__(self, database: Database, instant: datetime) -> None:
        """Raises `NotKept` where the history does not reach back so far, or the instant is yet to come."""
        super().__init__(database)
        self._instant = instant
        kept = database.rows("read_history_kept", instant)[0]
        if kept["is_future"]:
            raise NotKept(instant=f"{instant:%Y-%m-%d %H:%M:%SZ}", reason="it is yet to come")
        if kept["since"] and kept["since"] > instant:
            first = f"the first instant that can be asked for is {kept['since'].isoformat().replace('+00:00', 'Z')}"
            raise NotKept(instant=f"{instant:%Y-%m-%d %H:%M:%SZ}", reason=first)

    def state(self) -> State:
        marks = self.marks()
        return State(
            rows=_frame(self._database.table("read_rows_as_of", self._instant), ROWS),
            now=self._instant,
            mark=marks.get("snapshot"),
            watermark=marks.get("changes"),
            disbelieved=(),
            open_rejects=_frame(self._database.table("read_open_rejects_as_of", self._instant), OPEN_REJECTS),
        )

    def marks(self) -> Mapping[str, datetime]:
        """Feed → where it stood."""
        then = self._database.rows("read_marks_as_of", self._instant)
        if then:
            marks = json.loads(then[0]["marks"] or "{}")
            found = {feed: datetime.fromisoformat(mark["watermark"]) for feed, mark in marks.items()}
        else:
            found = {feed: mark["watermark"] for feed, mark in read_marks(self._database).items() if mark["watermark"]}
        return {feed: at for feed, at in found.items() if at <= self._instant}

    def details(self, ids: Iterable[int]) -> pl.DataFrame:
        wanted = "{" + ",".join(map(str, ids)) + "}"
        if wanted == "{}":
            return DETAILS.to_frame()
        return _frame(self._database.table("read_details_as_of", self._instant, wanted), DETAILS)

    def column_shares(self) -> Mapping[str, float]:
        return _shares(self._database.rows("read_column_shares_as_of", _LOSABLE, self._instant)[0]["counted"])

    def held_lists(self) -> tuple[HeldList, ...]:
        """None: what is held now says nothing of then."""
        return ()


class NotKept(errors.FleetfuelError):
    message = """The table as it stood at {instant} cannot be had: {reason}."""
    exit_code = 66


_LOSABLE: Final = "{" + ",".join(LOSABLE) + "}"


def _shares(counted: str) -> Mapping[str, float]:
    held = json.loads(counted)
    rows = held.pop("rows")
    return {name: count / rows for name, count in held.items()} if rows else {}


def _whole(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The parts (it takes them) as one, each column in one piece: by columns, so that one at most is held twice."""
    parts.append(ROWS.to_frame())
    columns = []
    for name in ROWS.names():
        columns.append(pl.concat([part[name] for part in parts], rechunk=True))
        parts[:] = [part.drop(name) for part in parts]
    return pl.DataFrame(columns)


def read_undone(database: Database, beginning: str) -> Undone:
    """A run as its undoing needs it; `beginning` of its id, or `last`. In the open transaction.

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
        written=_frame(database.table("read_written", run["run_id"]), WRITTEN),
        noted=_frame(database.table("read_noted", run["run_id"]), NOTED),
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
    """Whether an undo was undone itself, so that what it undid stands again."""
    by = database.rows("read_undoable", run_id)[0]["undone_by"]
    return bool(by) and not _is_undone(database, by)


def read_untouched(database: Database, mark: Mapping[str, Any], *, skips_proof: bool) -> str | None:
    """The `--json` object of the run that set the snapshot's mark, as text, if that still stands and nobody has touched
    the table since; else None. `skips_proof` takes the table's part as given."""
    now = believed_marks(read_marks(database)).get("snapshot")
    if now != mark:
        return None
    if not skips_proof and mark["proof"] != database.rows("read_proof")[0]["proof"]:
        return None
    rows = database.rows("read_summary", mark["run_id"])
    return rows[0]["summary"] if rows else None


def read_standing_as_of(database: Database, instant: datetime) -> Standing:
    """What a dry run has to know that looks back: the files that had been read then, and the marks of then."""
    now = read_standing(database, with_files=False)
    marks = {feed: {"watermark": at} for feed, at in AsOf(database, instant).marks().items()}
    return replace(now, marks=marks, read=_files_read(database.table("read_files_as_of", instant)))


def read_files(database: Database) -> FilesRead:
    """What runs have read of the change files."""
    return _files_read(database.table("read_files"))


def _files_read(table: pa.Table) -> FilesRead:
    rows = table.to_pylist()
    return FilesRead(
        versions=frozenset(
            version_of(row["key"], row["etag"], row["modified_at"]) for row in rows if row["status"] != "unread"
        ),
        unread=frozenset(row["key"] for row in rows if row["status"] == "unread"),
    )


def _frame(table: pa.Table, schema: pl.Schema) -> pl.DataFrame:
    if table.num_rows == 0:
        return schema.to_frame()
    plain = pa.table(
        {
            name: column.combine_chunks().storage if isinstance(column.type, pa.BaseExtensionType) else column
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )
    frame = pl.from_arrow(plain)
    assert isinstance(frame, pl.DataFrame)
    prints = [name for name in schema if name.startswith("fingerprint")]
    frame = frame.with_columns(as_numbers(frame[name]) for name in prints)
    return frame.cast(dict(schema.items())).select(schema.names())
