"""Vehicles, and what their drivers report of a fill: fuel and amounts, in many spellings, sometimes wrong."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

Row = dict[str, Any]
"""A source record as JSON holds it."""

EAT = timezone(timedelta(hours=3))

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
FIRST_NAMES = ("Amani", "Baraka", "Zuri", "Neema", "Juma", "Pendo", "Rafiki", "Otis", "Imani", "Tumaini")
SURNAMES = ("Mlima", "Mto", "Bahari", "Nyota", "Jua", "Msitu", "Mvua", "Upepo")
STATIONS = ("Twiga Road", "Kilima Junction", "Pwani Street", "Ziwa Corner")
CITIES = ("Nairobi", "Mombasa", "Kisumu", "Nakuru", None)
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


BUSY = (1, 1, 1, 1, 2, 6, 14, 20, 18, 12, 10, 9, 9, 10, 10, 11, 14, 18, 16, 10, 6, 4, 2, 1)
"""How often people fill up in each hour of the day in East Africa: before work, and on the way home."""


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
    read: int | None = None
    """The odometer as it was reported last."""


def make_fleet(rng: random.Random, size: int, start: datetime) -> Iterator[Vehicle]:
    """So many vehicles of mixed kinds, each with a plate of its own."""
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


def report_fill(rng: random.Random, vehicle: Vehicle, at: datetime) -> tuple[Row, Row]:
    """What the driver reports at this instant, as a row without a key; and the right values of the wrong fields."""
    fuel = "V-POWER" if vehicle.fuel == "PETROL" and rng.random() < 0.08 else vehicle.fuel
    price = _price(rng, at, fuel)
    if vehicle.kind is UGANDAN and rng.random() < 0.25:
        price = rng.uniform(4_900, 5_100)
    hours = (at - vehicle.filled_at) / timedelta(hours=1)
    litres = round(min(rng.uniform(*vehicle.kind.litres), max(hours, 2) * 50 / vehicle.km_per_litre), 2)
    amount = round(litres * price)
    if amount > 1_000 and rng.random() < 0.3:
        amount = amount // 500 * 500
        litres = round(amount / price, 2)
    if hours > 16 * 24 and rng.random() < 0.3:
        vehicle.odometer += rng.uniform(3_100, 4_500)  # a journey whose fills nobody reported
    vehicle.odometer += litres * vehicle.km_per_litre * rng.uniform(0.92, 1.08)
    driver = vehicle.driver if rng.random() < 0.9 else _name(rng)
    filled_at = at - timedelta(minutes=rng.randint(1, 8))
    right: Row = {
        "datetime": _fill_time(rng, filled_at),
        "car": _spelled(rng, vehicle),
        "liters": litres,
        "amount": amount,
        "type": rng.choices((rng.choice(FUELS[fuel]), None, "FUEL"), (994, 3, 3))[0],
        "odometer": int(vehicle.odometer),
    }
    wrong = _misread(rng, price, vehicle, **right) | _mistyped(rng, vehicle, filled_at)
    typed = right | wrong
    vehicle.filled_at, vehicle.read = at, right["odometer"]
    row = {
        "id": None,
        "created_at": stamp(at),
        "datetime": typed["datetime"],
        "department": rng.choice(DEPARTMENTS[vehicle.department]),
        "driver": driver,
        "car": typed["car"],
        "liters": _typed(rng, typed["liters"]),
        "amount": _typed(rng, typed["amount"]),
        "type": typed["type"],
        "odometer": _typed(rng, typed["odometer"], numbers=0.9),
        "sender": rng.choices((driver.split()[0], f"~{driver.split()[0]} 🚚"), (97, 3))[0],
        "raw_message": f"FUEL UPDATE\nDept: {vehicle.department}\nCar: {vehicle.plate}\nDriver: {driver}\n"
        f"Litres: {litres}\nAmount: {amount:,}/=\nOdometer: {right['odometer']} km\n"
        f"Station: {rng.choice(STATIONS)}\nThanks 🙏",
        "deleted_at": None,
    }
    return row, {field: right[field] for field in wrong}


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
    """A number as it arrives: mostly a number, else a text, sometimes with a space after it or commas in it."""
    if value is None or rng.random() < numbers:
        return value
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return rng.choices((text, f"{text} ", f"{value:,}"), (80, 8, 12))[0]


def _number(value: Any) -> float:
    """What `_typed` was given."""
    return float(str(value).replace(",", ""))


def shifted(rng: random.Random, value: Any) -> float:
    """The correction of a typing slip: up to a fifth more or less, never the same; litres keep two digits."""
    before = 40.0 if value is None else _number(value)
    after = before * (rng.uniform(1.05, 1.2) if rng.random() < 0.5 else rng.uniform(0.8, 0.95))
    return round(after) if before >= 600 else round(after, 2)


def _misread(
    rng: random.Random, price: float, vehicle: Vehicle, *, liters: float, amount: float, odometer: float, **_: Any
) -> Row:
    """The numbers that the producer misread, or the driver mistook, usually none."""
    slips = (
        (0.006, "liters", int(f"{liters:.1f}".replace(".", ""))),  # 45,5
        (0.005, "liters", int(liters)),  # 19.009
        (0.004, "liters", None),  # 12.89.
        (0.003, "liters", round(liters / 10, 2)),  # 4.825
        (0.004, "amount", round(price, 2)),  # a price per litre
        (0.003, "amount", amount * 10),
        (0.002, "amount", None),
        (0.012, "odometer", None),
        (0.004, "odometer", int(odometer) // 1_000),  # 145 230
        (0.004, "odometer", odometer * 10 + 3),
        (0.004, "odometer", odometer + 40_000),
        (0.003 if vehicle.read else 0, "odometer", vehicle.read),  # copied from the message before
    )
    right: Row = {"liters": liters, "amount": amount, "odometer": odometer}
    return {field: value for share, field, value in slips if rng.random() < share and value != right[field]}


def _mistyped(rng: random.Random, vehicle: Vehicle, at: datetime) -> Row:
    """The words that the driver got wrong, usually none: the date, the plate, the fuel."""
    letters, _, digits = vehicle.plate.partition(" ")
    slips = (
        (0.002, "datetime", _eat(at + timedelta(days=31))),
        (0.002, "datetime", _eat(at - timedelta(days=92))),
        (0.002, "car", f"{letters} {digits[1:]}"),
        (0.001, "car", "GENSET"),
        (0.003, "type", "PETROL" if vehicle.fuel == "DIESEL" else "DIESEL"),
    )
    return {field: value for share, field, value in slips if rng.random() < share}


def _price(rng: random.Random, at: datetime, fuel: str) -> float:
    """KES per litre: a little under the cap of the cycle, V-Power well above it."""
    day = at.astimezone(EAT).date()
    caps = next((caps for begin, caps in reversed(PUMP_CAPS) if begin <= day), PUMP_CAPS[0][1])
    cap = caps["PETROL"] * 1.12 if fuel == "V-POWER" else caps[fuel]
    return cap * rng.uniform(0.985, 1.005)


def _fill_time(rng: random.Random, at: datetime) -> str | None:
    """The fill time in its spellings, unknown ones included."""
    return rng.choices((_eat(at), iso(at), "1970-01-01-03-00", None), (907, 80, 10, 3))[0]


def _eat(at: datetime) -> str:
    return f"{at.astimezone(EAT):%Y-%m-%d-%H-%M}"


def iso(at: datetime) -> str:
    """An instant as JSON holds it."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def stamp(at: datetime) -> str:
    """A column of the source table: UTC that does not say so."""
    return f"{at:%Y-%m-%d %H:%M:%S}"
