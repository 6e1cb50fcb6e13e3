"""The table under test: run imports of small files against it, and look at what they left."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import adbc_driver_postgresql.dbapi as adbc

from fleetfuel.model.files import Reading
from fleetfuel.pipeline import Outcome, Request
from fleetfuel.pipeline import run as run_import
from fleetfuel.plan.limits import Allowance, Overrides
from fleetfuel.settings import Settings

Row = dict[str, Any]
NewRole = Callable[[str, str, str], None]

NOON: Final = datetime(2026, 6, 11, 12, tzinfo=UTC)

EVERYTHING: Final = Overrides(
    max_deletes=Allowance(number=10**9, is_share=False),
    max_rejects=Allowance(number=10**9, is_share=False),
    max_updates=Allowance(number=10**9, is_share=False),
)
"""Lets every number through, for what is not about guards."""

COLUMNS: Final = """
    id, raw::text as raw, car, plate, driver, department, fuel_type, litres::text as litres,
    amount_kes::text as amount_kes, price_per_litre_kes::text as price_per_litre_kes, odometer_km, filled_at,
    source_created_at, source_updated_at, deleted_at, absent_since, source_key, source_at,
    fingerprint::text as fingerprint, run_id, first_seen_at, last_changed_at, xmin::text as version
"""


def at(hours: float) -> datetime:
    """So many hours after noon."""
    return NOON + timedelta(hours=hours)


def iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def fill(key: object, **fields: object) -> Row:
    """A plain record of the feed."""
    plain = {
        "datetime": "2026-06-10-09-30",
        "department": "LOGISTICS",
        "driver": "Amani Mlima",
        "car": "KCA 542Q",
        "liters": 40,
        "amount": 7200,
        "type": "DIESEL",
        "odometer": 84210,
    }
    return {"id": key, **plain, **fields}


def envelope(records: Iterable[object], when: datetime | None = None, **metadata: object) -> bytes:
    """A file as the export job writes it."""
    stamped = {"exported_at": iso(when)} if when else {}
    return json.dumps({"metadata": {**stamped, **metadata}, "records": list(records)}).encode()


STATE: Final = (
    *("records", "record_versions", "evidence_versions", "ingest_runs", "ingest_starts", "ingest_files"),
    *("ingest_state", "rejects", "undone_lists"),
)
"""The tables of `fuel` that runs write to. Facts and stale vehicles follow from records."""

NUMBERED: Final = {"record_versions": "version_id", "evidence_versions": "evidence_id", "rejects": "reject_id"}

EMPTY: Final = "".join([
    "set session_replication_role = replica;",
    *(f"delete from fuel.{name};" for name in (*STATE, "fill_facts", "equal_readings", "stale_vehicles")),
    *(
        f"select setval(pg_get_serial_sequence('fuel.{name}', '{key}'), 1, false);"
        for name, key in NUMBERED.items()
    ),
    "reset session_replication_role;",
])  # fmt: skip
"""A script for a superuser that leaves `fuel` as `migrate` made it. Not `truncate`: that gives every table, index and
toast table a new file, 40 ms of CPU against 1 ms here, for every example of every law."""


def spoken(err: str) -> str:
    """Lines of stderr without the time and the run that each begins with if no terminal is."""
    return re.sub(r"^\d{4}-\d\d-\d\dT[\d:.]+Z (?:\d{8}T\d{6}Z-\w+ )?", "", err, flags=re.MULTILINE)


class Table:
    """One migrated database, emptied of what runs left, and a folder for the files it is fed from."""

    def __init__(self, uri: str, folder: Path, *, is_filled: bool = False) -> None:
        self.uri = uri
        self.folder = folder
        self.settings = Settings(reports=folder / "reports")
        self._files = 0
        folder.mkdir(exist_ok=True)
        self._connection = adbc.connect(uri, autocommit=True)
        if not is_filled:
            with self._connection.cursor() as cursor:
                cursor.executescript(EMPTY)

    def close(self) -> None:
        self._connection.close()

    def load(
        self,
        content: bytes,
        *,
        reading: Reading = "snapshot",
        name: str | None = None,
        apply: bool = True,
        overrides: Overrides = EVERYTHING,
        strict: bool = False,
        wants_report: bool = False,
        written: datetime | None = None,
        trusts_nothing: bool = False,
        as_of: datetime | None = None,
    ) -> Outcome:
        """Import one local file, written as it says, but not before noon."""
        self._files += 1
        path = self.folder / (name or f"file {self._files:03}.json")
        path.write_bytes(content)
        moment = (written or max(_said(content))).timestamp()
        os.utime(path, (moment, moment))
        request = Request(
            mode="file",
            paths=(path,),
            reading=reading,
            apply=apply,
            overrides=overrides,
            strict=strict,
            wants_report=wants_report,
            trusts_nothing=trusts_nothing,
            as_of=as_of,
        )
        return run_import(request, self.settings, self.uri)

    def snapshot(self, records: Iterable[object], when: datetime = NOON, **options: Any) -> dict[str, int]:
        """Apply a snapshot of these records; what it did, without the zeros."""
        return reported(self.load(envelope(records, when), reading="snapshot", **options))

    def changes(self, records: Iterable[object], when: datetime = NOON, **options: Any) -> dict[str, int]:
        """Apply a file of changes; what it did, without the zeros."""
        return reported(self.load(envelope(records, when), reading="changes", **options))

    def query(self, statement: str) -> list[Row]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            found: list[Row] = cursor.fetch_arrow_table().to_pylist()
            return found

    def write(self, statement: str) -> None:
        """What somebody does by hand."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement)

    def rows(self) -> dict[int, Row]:
        """Every row of fuel.records by id; `raw` as a value."""
        found = self.query(f"select {COLUMNS} from fuel.records order by id")
        return {row["id"]: {**row, "raw": json.loads(row["raw"])} for row in found}

    def row(self, key: int) -> Row:
        return self.rows()[key]

    def live(self) -> dict[int, Row]:
        """Id → raw of the live rows."""
        return {
            key: row["raw"] for key, row in self.rows().items() if not row["deleted_at"] and not row["absent_since"]
        }

    def everything(self) -> dict[str, list[Row]]:
        """Every table a run writes, but for the ledger of runs and files: what a run that did nothing leaves alone."""
        return {
            "records": self.query(f"select {COLUMNS} from fuel.records order by id"),
            "record_versions": self.query("select version_id, id, raw::text as raw from fuel.record_versions"),
            "rejects": self.query("select reject_id, xmin::text as version, times_seen from fuel.rejects"),
            "ingest_state": self.query("select feed, watermark, etag from fuel.ingest_state"),
        }


def _said(content: bytes) -> list[datetime]:
    """When a file says it was exported, and noon."""
    found = re.search(rb'"exported_at": "([^"]+)"', content)
    try:
        return [NOON, datetime.fromisoformat(found[1].decode()).astimezone(UTC)] if found else [NOON]
    except ValueError:
        return [NOON]


def reported(outcome: Outcome) -> dict[str, int]:
    """The counts of a run that are not zero, `records` left out."""
    assert outcome.error is None, outcome.error
    return {name: rows for name, rows in outcome.run["counts"].items() if rows and name not in ("records", "warned")}


def balance(counts: Mapping[str, int]) -> None:
    """The law of counts."""
    parts = ("inserts", "updates", "restores", "unchanged", "stale", "superseded", "rejected", "soft_deletes_flagged")
    assert counts["records"] == sum(counts[name] for name in parts), counts
    assert counts["soft_deletes"] == counts["soft_deletes_flagged"] + counts["soft_deletes_absent"], counts
