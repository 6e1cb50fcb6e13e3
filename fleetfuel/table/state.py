"""READER 2: the table as it stands. Reads only; what it read means something only within its transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl
import pyarrow as pa

from fleetfuel.model import FilesRead, State, version_of
from fleetfuel.records.frame import INSTANT, columns
from fleetfuel.records.texts import as_numbers
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
    }
)
"""Rows in full, `raw` as PostgreSQL writes jsonb."""

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
        row = self._database.rows("read_column_shares")[0]
        rows = row.pop("rows")
        return {name: held / rows for name, held in row.items()} if rows else {}


def _whole(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The parts (it takes them) as one, each column in one piece: by columns, so that one at most is held twice."""
    parts.append(ROWS.to_frame())
    columns = []
    for name in ROWS.names():
        columns.append(pl.concat([part[name] for part in parts], rechunk=True))
        parts[:] = [part.drop(name) for part in parts]
    return pl.DataFrame(columns)


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


def read_files(database: Database) -> FilesRead:
    """What runs have read of the change files."""
    rows = database.table("read_files").to_pylist()
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
    if "fingerprint" in schema:
        frame = frame.with_columns(as_numbers(frame["fingerprint"]))
    return frame.cast(dict(schema.items())).select(schema.names())
