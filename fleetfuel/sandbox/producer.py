"""A seeded, invented feed that looks like the real one: the producer's source table, and what an hourly job exports."""

import json
import random
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from fleetfuel.sandbox.fleet import BUSY, CITIES, EAT, Row, Vehicle, iso, make_fleet, report_fill, shifted, stamp

Happening = Callable[[datetime], None]
"""Something done to the table at an instant."""

START = datetime(2026, 1, 4, 3, tzinfo=UTC)
NOW = datetime(2026, 6, 8, 3, tzinfo=UTC)
SOURCE = "logistics_department.fuel_records"

STRAYS: tuple[Row, ...] = (
    {"success": True},
    {"id": None, "car": "KXX 000X", "liters": 5},
    {"message": "2 batches", "status": "ok"},
)
"""What a snapshot holds that is no row of the table: two markers and a record without a key."""


class Producer:
    """The source table as time passes: same seed and same calls, same bytes.

    `start` and `now` carry a zone. A row is replaced when it changes, never altered, so `dict(producer.truth)` keeps
    what was. `updated_at` says whether rows carry that column; the real feed never does.
    """

    now: datetime

    def __init__(
        self,
        *,
        seed: int = 1,
        vehicles: int = 82,
        records: int = 1_900,
        start: datetime = START,
        now: datetime = NOW,
        updated_at: Literal["never", "sometimes", "always"] = "never",
    ) -> None:
        self._seed, self._updated_at, self._rng = seed, updated_at, random.Random(seed)
        self._rows: dict[int, Row] = {}
        self._live: list[int] = []
        self._typos: dict[int, Row] = {}
        self._filled: Vehicle | None = None
        self._changed: dict[int, None] = {}
        self._last_id = self._last_exported_id = 0
        self._delta: tuple[datetime, str, bytes] | None = None
        self.now = start.astimezone(UTC)
        self._vehicles = list(make_fleet(self._rng, vehicles, self.now))
        resends, hard_deletes = records // 60, records // 10
        fills = records + hard_deletes - resends
        later: list[Happening] = [
            *[self._fill] * (fills - fills // 4),
            *[self._resend] * resends,
            *[self._hard_delete] * hard_deletes,
            *[self._soft_delete] * (records // 100),
            *[self._edit] * (records // 40),
        ]
        self._rng.shuffle(later)
        self._pass(now.astimezone(UTC), [*[self._fill] * (fills // 4), *later])
        self._changed.clear()
        self._last_exported_id = self._last_id

    @property
    def truth(self) -> Mapping[int, Row]:
        """What the source table holds now, in the order of its ids; soft-deleted rows included."""
        return MappingProxyType(self._rows)

    def advance(
        self,
        hours: int = 1,
        *,
        fills: int | None = None,
        edits: int | None = None,
        soft_deletes: int | None = None,
        hard_deletes: int | None = None,
        resends: int | None = None,
    ) -> None:
        """Lets time pass. A number is what happens over all these hours; None is as much as usual.

        An edit corrects what is wrong in a live row, or its litres or amount, a soft delete stamps `deleted_at`, a hard
        delete leaves no trace, a resend is an edited message: a second row with another amount or plate. ValueError
        below an hour.
        """
        if hours < 1:
            raise ValueError(f"time passes by whole hours, at least one: {hours}")
        happenings: tuple[tuple[Happening, int | None, float], ...] = (
            (self._fill, fills, 0.5),
            (self._edit, edits, 0.25),
            (self._soft_delete, soft_deletes, 0.15),
            (self._hard_delete, hard_deletes, 0.15),
            (self._resend, resends, 0.04),
        )
        events = [
            happen
            for happen, asked, an_hour in happenings
            for _ in range(self._usual(an_hour, hours) if asked is None else asked)
        ]
        self._rng.shuffle(events)
        self._pass(self.now + timedelta(hours=hours), events)

    def snapshot(self) -> tuple[str, bytes]:
        """Key and body of the full export: every row of the table, then the strays."""
        records = [*self._rows.values(), *STRAYS]
        metadata = {"exported_at": iso(self.now), "record_count": len(records), "source": SOURCE}
        return "fuel_records/latest.json", _json({"metadata": metadata, "records": records})

    def changes(self) -> tuple[str, bytes]:
        """Key and body of the change file since the call before, in one of the spellings and envelopes in the bucket.

        Hard-deleted rows are not in it. Asked again before time has passed, it gives the same file again.
        """
        if self._delta is None or self._delta[0] != self.now:
            rng = random.Random(f"{self._seed} {self.now.isoformat()}")
            self._delta = (self.now, _delta_key(rng, self.now), self._delta_body(rng))
            self._changed.clear()
            self._last_exported_id = self._last_id
        return self._delta[1:]

    def devices(self) -> list[dict[str, str | None]]:
        """Rows for `tracksolid.devices`: one vehicle in sixteen has none, the first has two, a spare has no vehicle."""
        rng = random.Random(f"{self._seed} devices")
        carriers = [vehicle for n, vehicle in enumerate(self._vehicles) if n % 16 != 15]
        fitted: list[tuple[str | None, str | None]] = [(vehicle.plate, vehicle.department) for vehicle in carriers]
        return [
            {
                "imei": f"86{n:08d}{rng.randrange(100_000):05d}",
                "vehicle_number": number and number.replace(" ", rng.choice(("", " "))),
                "cost_centre": cost_centre if rng.random() < 0.7 else None,
                "assigned_city": rng.choice(CITIES),
            }
            for n, (number, cost_centre) in enumerate([*fitted, *fitted[:1], (None, None)])
        ]

    def _usual(self, an_hour: float, hours: int) -> int:
        """Zero to three in each hour, fewer at night."""
        nights = (not 5 <= (self.now + timedelta(hours=hour)).astimezone(EAT).hour < 22 for hour in range(hours))
        rates = (an_hour * (0.25 if night else 1.3) for night in nights)
        return sum(self._rng.random() < rate / 3 for rate in rates for _ in range(3))

    def _pass(self, until: datetime, events: list[Happening]) -> None:
        for at, happen in zip(sorted(self._instant(until) for _ in events), events, strict=True):
            happen(at)
        self.now = until

    def _instant(self, until: datetime) -> datetime:
        """A second between now and then, mostly in busy hours."""
        span = int((until - self.now).total_seconds())
        for _ in range(20):
            at = self.now + timedelta(seconds=self._rng.randint(1, span))
            if self._rng.random() * max(BUSY) < BUSY[at.astimezone(EAT).hour]:
                break
        return at

    def _recent(self) -> int:
        """A place in the list of live rows; young rows are more likely."""
        return len(self._live) - 1 - int(len(self._live) * self._rng.random() ** 2)

    def _fill(self, at: datetime) -> None:
        last = self._filled
        if last and at - last.filled_at > timedelta(hours=2) and self._rng.random() < 0.03:
            vehicle = last  # once more on the same day
        else:
            nearby = self._rng.sample(self._vehicles, min(3, len(self._vehicles)))
            vehicle = min(nearby, key=lambda each: each.filled_at)
        row, right = report_fill(self._rng, vehicle, at)
        self._filled = vehicle
        self._insert(at, row)
        if right:
            self._typos[self._last_id] = right

    def _resend(self, at: datetime) -> None:
        """Somebody edits the newest message within minutes, as the messenger lets him: a second row."""
        if self._live:
            row = self._rows[self._live[-1]]
            edited_at = datetime.fromisoformat(f"{row['created_at']}Z") + timedelta(minutes=self._rng.randint(1, 14))
            change: Row = {"amount": shifted(self._rng, row["amount"])}
            if self._rng.random() < 0.2:
                plate = self._rng.choice(self._vehicles).plate
                change = {"car": plate, "raw_message": re.sub("Car: .*", f"Car: {plate}", row["raw_message"])}
            self._insert(at, {**row, **change, "created_at": stamp(min(at, edited_at))})

    def _edit(self, at: datetime) -> None:
        if self._typos and self._rng.random() < 0.35:
            key, change = self._typos.popitem()
            self._write(key, at, change)
        elif self._live:
            key = self._live[self._recent()]
            field = self._rng.choice(("amount", "amount", "liters"))
            self._write(key, at, {field: shifted(self._rng, self._rows[key][field])})

    def _soft_delete(self, at: datetime) -> None:
        if self._live:
            key = self._live.pop(self._recent())
            self._typos.pop(key, None)
            self._write(key, at, {"deleted_at": stamp(at)})

    def _hard_delete(self, _at: datetime) -> None:
        if self._live:
            key = self._live.pop(self._rng.randrange(len(self._live)))
            self._typos.pop(key, None)
            self._changed.pop(key, None)
            del self._rows[key]

    def _insert(self, at: datetime, row: Row) -> None:
        self._last_id += 1
        has_stamp = self._updated_at == "always" or (self._updated_at == "sometimes" and self._last_id % 2 == 0)
        key = str(self._last_id) if self._rng.random() < 0.05 else self._last_id
        self._rows[self._last_id] = {**row, "id": key} | ({"updated_at": None} if has_stamp else {})
        self._live.append(self._last_id)
        self._write(self._last_id, at, {})

    def _write(self, key: int, at: datetime, change: Row) -> None:
        row = {**self._rows[key], **change}
        if "updated_at" in row:
            row["updated_at"] = stamp(at)
        self._rows[key] = row
        self._changed[key] = None

    def _delta_body(self, rng: random.Random) -> bytes:
        rows = [self._rows[key] for key in self._changed]
        at, size = iso(self.now), len(rows)
        shapes: tuple[Any, ...] = (
            {"metadata": {"exported_at": at, "record_count": size}, "records": rows},
            [{"metadata": {"exported_at": at}, "records": rows}],
            rows or [{"success": True}],
            {"metadata": {"generated_at": at, "count": size, "source": SOURCE}, "data": rows},
            {"metadata": {"exported_at": at, "total": size}, "changes": [*map(self._operation, self._changed)]},
        )
        mark = b"\xef\xbb\xbf" if rng.random() < 0.05 else b""
        return mark + _json(rng.choices(shapes, (52, 22, 10, 8, 8))[0])

    def _operation(self, key: int) -> Row:
        row = self._rows[key]
        name = "delete" if row["deleted_at"] else "insert" if key > self._last_exported_id else "update"
        return {"op": name, "id": row["id"], "row": row}


def _delta_key(rng: random.Random, at: datetime) -> str:
    eat = at.astimezone(EAT)
    utc = f"{at:%Y-%m-%dT%H-%M-%S}.000Z"
    local = f"{eat:%Y-%m-%dT%H-%M-%S}"
    spellings = (iso(at), utc, local, f"{eat:%Y-%m-%dT%H:%M:%S}+03:00")
    return f"fuel_records/changes/{rng.choices(spellings, (45, 25, 22, 8))[0]}.json"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
