"""What runs leave behind, so that it can be compared: everything but the ids and times of runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import adbc_driver_postgresql.dbapi as adbc
import polars as pl

from fleetfuel import errors
from fleetfuel.report import evidence
from fleetfuel.report.summary import as_object

Row = dict[str, Any]

RECORDS: Final = """
    select id, raw::text as raw, car, plate, driver, department, fuel_type, litres::text as litres,
        amount_kes::text as amount_kes, price_per_litre_kes::text as price_per_litre_kes, odometer_km, filled_at,
        source_created_at, source_updated_at, deleted_at, absent_since, source_key, source_at,
        fingerprint::text as fingerprint, run_id, first_seen_at = $1 as is_old, last_changed_at = $1 as is_unchanged
    from fuel.records order by id
"""
"""`$1`: when the first run stamped its rows."""
VERSIONS: Final = """
    select id, raw::text as raw, deleted_at, absent_since, source_key, source_at, run_id, valid_from = $1 as was_first,
        replaced_at > $1 as is_new, replaced_by_run
    from fuel.record_versions order by id, version_id
"""
RUNS: Final = """
    select run_id, mode, source, source_at, status, exit_code, counts::text as counts, metadata::text as metadata,
        message, rules_digest
    from fuel.ingest_runs where status <> 'failed' order by finished_at
"""
FILES: Final = """
    select key, etag, size, file_at, status, records, counts::text as counts, reason, run_id
    from fuel.ingest_files order by key, etag
"""
MARKS: Final = "select feed, watermark, key, etag, rules_digest, run_id from fuel.ingest_state order by feed"
REJECTS: Final = """
    select content_hash::text as content_hash, rule, id, reason, content, source_key, position, first_run_id,
        last_run_id, times_seen, resolved_at is null as is_open, resolved_by
    from fuel.rejects order by content_hash, rule, source_key
"""
RUN_COLUMNS: Final = ("run_id", "replaced_by_run", "first_run_id", "last_run_id", "resolved_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What the database holds, runs named by their order."""

    tables: Mapping[str, list[Row]]
    run_ids: tuple[str, ...]
    """The applied and refused runs, in their order: their true names."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Footprint) and self.tables == other.tables

    __hash__ = None  # type: ignore[assignment]

    def lost_from(self, other: Footprint) -> int:
        """Rows, in any table, that the other one has and this one lacks."""
        return sum(
            len({json.dumps(row, default=str) for row in rows} - {json.dumps(row, default=str) for row in mine})
            for (name, rows) in other.tables.items()
            for mine in [self.tables[name]]
        )

    def differences_from(self, other: Footprint) -> list[str]:
        """For the message of a failing test: the first rows that differ."""
        found = []
        for name, rows in other.tables.items():
            mine = self.tables[name]
            if len(mine) != len(rows):
                found.append(f"{name}: {len(mine)} rows instead of {len(rows)}")
            unlike = [(one, two) for one, two in zip(mine, rows, strict=False) if one != two]
            for one, two in unlike[:3]:
                fields = {key: (one[key], two[key]) for key in one if one[key] != two[key]}
                found.append(f"{name} {one.get('id') or one.get('run_id')}: {fields}")
        return found


def take_footprint(uri: str) -> Footprint:
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("set transaction isolation level repeatable read")

        def query(statement: str, *parameters: object) -> list[Row]:
            cursor.execute(statement, parameters or None)
            found: list[Row] = cursor.fetch_arrow_table().to_pylist()
            return found

        first = query("select min(first_seen_at) as at from fuel.records")[0]["at"]
        tables = {
            "records": query(RECORDS, first),
            "record_versions": query(VERSIONS, first),
            "ingest_runs": query(RUNS),
            "ingest_files": query(FILES),
            "ingest_state": query(MARKS),
            "rejects": query(REJECTS),
        }
    run_ids = tuple(row["run_id"] for row in tables["ingest_runs"])
    names = {run_id: f"run {number}" for number, run_id in enumerate(run_ids, 1)}
    for rows in tables.values():
        for row in rows:
            for column in RUN_COLUMNS:
                if row.get(column) is not None:
                    row[column] = names.get(row[column], f"unknown run {row[column]}")
    return Footprint(tables=tables, run_ids=run_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A report folder, read back; what is the run's own name or time is left out."""

    applied: bool
    plan: Row
    parquet: Mapping[str, list[Row]]


def read_reports(folder: Path) -> dict[str, Evidence]:
    """Run id → evidence of every report that `fleetfuel show` accepts; each must be whole."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        try:
            plan = as_object(evidence.read_report(path))
        except errors.SourceNotFound:
            assert path.name.endswith(".partial"), f"{path} is a report that cannot be shown"
            continue
        tables = {name: pl.read_parquet(path / f"{name}.parquet").to_dicts() for name in PARQUET}
        left = {key: value for key, value in plan.items() if key not in OF_THE_RUN}
        applied = bool(left.pop("applied"))
        assert [file.pop("status") for file in left["files"]] == ["applied" if applied else "planned"]
        if not path.name.endswith(".partial"):
            assert plan["run_id"] == path.name
            found[plan["run_id"]] = Evidence(applied=applied, plan=left, parquet=tables)
    return found


OF_THE_RUN: Final = ("run_id", "report", "checksum", "started_at", "seconds", "refreshed")
PARQUET: Final = ("changes", "rejects", "notices")
