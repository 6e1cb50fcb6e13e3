"""READER 2: what the ledger says before anything is fetched: marks, files read, the last run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from fleetfuel.model.files import FilesRead, version_of
from fleetfuel.table.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a run has to know of the ledger before it fetches anything."""

    marks: Mapping[str, Mapping[str, Any]]
    """Feed → where it stands, by fuel.ingest_state, unless that lies in the future."""
    read: FilesRead
    """The change files that runs have read; empty if they were not asked for."""
    proven: Mapping[str, str]
    """File of `rules/` → digest of what it said when `migrate` proved and synced it."""
    last_summary: str | None
    """The `--json` object of the last run that was applied, as text."""
    has_stale_facts: bool
    """Whether stored facts of fills have to be computed anew."""

    @property
    def watermark(self) -> datetime | None:
        """Time of the newest change file applied; None before the first."""
        mark = self.marks.get("changes")
        return mark["watermark"] if mark else None


def read_standing(database: Database, *, with_files: bool) -> Standing:
    """Read it, in the open transaction. Raises `SchemaNotReady` if migrations are missing."""
    last = database.rows("read_last_summary")[0]
    return Standing(
        marks=believed_marks(read_marks(database)),
        read=read_files(database) if with_files else FilesRead(),
        proven={row["file"]: row["digest"] for row in database.rows("read_rules_state")},
        last_summary=last["summary"],
        has_stale_facts=last["has_stale_facts"],
    )


def read_marks(database: Database) -> Mapping[str, Mapping[str, Any]]:
    """Feed → its row of fuel.ingest_state, believed or not, and `asked_at`: the database's now()."""
    return {mark["feed"]: mark for mark in database.rows("read_marks")}


def believed_marks(marks: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Feed → where it stands, without `asked_at`. A mark in the future comes from a wrong clock: its feed is left
    out."""
    return {
        feed: {name: value for name, value in mark.items() if name != "asked_at"}
        for feed, mark in marks.items()
        if mark["watermark"] is not None and mark["watermark"] <= mark["asked_at"]
    }


def read_untouched(database: Database, mark: Mapping[str, Any], *, skips_proof: bool) -> str | None:
    """The `--json` object of the run that set the snapshot's mark, as text, if the mark is still the same and nobody
    has touched the table since; else None. With `skips_proof`, the table is not looked at."""
    now = believed_marks(read_marks(database)).get("snapshot")
    if now != mark:
        return None
    if not skips_proof and mark["proof"] != database.rows("read_proof")[0]["proof"]:
        return None
    rows = database.rows("read_summary", mark["run_id"])
    return rows[0]["summary"] if rows else None


def read_files(database: Database) -> FilesRead:
    """What runs have read of the change files."""
    return files_read(database.table("read_files"))


def files_read(table: pa.Table) -> FilesRead:
    """The rows of the statements `read_files` and `read_files_as_of` as a value."""
    rows = table.to_pylist()
    return FilesRead(
        versions=frozenset(
            version_of(row["key"], row["etag"], row["modified_at"]) for row in rows if row["status"] != "unread"
        ),
        unread=frozenset(row["key"] for row in rows if row["status"] == "unread"),
    )
