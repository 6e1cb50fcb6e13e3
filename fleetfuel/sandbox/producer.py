"""A seeded, invented feed that looks like the real one: the producer's source table, and what an hourly job exports."""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any, Literal

Row = dict[str, Any]
"""A source record as JSON holds it."""

Happening = Callable[[datetime], None]
"""Something done to the table at an instant."""

EAT = timezone(timedelta(hours=3))
START = datetime(2026, 1, 4, 3, tzinfo=UTC)
NOW = datetime(2026, 6, 8, 3, tzinfo=UTC)
SOURCE = "logistics_department.fuel_records"

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
FIRST_NAMES = ("Amani", "Baraka", "Zuri", "Neema", "Juma", "Pendo", "Rafiki", "Otis", "Imani", "Tumaini")
SURNAMES = ("Mlima", "Mto", "Bahari", "Nyota", "Jua", "Msitu", "Mvua", "Upepo")
STATIONS = ("Twiga Road", "Kilima Junction", "Pwani Street", "Ziwa Corner")
CITIES = ("Nairobi", "Mombasa", "Kisumu", "Nakuru", None)
STRAYS: tuple[Row, ...] = (
    {"success": True},
    {"id": None, "car": "KXX 000X", "liters": 5},
    {"message": "2 batches", "status": "ok"},
)
"""What a snapshot holds that is no row of the table: two markers and a record without a key."""

DEPARTMENTS = {
    "LOGISTICS": ("LOGISTICS", "LOGISTIC", "LOGISTCS", "Logistics", "logistics dept", "LOGISTICS DEPARTMENT"),
    "OPERATIONS": ("OPERATIONS", "OPERATION", "OPS", "Operations"),
    "MAINTENANCE": ("MAINTENANCE", "MAINTAINANCE", "MTCE"),
    "ROLLOUT": ("ROLLOUT", "ROLL OUT", "Roll  Out"),
    "INSTALLATIONS": ("INSTALLATIONS", "INSTALLATION", "Installations."),
    "SALES": ("SALES", "sales "),
    "OSP": ("OSP", "OUTSIDE PLANT"),
    "FTTH": ("FTTH", "ftth"),
    "ADMIN": ("ADMIN", "ADMINISTRATION"),
    "FINANCE": ("FINANCE", "ACCOUNTS"),
    "STORES": ("STORES", "WAREHOUSE"),
}
FUELS = {
    "DIESEL": ("DIESEL",) * 12 + ("Diesel", "diesel ", "DISIEL", "DEISEL", "DIESAL", "DESEL", "AGO"),
    "PETROL": ("PETROL",) * 8 + ("SUPER",) * 4 + ("Petrol", "PETRO", "PTROL", "UNLEADED", "SUPER PETROL"),
    "V-POWER": ("V-POWER", "VPOWER", "V POWER"),
}
PUMP_CAPS = (
    (date(2025, 11, 15), {"PETROL": 184.52, "DIESEL": 171.47}),
    (date(2026, 1, 15), {"PETROL": 182.52, "DIESEL": 170.47}),
    (date(2026, 2, 15), {"PETROL": 178.28, "DIESEL": 166.54}),
)
"""First day of a price cycle, KES per litre in Nairobi; the last one known lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a class of vehicles burns."""

    body: str
    """The word some people write after the plate."""
    plate: str
    """Plate shape: `?` a letter, `!` one of B, C, D, `#` a digit."""
    fuels: tuple[str, ...]
    litres: tuple[float, float]
    km_per_litre: tuple[float, float]


CAR = Kind(body="PROBOX", plate="K!? ###?", fuels=("PETROL", "DIESEL"), litres=(15, 48), km_per_litre=(8.5, 16))
PICKUP = Kind(body="PICKUP", plate="K!? ###?", fuels=("DIESEL",), litres=(25, 75), km_per_litre=(7, 12))
UGANDAN = Kind(body="PICKUP", plate="UA ###B?", fuels=("DIESEL",), litres=(25, 75), km_per_litre=(7, 12))
BIKE = Kind(body="BIKE", plate="KM!? ###?", fuels=("PETROL",), litres=(3, 10), km_per_litre=(28, 50))
HEAVY = Kind(body="CANTER", plate="K!? ###?", fuels=("DIESEL",), litres=(80, 280), km_per_litre=(1.8, 3.6))
FLEET = (CAR, PICKUP, CAR, BIKE, CAR, HEAVY, CAR, PICKUP, CAR, CAR, PICKUP, BIKE, CAR)
"""The mix of vehicles, repeated over the fleet; the second vehicle is the Ugandan one."""


