"""READER 2: the table as it stands. Reads only; what it read means something only within its transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl
import pyarrow as pa

from fleetfuel.model import State
from fleetfuel.records.frame import INSTANT, columns
from fleetfuel.records.texts import as_numbers
from fleetfuel.table.database import Database

ROWS: Final = columns(
    {"id": pl.Int64, "fingerprint": pl.Int128, "source_at": INSTANT, "is_live": pl.Boolean, "is_present": pl.Boolean}
)

DETAILS: Final = columns(
    {
        "id": pl.Int64,
        "raw": pl.String,
        "fingerprint": pl.Int128,
        "deleted_at": INSTANT,
        "absent_since": INSTANT,
        "source_at": INSTANT,
        "plate": pl.String,
        "filled_at": INSTANT,
    }
)
"""Rows in full, `raw` as PostgreSQL writes jsonb."""

OPEN_REJECTS: Final = columns({"reject_id": pl.Int64, "id": pl.Int64, "rule": pl.String, "source_key": pl.String})


def read_state(database: Database) -> State:
    """Ids, fingerprints and marks, in the open transaction. Raises `SchemaNotReady` where migrations are missing."""
    marks = {mark["feed"]: mark for mark in database.rows("read_marks")}
    rows = database.stream("read_rows", lambda batch: _frame(pa.Table.from_batches([batch]), ROWS))
    snapshot = marks.get("snapshot", {})
    return State(
        rows=_whole(rows),
        vouched_at=snapshot.get("watermark"),
        watermark=marks.get("changes", {}).get("watermark"),
        open_rejects=_frame(database.table("read_open_rejects"), OPEN_REJECTS),
    )


def _whole(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The parts (it takes them) as one, each column in one piece: by columns, so that one at most is held twice."""
    parts.append(ROWS.to_frame())
    columns = []
    for name in ROWS.names():
        columns.append(pl.concat([part[name] for part in parts], rechunk=True))
        parts[:] = [part.drop(name) for part in parts]
    return pl.DataFrame(columns)


def read_details(database: Database, ids: Iterable[int]) -> pl.DataFrame:
    """The rows with these ids, in full (`DETAILS`)."""
    return _frame(database.table("read_details", "{" + ",".join(map(str, ids)) + "}"), DETAILS)


def read_watermark(database: Database) -> datetime | None:
    """Time of the newest change file applied; None before the first."""
    return next((mark["watermark"] for mark in database.rows("read_marks") if mark["feed"] == "changes"), None)


def read_last_summary(database: Database) -> tuple[dict[str, Any], bool]:
    """The `--json` object of the last run that was applied, empty before the first; whether stored facts are stale."""
    found = database.rows("read_last_summary")[0]
    return json.loads(found["summary"] or "{}"), found["has_stale_facts"]


def read_snapshot_mark(database: Database) -> Mapping[str, Any] | None:
    """What ingest_state says of the last applied snapshot; None before the first."""
    return next((mark for mark in database.rows("read_marks") if mark["feed"] == "snapshot"), None)


def read_proof(database: Database) -> str:
    """The aggregate over fuel.records that tells whether anybody has touched it."""
    return str(database.rows("read_proof")[0]["proof"])


def read_summary(database: Database, run_id: str) -> dict[str, Any] | None:
    """The `--json` object of an applied run; None where the ledger no longer has it."""
    rows = database.rows("read_summary", run_id)
    summary: dict[str, Any] | None = json.loads(rows[0]["summary"]) if rows else None
    return summary


def read_rules_state(database: Database) -> Mapping[str, str]:
    """File of `rules/` → digest of what it said when `migrate` proved and synced it."""
    return {row["file"]: row["digest"] for row in database.rows("read_rules_state")}


def read_files(database: Database) -> frozenset[tuple[str, str]]:
    """(key, etag) of every version of a file that a run has read."""
    table = database.table("read_files")
    return frozenset(zip(table["key"].to_pylist(), table["etag"].to_pylist(), strict=True))


def read_unknown_spellings(database: Database, spellings: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """(field, spelling) of those that the database's normalisers do not know; they are its alone to judge."""
    rows = database.rows("read_unknown_spellings", json.dumps(spellings))
    return [(row["field"], row["spelling"]) for row in rows]


def read_column_shares(database: Database) -> Mapping[str, float]:
    """Column → the share of live rows that have it; empty for an empty table."""
    row = database.rows("read_column_shares")[0]
    rows = row.pop("rows")
    return {name: held / rows for name, held in row.items()} if rows else {}


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
