"""What somebody knows of single vehicles: vehicles.toml."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from fleetfuel.rules.entries import KnownVehicle
from fleetfuel.rules.file import RuleFile


def plain_plate(written: str) -> str:
    """A plate or a name as A-Z and 0-9, as the database keeps plates."""
    return re.sub(r"[^A-Z0-9]", "", unicodedata.normalize("NFKC", written).upper())


def read_vehicles(file: RuleFile, classes: Collection[str], fuel_types: Collection[str]) -> tuple[KnownVehicle, ...]:
    """Each [[vehicle]], what it goes by and its other spellings as A-Z and 0-9; none if the file has none.

    `classes` and `fuel_types` are the names it may use. Raises `RulesError`.
    """
    if "vehicle" not in file.data:
        return ()
    vehicles: list[KnownVehicle] = []
    claimed: set[str] = set()
    for line, block in file.blocks("vehicle"):
        known = {("vehicle_class" if name == "class" else name): value for name, value in block.items()}
        item = file.read(KnownVehicle, known, line, ours=("spellings",))
        if (item.plate is None) == (item.name is None):
            file.refuse("a vehicle needs a `plate`, or a `name` if it has no plate", line)
        written = (item.plate or item.name or "", *item.also)
        spellings = tuple(dict.fromkeys(plain_plate(each) for each in written))
        for each in written:
            if not 1 <= len(plain_plate(each)) <= 100:
                file.refuse(f"`{each}` is no plate and no name: it needs letters or digits, 100 at most", line)
        if twice := claimed.intersection(spellings):
            file.refuse(f"`{min(twice)}` is claimed by two vehicles", line)
        claimed.update(spellings)
        if item.vehicle_class is not None and item.vehicle_class not in classes:
            file.refuse(
                f"unknown class `{item.vehicle_class}`; known are {', '.join(classes)}", file.key("class", line)
            )
        if item.fuel is not None and item.fuel not in fuel_types:
            file.refuse(f"unknown fuel `{item.fuel}`; known are {', '.join(fuel_types)}", file.key("fuel", line))
        vehicles.append(
            KnownVehicle(
                plate=item.plate,
                name=item.name,
                also=item.also,
                vehicle_class=item.vehicle_class,
                tank_litres=item.tank_litres,
                fuel=item.fuel,
                has_odometer=item.has_odometer,
                spellings=spellings,
            )
        )
    return tuple(vehicles)