@dataclass(slots=True, kw_only=True)
class Vehicle:
    """One vehicle on its way: the odometer moves with what it burns."""

    kind: Kind
    plate: str
    fuel: str
    km_per_litre: float
    odometer: float
    department: str
    driver: str
    filled_at: datetime


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
        self._changed: dict[int, None] = {}
        self._last_id = self._last_exported_id = 0
        self._delta: tuple[datetime, str, bytes] | None = None
        self.now = start.astimezone(UTC)
        self._vehicles = list(_fleet(self._rng, vehicles, self.now))
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

        An edit corrects the litres, amount or odometer of a live row, a soft delete stamps `deleted_at`, a hard delete
        leaves no trace, a resend is an edited message: a second row with another amount. ValueError below an hour.
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
        metadata = {"exported_at": _iso(self.now), "record_count": len(records), "source": SOURCE}
        return "fuel_records/latest.json", _json({"metadata": metadata, "records": records})

    def changes(self) -> tuple[str, bytes]:
        """Key and body of the delta since the call before, in one of the spellings and envelopes seen in the bucket.

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
        """Nought to three in each hour, fewer by night."""
        nights = (_is_night(self.now + timedelta(hours=hour)) for hour in range(hours))
        rates = (an_hour * (0.25 if night else 1.3) for night in nights)
        return sum(self._rng.random() < rate / 3 for rate in rates for _ in range(3))

    def _pass(self, until: datetime, events: list[Happening]) -> None:
        for at, happen in zip(sorted(self._instant(until) for _ in events), events, strict=True):
            happen(at)
        self.now = until

    def _instant(self, until: datetime) -> datetime:
        """A second between now and then, by day rather than by night."""
        span = int((until - self.now).total_seconds())
        for _ in range(3):
            at = self.now + timedelta(seconds=self._rng.randint(1, span))
            if not _is_night(at):
                break
        return at

    def _recent(self) -> int:
        """A place in the list of live rows, the younger the likelier."""
        return len(self._live) - 1 - int(len(self._live) * self._rng.random() ** 2)

    def _fill(self, at: datetime) -> None:
        rng = self._rng
        nearby = rng.sample(self._vehicles, min(3, len(self._vehicles)))
        vehicle = min(nearby, key=lambda each: each.filled_at)
        fuel = "V-POWER" if vehicle.fuel == "PETROL" and rng.random() < 0.08 else vehicle.fuel
        price = _price(rng, at, fuel)
        if vehicle.kind is UGANDAN and rng.random() < 0.25:
            price = rng.uniform(4_900, 5_100)
        litres = round(rng.uniform(*vehicle.kind.litres), 2)
        amount = round(litres * price)
        if amount > 1_000 and rng.random() < 0.3:
            amount = amount // 500 * 500
            litres = round(amount / price, 2)
        vehicle.odometer += litres * vehicle.km_per_litre * rng.uniform(0.92, 1.08)
        vehicle.filled_at = at
        right = {"liters": litres, "amount": amount, "odometer": int(vehicle.odometer)}
        misread = _misread(rng, price, **right)
        driver = vehicle.driver if rng.random() < 0.9 else _name(rng)
        typed = right | misread
        row = {
            "id": None,
            "created_at": _stamp(at),
            "datetime": _fill_time(rng, at - timedelta(minutes=rng.randint(1, 8))),
            "department": rng.choice(DEPARTMENTS[vehicle.department]),
            "driver": driver,
            "car": _spelled(rng, vehicle),
            "liters": _typed(rng, typed["liters"]),
            "amount": _typed(rng, typed["amount"]),
            "type": rng.choices((rng.choice(FUELS[fuel]), None, "FUEL"), (994, 3, 3))[0],
            "odometer": _typed(rng, typed["odometer"], numbers=0.9),
            "sender": rng.choices((driver.split()[0], f"~{driver.split()[0]} 🚚"), (97, 3))[0],
            "raw_message": f"FUEL UPDATE\nDept: {vehicle.department}\nCar: {vehicle.plate}\nDriver: {driver}\n"
            f"Litres: {litres}\nAmount: {amount:,}/=\nOdometer: {right['odometer']} km\n"
            f"Station: {rng.choice(STATIONS)}\nThanks 🙏",
            "deleted_at": None,
        }
        self._insert(at, row)
        if misread:
            self._typos[self._last_id] = {field: right[field] for field in misread}

    def _resend(self, at: datetime) -> None:
        if self._live:
            row = self._rows[self._live[-1 - self._rng.randrange(min(20, len(self._live)))]]
            amount = _shifted(self._rng, row["amount"])
            self._insert(at, {**row, "created_at": _stamp(at), "amount": amount})

    def _edit(self, at: datetime) -> None:
        if self._typos and self._rng.random() < 0.35:
            key, change = self._typos.popitem()
            self._write(key, at, change)
        elif self._live:
            key = self._live[self._recent()]
            field = self._rng.choice(("amount", "amount", "liters"))
            self._write(key, at, {field: _shifted(self._rng, self._rows[key][field])})

    def _soft_delete(self, at: datetime) -> None:
        if self._live:
            key = self._live.pop(self._recent())
            self._typos.pop(key, None)
            self._write(key, at, {"deleted_at": _stamp(at)})

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
            row["updated_at"] = _stamp(at)
        self._rows[key] = row
        self._changed[key] = None

    def _delta_body(self, rng: random.Random) -> bytes:
        rows = [self._rows[key] for key in self._changed]
        at, size = _iso(self.now), len(rows)
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


def _fleet(rng: random.Random, size: int, start: datetime) -> Iterator[Vehicle]:
    plates: set[str] = set()
    for n in range(size):
        kind = UGANDAN if n == 1 else FLEET[n % len(FLEET)]
        while (plate := _plate(rng, kind.plate)) in plates:
            pass
        plates.add(plate)
        yield Vehicle(
            kind=kind,
            plate=plate,
            fuel=rng.choice(kind.fuels),
            km_per_litre=rng.uniform(*kind.km_per_litre),
            odometer=rng.uniform(8_000, 250_000),
            department=rng.choice(tuple(DEPARTMENTS)),
            driver=_name(rng),
            filled_at=start,
        )


def _plate(rng: random.Random, shape: str) -> str:
    drawn = {"?": LETTERS, "!": "BCD", "#": "0123456789"}
    return "".join(rng.choice(drawn.get(mark, mark)) for mark in shape)


def _name(rng: random.Random) -> str:
    return f"{rng.choice(FIRST_NAMES)} {rng.choice(SURNAMES)}"


def _spelled(rng: random.Random, vehicle: Vehicle) -> str:
    """The plate as somebody types it."""
    plate = vehicle.plate
    letters, _, rest = plate.partition(" ")
    odd = (f"{letters}-{rest}", plate.lower(), f"{plate} {vehicle.kind.body}", f" {letters}  {rest} ")
    misread = (f"{letters}\u00a0{rest}", plate.replace("0", "O"))
    return rng.choices((plate, letters + rest, *odd, *misread), (58, 31, 3, 3, 2, 1, 1, 1))[0]


def _typed(rng: random.Random, value: float | None, numbers: float = 0.72) -> float | str | None:
    """A number as it comes: mostly itself, else text, now and then with a space after it or commas in it."""
    if value is None or rng.random() < numbers:
        return value
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return rng.choices((text, f"{text} ", f"{value:,}"), (80, 8, 12))[0]


def _number(value: Any) -> float:
    """What `_typed` was given."""
    return float(str(value).replace(",", ""))


def _shifted(rng: random.Random, value: Any) -> float:
    """The correction of a typing slip: up to a fifth more or less, never the same; litres keep two digits."""
    before = 40.0 if value is None else _number(value)
    after = before * (rng.uniform(1.05, 1.2) if rng.random() < 0.5 else rng.uniform(0.8, 0.95))
    return round(after) if before >= 600 else round(after, 2)


def _misread(rng: random.Random, price: float, *, liters: float, amount: float, odometer: float) -> Row:
    """The fields that the producer misread, usually none."""
    slips = (
        (0.006, "liters", int(f"{liters:.1f}".replace(".", ""))),  # 45,5
        (0.005, "liters", int(liters)),  # 19.009
        (0.004, "liters", None),  # 12.89.
        (0.004, "amount", round(price, 2)),  # a price per litre
        (0.003, "amount", amount * 10),
        (0.012, "odometer", None),
        (0.004, "odometer", int(odometer) // 1_000),  # 145 230
        (0.004, "odometer", odometer * 10 + 3),
        (0.004, "odometer", odometer + 40_000),
    )
    right: Row = {"liters": liters, "amount": amount, "odometer": odometer}
    return {field: value for share, field, value in slips if rng.random() < share and value != right[field]}


def _price(rng: random.Random, at: datetime, fuel: str) -> float:
    """KES per litre: a little under the cap of the cycle, V-Power well above it."""
    day = at.astimezone(EAT).date()
    caps = next((caps for begin, caps in reversed(PUMP_CAPS) if begin <= day), PUMP_CAPS[0][1])
    cap = caps["PETROL"] * 1.12 if fuel == "V-POWER" else caps[fuel]
    return cap * rng.uniform(0.985, 1.005)


def _fill_time(rng: random.Random, at: datetime) -> str | None:
    """The fill time in its spellings, unknown ones included."""
    eat = f"{at.astimezone(EAT):%Y-%m-%d-%H-%M}"
    return rng.choices((eat, _iso(at), "1970-01-01-03-00", None), (907, 80, 10, 3))[0]


def _delta_key(rng: random.Random, at: datetime) -> str:
    eat = at.astimezone(EAT)
    utc = f"{at:%Y-%m-%dT%H-%M-%S}.000Z"
    local = f"{eat:%Y-%m-%dT%H-%M-%S}"
    spellings = (_iso(at), utc, local, f"{eat:%Y-%m-%dT%H:%M:%S}+03:00")
    return f"fuel_records/changes/{rng.choices(spellings, (45, 25, 22, 8))[0]}.json"


def _is_night(at: datetime) -> bool:
    return not 5 <= at.astimezone(EAT).hour < 22


def _iso(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def _stamp(at: datetime) -> str:
    """A column of the source table: UTC that does not say so."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
