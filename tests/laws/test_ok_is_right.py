"""A figure with status `ok` is right: vehicles whose true consumption is known, and one thing wrong in each log.

Of what goes wrong, the record itself still tells: it has no time, or one long before its report; its price is one that
nobody pays; its reading, or all of it, is there twice. A fill that nobody reported leaves no trace in a short log; how
often it is found is measured (`python -m tests.bench findings`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from table import Row

from .quick import Quick, examples

VEHICLES: Final = 60
"""A damage is tried on so many."""
START: Final = datetime(2026, 1, 3, 8, tzinfo=UTC)

Log = list[Row]
Damage = Callable[[Log, int, random.Random], Any]


def honest_log(chance: random.Random, kml: float) -> Log:
    """A vehicle that fills up, 4 to 12 times; what it makes on a litre varies by 4 % or so."""
    tank = 60 if kml > 4 else 200
    odometer, at, log = chance.randint(5_000, 300_000), START, []
    for _ in range(chance.randint(4, 12)):
        used = round(tank * chance.uniform(0.4, 0.9), 2)
        odometer += round(used * kml * chance.lognormvariate(0, 0.04))
        at += timedelta(days=chance.randint(1, 5), minutes=chance.randint(0, 600))
        said = {"liters": used, "amount": round(used * chance.uniform(165, 178)), "odometer": odometer}
        log.append({"type": "DIESEL", "driver": "Amani", **said, **dated(at), **reported(at)})
    return log


def dated(at: datetime) -> Row:
    return {"datetime": f"{at:%Y-%m-%d-%H-%M}"}


def reported(at: datetime, minutes: int = 20) -> Row:
    return {"created_at": f"{at + timedelta(minutes=minutes):%Y-%m-%d %H:%M:%S}"}


def time_of(fill: Row) -> datetime:
    return datetime.strptime(fill["datetime"], "%Y-%m-%d-%H-%M").replace(tzinfo=UTC)


def mistype(fill: Row, chance: random.Random) -> None:
    """A digit beyond the hundreds: a smaller slip looks like any other way driven."""
    digits = [*str(fill["odometer"])]
    place = chance.randrange(len(digits) - 3)
    digits[place] = chance.choice([digit for digit in "123456789" if digit != digits[place]])
    fill["odometer"] = int("".join(digits))


def copy(log: Log, place: int, **fields: object) -> None:
    log.insert(place + 1, log[place] | fields)


DAMAGES: Final[dict[str, Damage]] = {
    "nothing": lambda log, place, chance: None,
    "no time": lambda log, place, chance: log[place].update(datetime=None),
    "no time at all": lambda log, place, chance: log[place].update(datetime=None, created_at=None),
    "a year too early": lambda log, place, chance: log[place].update(
        dated(time_of(log[place]) - timedelta(days=365)),
    ),
    "a month ahead": lambda log, place, chance: log[place].update(dated(time_of(log[place]) + timedelta(days=30))),
    "no reading": lambda log, place, chance: log[place].update(odometer=None),
    "a reading mistyped": lambda log, place, chance: mistype(log[place], chance),
    "no litres": lambda log, place, chance: log[place].update(liters=None),
    "ten times the litres": lambda log, place, chance: log[place].update(liters=log[place]["liters"] * 10),
    "litres and amount swapped": lambda log, place, chance: log[place].update(
        liters=log[place]["amount"], amount=log[place]["liters"]
    ),
    "shillings of Uganda": lambda log, place, chance: log[place].update(amount=log[place]["amount"] * 28),
    "edited": lambda log, place, chance: copy(
        log, place, amount=log[place]["amount"] + 50, **reported(time_of(log[place]), 28)
    ),
    "sent again at once": lambda log, place, chance: copy(
        log, place, **dated(time_of(log[place]) + timedelta(minutes=9)), **reported(time_of(log[place]), 28)
    ),
    "sent again in the evening": lambda log, place, chance: copy(
        log, place, **dated(time_of(log[place]) + timedelta(hours=7)), **reported(time_of(log[place]), 430)
    ),
    "a can of petrol": lambda log, place, chance: copy(
        log, place, type="PETROL", liters=20, amount=3500, **dated(time_of(log[place]) + timedelta(hours=3))
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_figure_that_is_ok_is_right(quick: Quick, damage: str) -> None:
    quick.reset()
    chance = random.Random(damage)
    truth: dict[str, float] = {}
    records: list[Row] = []
    for number in range(examples(VEHICLES)):
        plate = f"KD{'ABCDEFGH'[number // 1000]} {number % 1000:03}A"
        truth[plate.replace(" ", "")] = kml = chance.choice([4.0, 8.0, 11.0])
        log = honest_log(chance, kml)
        DAMAGES[damage](log, chance.randrange(1, len(log) - 1), chance)
        records += [fill | {"car": plate} for fill in log]
    quick.ask(
        "insert into fuel.records (id, raw) select n, r"
        " from jsonb_array_elements($1::text::jsonb) with ordinality as x (r, n) returning id",
        json.dumps(records),
    )
    shown = quick.ask(
        "select id, plate, km_per_litre::float8 as kml from reporting.v_fuel_efficiency where status = 'ok'"
    )
    wrong = [row for row in shown if not 0.7 < row["kml"] / truth[row["plate"].replace(" ", "")] < 1.42]
    assert not [(row, [each for each in records if each["car"].replace(" ", "") == row["plate"]]) for row in wrong]
    assert len(shown) > 2 * len(truth)  # and most are shown
