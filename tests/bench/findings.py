"""How well wrong fills are found: logs that are right, with one fill made wrong at each place in turn.

Each spoilt log is a vehicle of its own, so that all are computed at once. What counts is what v_fuel_anomalies warns of
beyond what it says of the honest log.
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import adbc_driver_postgresql.dbapi as adbc

from .table import aligned

CASES: Final = Path(__file__).parents[1] / "cases"
START: Final = datetime(2025, 1, 3, 8, tzinfo=UTC)
KM_PER_MILE: Final = 1.609344
LITRES_PER_GALLON: Final = 3.785411784


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One fill of a log."""

    at: datetime
    odometer: int
    litres: float
    kes: float
    fuel: str = "DIESEL"
    late_minutes: int = 30
    """Minutes from the fill to its report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One vehicle's fills, honest, oldest first."""

    name: str
    fills: Sequence[Fill]
    plate: str = "KD?"
    """Two letters and what kind of plate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What became of one way of spoiling one log."""

    log: str
    way: str
    tried: int
    found: int
    blamed: int


def full_tank(seed: int, *, fills: int = 60) -> Log:
    """A car that fills up whenever it has used 40 to 90 % of its tank."""
    chance, odometer, at, log = random.Random(seed), 50_000.0, START, []
    for _ in range(fills):
        used = 55 * chance.uniform(0.4, 0.9)
        odometer += used * 11 * chance.lognormvariate(0, 0.06)
        at += timedelta(days=chance.randint(2, 6), minutes=chance.randint(0, 500))
        log.append(_fill(at, odometer, used * chance.uniform(0.97, 1.03), chance))
    return Log(name=f"full tank {seed}", fills=log)


def motorcycle(seed: int, *, fills: int = 60) -> Log:
    chance, odometer, at, log = random.Random(seed), 9_000.0, START, []
    for _ in range(fills):
        used = 10 * chance.uniform(0.5, 0.9)
        odometer += used * 42 * chance.lognormvariate(0, 0.06)
        at += timedelta(days=chance.randint(2, 6), minutes=chance.randint(0, 500))
        log.append(_fill(at, odometer, used, chance, fuel="PETROL"))
    return Log(name=f"motorcycle {seed}", fills=log, plate="KM?")


