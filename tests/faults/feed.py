"""Two snapshots of an invented feed: what the second changes exercises every kind of write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fleetfuel.sandbox.producer import Producer

Record = dict[str, Any]


def write_feed(folder: Path, *, records: int = 240) -> tuple[Path, Path]:
    """Two files, an hour apart: new, edited, deleted, vanished, restored, re-spelled, rejected and repaired records."""
    producer = Producer(seed=7, vehicles=20, records=records)
    _, before = producer.snapshot()
    deleted = [key for key, row in producer.truth.items() if row["deleted_at"]]
    producer.advance(1, fills=9, edits=8, soft_deletes=4, hard_deletes=5, resends=1)
    _, after = producer.snapshot()
    live = [key for key, row in producer.truth.items() if row["deleted_at"] is None]
    spared = live[5:15]
    base, following = folder / "fuel 1.json", folder / "fuel 2.json"
    # Deleted in the first, back in the second: a restore. Not storable in the first, repaired in the second.
    base.write_bytes(_changed(before, {
        spared[0]: lambda row: {**row, "deleted_at": "2026-06-01 10:00:00"},
        spared[1]: lambda row: {**row, "driver": "Amani\x00Mlima"},
    }))  # fmt: skip
    # Deleted and gone: only marked. Other order of the same fields: the fingerprint alone. Refused for the first time.
    following.write_bytes(_changed(after, {
        deleted[0]: lambda row: None,
        spared[2]: lambda row: dict(reversed(row.items())),
        spared[3]: lambda row: {**row, "driver": "Zuri\x00Jua"},
    }))  # fmt: skip
    return base, following


def write_changes(folder: Path, *, records: int = 240) -> Path:
    """What changed in the hour between the two snapshots, as a file of changes."""
    producer = Producer(seed=7, vehicles=20, records=records)
    producer.advance(1, fills=9, edits=8, soft_deletes=4, hard_deletes=5, resends=1)
    path = folder / "delta.json"
    path.write_bytes(producer.changes()[1])
    return path


def write_bulk(folder: Path, *, records: int) -> Path:
    """A snapshot of so many new records."""
    path = folder / "bulk.json"
    path.write_bytes(Producer(seed=9, vehicles=40, records=records).snapshot()[1])
    return path


def _changed(snapshot: bytes, changes: Mapping[int, Callable[[Record], Record | None]]) -> bytes:
    reported = json.loads(snapshot)
    rows = [
        changes[int(row["id"])](row) if str(row.get("id") or "").isdigit() and int(row["id"]) in changes else row
        for row in reported["records"]
    ]
    reported["records"] = [row for row in rows if row is not None]
    reported["metadata"]["record_count"] = len(reported["records"])
    return json.dumps(reported, ensure_ascii=False).encode()
