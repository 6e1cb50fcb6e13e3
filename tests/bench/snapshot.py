"""Snapshots of any size, written faster than a producer makes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from fleetfuel.sandbox.producer import NOW, SOURCE, Producer


def write_snapshot(path: Path, *, records: int, seed: int = 1, changed_share: float = 0.0) -> None:
    """Streams a snapshot of any size, about 415 bytes a record, ids 1 to `records`, without markers.

    Every 4,000 records are a fleet of their own, with its own plates and readings: the same driver, litres, amount and
    reading on two plates would be a finding. `changed_share` (0 to 1) gives exactly that share of the records,
    evenly spread, another amount, and the file a later export time; all else stays byte for byte.
    """
    pool = list(_templates(seed, 4_000))
    at = NOW + timedelta(hours=1 if changed_share else 0)
    metadata = {"exported_at": f"{at:%Y-%m-%dT%H:%M:%S}.000Z", "record_count": records, "source": SOURCE}
    with path.open("wb") as out:
        out.write(b'{"metadata":' + _json(metadata) + b',"records":[')
        for first in range(1, records + 1, len(pool)):
            fleet, separator = first // len(pool), b",\n" if first > 1 else b"\n"
            lines = []
            for n, (text, digits, amount, odometer) in zip(range(first, records + 1), pool, strict=False):
                plate, step = (digits + fleet) % 1000, int(n * changed_share) - int((n - 1) * changed_share)
                read = () if odometer is None else (odometer + fleet,)
                lines.append(text % (n, plate, amount + 50 * step, *read, plate))
            out.write(separator + b",\n".join(lines))
        out.write(b"\n]}\n")


def _templates(seed: int, size: int) -> Iterator[tuple[bytes, int, int, int | None]]:
    """Records with holes (id, plate digits, amount, odometer if any, plate digits), each with what stood in them."""
    rows = Producer(seed=seed, records=size + size // 8).truth.values()
    whole = (row for row in rows if row["amount"] is not None)
    plates = ((row, found[0]) for row in whole if (found := re.search(r"\d{3}", row["car"])))
    for row, digits in islice(plates, size):
        car = row["car"].replace(digits, "<plate>")
        message = row["raw_message"].replace(f" {digits}", " <plate>", 1)
        holes = {"id": "<id>", "car": car, "amount": "<amount>", "raw_message": message}
        if row["odometer"] is not None:
            holes["odometer"] = "<odometer>"
        text = _json(row | holes).replace(b"%", b"%%").replace(b"<plate>", b"%03d")
        for field in ("id", "amount", "odometer"):
            text = text.replace(f'"<{field}>"'.encode(), b'"%d"' if isinstance(row[field], str) else b"%d")
        yield text, int(digits), _whole(row["amount"]), None if row["odometer"] is None else _whole(row["odometer"])


def _whole(typed: Any) -> int:
    return int(float(str(typed).replace(",", "")))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