def fixed_money(seed: int, *, fills: int = 60) -> Log:
    """A car that buys for 5,000 KES whenever the gauge is low."""
    chance, odometer, at, log, tank = random.Random(seed), 50_000.0, START, [], 30.0
    for number in range(fills):
        left = chance.uniform(4, 12)
        used, tank = max(tank - left, 2.0), left
        odometer += used * 11 * chance.lognormvariate(0, 0.06)
        at += timedelta(days=chance.randint(2, 6), minutes=chance.randint(0, 500))
        price = 170 * (1 + 0.06 * ((number // 6) % 3 - 1))
        tank += 5_000 / price
        log.append(Fill(at=at, odometer=round(odometer), litres=round(5_000 / price, 2), kes=5_000, fuel="DIESEL"))
    return Log(name=f"fixed money {seed}", fills=log)


def two_fuels(seed: int, *, fills: int = 60) -> Log:
    """A full-tank diesel car that fetches a can of petrol now and then."""
    log = [*full_tank(seed, fills=fills).fills]
    chance = random.Random(-seed)
    for place in range(len(log) - 2, 0, -12):
        after = log[place]
        can = replace(after, at=after.at + timedelta(hours=5), odometer=after.odometer + 30, fuel="PETROL")
        log.insert(place + 1, replace(can, litres=20.0, kes=round(20 * 176 * chance.uniform(0.98, 1.02))))
    return Log(name=f"two fuels {seed}", fills=log)


def _fill(at: datetime, odometer: float, litres: float, chance: random.Random, fuel: str = "DIESEL") -> Fill:
    price = chance.uniform(165, 178)
    return Fill(at=at, odometer=round(odometer), litres=round(litres, 2), kes=round(litres * price), fuel=fuel)


def real_car() -> Log:
    """The diesel car of tests/cases/mit, its koruna taken for four shillings."""
    with (CASES / "mit" / "fuel_log.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["odo"]))
    return Log(
        name="mit",
        fills=[
            Fill(
                at=datetime.fromisoformat(row["date"] + "T00Z") + timedelta(hours=9),
                odometer=int(row["odo"]),
                litres=float(row["fuel_amount_l"]),
                kes=round(float(row["fuel_amount_l"]) * 170),
            )
            for row in rows
        ],
    )


def real_truck() -> Log:
    """The truck of tests/cases/fuelly; what its owner entered twice is left out, and ten years are added."""
    with (CASES / "fuelly" / "fuelups.csv").open(encoding="utf-8", newline="") as file:
        rows = [{name.strip(): value for name, value in row.items()} for row in csv.DictReader(file)][::-1]
    fills = [
        Fill(
            at=datetime.fromisoformat(row["fuelup_date"] + "T00Z") + timedelta(days=3653, hours=9),
            odometer=round(float(row["odometer"]) * KM_PER_MILE),
            litres=round(float(row["gallons"]) * LITRES_PER_GALLON, 2),
            kes=round(float(row["gallons"]) * LITRES_PER_GALLON * 170),
        )
        for row in rows
    ]
    return Log(
        name="fuelly",
        fills=[b for a, b in zip([None, *fills], fills, strict=False) if a is None or a.odometer != b.odometer],
    )


def feed() -> list[Log]:
    """Vehicles of tests/cases/day_of_feed with twenty fills or more, as far as they are plain."""
    records = json.loads((CASES / "day_of_feed" / "latest-0.json").read_text(encoding="utf-8"))["records"]
    by_car: dict[str, list[Fill]] = defaultdict(list)
    for record in records:
        try:
            fill = Fill(
                at=datetime.strptime(record["datetime"] + "Z", "%Y-%m-%d-%H-%M%z"),
                odometer=int(record["odometer"]),
                litres=float(record["liters"]),
                kes=float(record["amount"]),
                fuel="DIESEL" if str(record["type"]).upper().startswith("D") else "PETROL",
            )
        except (KeyError, TypeError, ValueError):
            continue
        by_car[str(record.get("car")).replace(" ", "")].append(fill)
    logs = []
    for number, car in enumerate(sorted(by_car)):
        fills = sorted(by_car[car], key=lambda fill: fill.at)
        rising = [
            b for a, b in zip([None, *fills], fills, strict=False) if a is None or 0 < b.odometer - a.odometer < 3000
        ]
        if len(rising) >= 20:
            logs.append(Log(name=f"feed {number}", fills=rising, plate="KM?" if car.startswith("KM") else "KD?"))
    return logs


# -- ways of spoiling a log: (fills, the places that are wrong) --------------------------------------------------------

Spoilt = tuple[list[Fill], set[int]]


def left_out(fills: list[Fill], place: int, _: random.Random) -> Spoilt:
    return [*fills[:place], *fills[place + 1 :]], {place}


def doubled(fills: list[Fill], place: int, _: random.Random) -> Spoilt:
    again = replace(fills[place], late_minutes=fills[place].late_minutes + 24 * 60)
    return [*fills[: place + 1], again, *fills[place + 1 :]], {place, place + 1}


def sent_again(fills: list[Fill], place: int, _: random.Random) -> Spoilt:
    """As the driver sends his message again in the evening, with the time of that."""
    again = replace(fills[place], at=fills[place].at + timedelta(hours=7))
    return [*fills[: place + 1], again, *fills[place + 1 :]], {place, place + 1}


def litres_doubled(fills: list[Fill], place: int, _: random.Random) -> Spoilt:
    wrong = replace(fills[place], litres=fills[place].litres * 2, kes=fills[place].kes * 2)
    return [*fills[:place], wrong, *fills[place + 1 :]], {place}


def split(fills: list[Fill], place: int, _: random.Random) -> Spoilt:
    whole = fills[place]
    first = replace(whole, litres=round(whole.litres * 0.6, 2), kes=round(whole.kes * 0.6))
    second = replace(
        whole,
        at=whole.at + timedelta(minutes=6),
        litres=round(whole.litres - first.litres, 2),
        kes=whole.kes - first.kes,
    )
    return [*fills[:place], first, second, *fills[place + 1 :]], set()


def edited(fills: list[Fill], place: int, _: random.Random) -> Spoilt:
    again = replace(fills[place], kes=fills[place].kes + 50, late_minutes=fills[place].late_minutes + 9)
    return [*fills[: place + 1], again, *fills[place + 1 :]], {place}


def misdated(fills: list[Fill], place: int, _: random.Random) -> Spoilt:
    right = fills[place]
    wrong = replace(right, at=right.at - timedelta(days=31), late_minutes=right.late_minutes + 31 * 24 * 60)
    return [*fills[:place], wrong, *fills[place + 1 :]], {place}


def mistyped(fills: list[Fill], place: int, chance: random.Random) -> Spoilt:
    digits = [*str(fills[place].odometer)]
    at = chance.randrange(max(len(digits) - 2, 1))
    digits[at] = chance.choice([digit for digit in "123456789" if digit != digits[at]])
    return [*fills[:place], replace(fills[place], odometer=int("".join(digits))), *fills[place + 1 :]], {place}


WAYS: Final[Mapping[str, Callable[[list[Fill], int, random.Random], Spoilt]]] = {
    "left out": left_out,
    "doubled": doubled,
    "sent again": sent_again,
    "litres doubled": litres_doubled,
    "split": split,
    "edited": edited,
    "misdated": misdated,
    "mistyped": mistyped,
}


def measure_findings(uri: str, logs: Sequence[Log], step: int = 1) -> tuple[list[Score], dict[str, tuple[int, int]]]:
    """Of an empty database: what was found and blamed rightly; of each honest log, its spans and those flagged."""
    chance = random.Random(1)
    trials: list[tuple[Log, str, list[Fill], set[int]]] = []
    for log in logs:
        trials.append((log, "honest", [*log.fills], set()))
        own = Counter(fill.fuel for fill in log.fills).most_common(1)[0][0]
        places = [place for place in range(2, len(log.fills) - 2, step) if log.fills[place].fuel == own]
        for name, spoil in WAYS.items():
            trials.extend((log, name, *spoil([*log.fills], place, chance)) for place in places)
    with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        for start in range(0, len(trials), 200):
            records = list(_records(trials[start : start + 200], start))
            cursor.execute(
                "insert into fuel.records (id, raw) select (r ->> 'id')::bigint, r"
                " from jsonb_array_elements($1::jsonb) as r returning id",
                (json.dumps(records),),
            )
            cursor.fetchall()
        cursor.execute("analyze fuel.records")
        cursor.execute("select vehicles from fuel.refresh_fill_facts(1000000000)")
        cursor.fetchall()
        # The prices of these logs are invented, so nothing that is said of prices counts.
        cursor.execute(
            "select id from reporting.v_fuel_anomalies where severity = 'warn' and code <> 'price_out_of_range'"
        )
        warned: dict[int, set[int]] = defaultdict(set)
        for (id_,) in cursor.fetchall():
            warned[id_ // 1000].add(id_ % 1000)
        cursor.execute("select id, status, km_per_litre::text from reporting.v_fuel_efficiency")
        figures: dict[int, list[tuple[str, str | None]]] = defaultdict(list)
        for id_, status, ratio in cursor.fetchall():
            figures[id_ // 1000].append((status, ratio))
    return _judged(trials, warned, figures)


def _records(trials: Sequence[tuple[Log, str, list[Fill], set[int]]], start: int) -> Iterator[dict[str, Any]]:
    for vehicle, (log, _, fills, _) in enumerate(trials, start):
        letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
        plate = (
            log.plate[:2]
            + ("A" if log.plate.startswith("KM") else "")
            + (f"{letters[vehicle // 23000 % 23]}{vehicle % 1000:03}{letters[vehicle // 1000 % 23]}")
        )
        for number, fill in enumerate(fills):
            yield {
                "id": vehicle * 1000 + number,
                "created_at": f"{fill.at + timedelta(minutes=fill.late_minutes - 180):%Y-%m-%d %H:%M:%S}",
                "datetime": f"{fill.at:%Y-%m-%d-%H-%M}",
                "car": plate,
                "driver": f"Driver {vehicle}",
                "liters": fill.litres,
                "amount": fill.kes,
                "type": fill.fuel,
                # Readings of its own: all spoilt logs of one honest log would have the same fills on another plate.
                "odometer": fill.odometer + vehicle,
            }


def _judged(
    trials: Sequence[tuple[Log, str, list[Fill], set[int]]],
    warned: Mapping[int, set[int]],
    figures: Mapping[int, Sequence[tuple[str, str | None]]],
) -> tuple[list[Score], dict[str, tuple[int, int]]]:
    honest: dict[str, set[Fill]] = {}
    right: dict[str, Counter[tuple[str, str | None]]] = {}
    spans: dict[str, tuple[int, int]] = {}
    scores: dict[tuple[str, str], Score] = {}
    for vehicle, (log, way, fills, wrong) in enumerate(trials):
        found = warned.get(vehicle, set())
        if way == "honest":
            honest[log.name] = {fills[number] for number in found}
            right[log.name] = Counter(figures[vehicle])
            shown = [status for status, _ in figures[vehicle] if status in ("ok", "outlier", "implausible")]
            spans[log.name] = len(shown), sum(status != "ok" for status in shown)
            continue
        new = {number for number in found if fills[number] not in honest[log.name] or number in wrong}
        if way == "split":  # recognised: one receipt more at the stop, and every figure as it was
            is_found = Counter(figures[vehicle]) - right[log.name] == Counter({("same_stop", None): 1})
            is_right = is_found
        else:
            is_found = bool(new)
            is_right = is_found and bool(new & wrong)
        before = scores.get((log.name, way), Score(log=log.name, way=way, tried=0, found=0, blamed=0))
        scores[log.name, way] = replace(
            before, tried=before.tried + 1, found=before.found + is_found, blamed=before.blamed + is_right
        )
    return [*scores.values()], spans


def all_logs() -> list[Log]:
    generated = [make(seed) for make in (full_tank, fixed_money, two_fuels, motorcycle) for seed in (1, 2)]
    return [*generated, real_car(), real_truck(), *feed()[:12]]


def render_findings(scores: Sequence[Score], spans: Mapping[str, tuple[int, int]]) -> str:
    """By kind of log: honest spans flagged, and of each way found and, of these, blamed rightly."""
    kinds = list(dict.fromkeys(score.log.rstrip("0123456789 ") for score in scores))
    rows: list[tuple[str, ...]] = [("", "honest flagged", *(f"{way}: found, blamed" for way in WAYS))]
    for kind in kinds:
        mine = [score for score in scores if score.log.rstrip("0123456789 ") == kind]
        shown = [
            sum(each) for each in zip(*(span for name, span in spans.items() if name.startswith(kind)), strict=True)
        ]
        cells = []
        for way in WAYS:
            tried, found, blamed = (
                sum(getattr(score, what) for score in mine if score.way == way) for what in ("tried", "found", "blamed")
            )
            cells.append(f"{found / tried:.0%}, {blamed / found if found else 0:.0%}" if tried else "")
        rows.append((kind, f"{shown[1]} of {shown[0]}", *cells))
    return "\n".join(aligned(rows))
