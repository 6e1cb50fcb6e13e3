"""READER 2: the table as it is now. It only reads, and what it read holds only within its transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from fleetfuel.model.table import HeldList, State
from fleetfuel.records.rows import INSTANT, columns
from fleetfuel.rules.fields import LOSABLE
from fleetfuel.table.database import Database
from fleetfuel.table.frames import as_frame
from fleetfuel.table.standing import believed_marks, read_marks
from fleetfuel.table.undone import LEFT

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


OPEN_REJECTS: Final = columns({"reject_id": pl.Int64, "id": pl.Int64, "rule": pl.String, "source_key": pl.String})


class Now:
    """The table as it is now, in the open transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def state(self) -> State:
        """Ids, fingerprints and marks. Raises `SchemaNotReady` if migrations are missing."""
        marks = read_marks(self._database)
        rows = self._database.stream("read_rows", lambda batch: as_frame(pa.Table.from_batches([batch]), ROWS))
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
            open_rejects=as_frame(self._database.table("read_open_rejects"), OPEN_REJECTS),
        )

    def details(self, ids: Iterable[int]) -> pl.DataFrame:
        """The rows with these ids, in full (`DETAILS`)."""
        wanted = "{" + ",".join(map(str, ids)) + "}"
        return DETAILS.to_frame() if wanted == "{}" else as_frame(self._database.table("read_details", wanted), DETAILS)

    def unknown_spellings(self, spellings: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
        """(field, spelling) of those that the database's normalisers do not know; only the database decides that."""
        rows = self._database.rows("read_unknown_spellings", json.dumps(spellings))
        return [(row["field"], row["spelling"]) for row in rows]

    def column_shares(self) -> Mapping[str, float]:
        """Column → the share of live rows that have it; empty for an empty table."""
        return shares(self._database.rows("read_column_shares", LOSABLE_NAMES)[0]["counted"])

    def held_lists(self) -> tuple[HeldList, ...]:
        """Lists of records that were undone, and are held."""
        return tuple(HeldList(**row) for row in self._database.rows("read_held_lists"))

    def left_by(self, held: HeldList) -> pl.DataFrame:
        """The rows that the undone run of a list had written, as it left them (`undone.LEFT`)."""
        found = self._database.table("read_left", held.undone_run, held.undone_by, held.reading == "snapshot")
        return as_frame(found, LEFT)


LOSABLE_NAMES: Final = "{" + ",".join(LOSABLE) + "}"


def shares(counted: str) -> Mapping[str, float]:
    """Counts as JSON text (`{"rows": 10, "litres": 9, …}`) → column → share of the rows; empty if there are none."""
    held = json.loads(counted)
    rows = held.pop("rows")
    return {name: count / rows for name, count in held.items()} if rows else {}


def _whole(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The parts as one, each column in one piece. It empties `parts` column by column, so that at most one column is
    held twice."""
    parts.append(ROWS.to_frame())
    columns = []
    for name in ROWS.names():
        columns.append(pl.concat([part[name] for part in parts], rechunk=True))
        parts[:] = [part.drop(name) for part in parts]
    return pl.DataFrame(columns)
