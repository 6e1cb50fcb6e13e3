"""Pure: rules → the rows of the tables that hold them in the database, by table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fleetfuel.rules.book import Rules
from fleetfuel.rules.entries import VehicleClass

Row = dict[str, Any]


def rule_rows(rules: Rules) -> Mapping[str, list[Row]]:
    """The rows of each rules table of the `fuel` schema, as JSON values."""
    return {
        "feed_rule": [{"is_only": True, "zone": rules.zone.key}],
        "source_field": [
            {"field": field, "alias": alias, "rank": rank}
            for field, aliases in rules.fields.items()
            for rank, alias in enumerate(aliases, 1)
        ],
        "fuel_type_alias": list(_alias_rows(rules.fuel_types)),
        "department_alias": list(_alias_rows(rules.departments)),
        "pump_prices": [
            {
                "fuel_type": price.fuel_type,
                "valid_from": price.valid_from.isoformat(),
                "valid_to": price.valid_to.isoformat(),
                "price_per_litre_kes": price.price_per_litre_kes,
            }
            for price in rules.pump_prices
        ],
        "vehicle_class": list(_class_rows(rules.vehicle_classes)),
        "known_vehicle": [
            {
                "plate": spelling,
                "vehicle": item.spellings[0],
                "class": item.vehicle_class,
                "tank_litres": None if item.tank_litres is None else _plain(item.tank_litres),
                "fuel_type": item.fuel,
                "has_odometer": item.has_odometer,
            }
            for item in rules.vehicles
            for spelling in item.spellings
        ],
        "check_limit": list(_limit_rows(rules)),
    }


def _alias_rows(spellings: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """One row per spelling, the canonical one included: upper case, spaces collapsed, as the normalisers ask for it."""
    for canonical, aliases in spellings.items():
        for alias in dict.fromkeys(" ".join(spelling.upper().split()) for spelling in (canonical, *aliases)):
            yield {"alias": alias, "canonical": canonical}


def _class_rows(classes: Sequence[VehicleClass]) -> Iterator[Row]:
    """One row per class. Listed plates are added to its pattern. No pattern means every plate; `^$` matches none, so
    such a class has only vehicles that vehicles.toml puts into it."""
    for item in classes:
        patterns = [item.plate_pattern] if item.plate_pattern is not None else []
        if item.plates:
            patterns.append(f"^({'|'.join(item.plates)})$")
        yield {
            "class": item.name,
            "plate_pattern": None if item.default else "|".join(patterns) or "^$",
            "rank": item.rank,
            "litres_min": _plain(item.litres_min),
            "litres_max": _plain(item.litres_max),
            "km_per_litre_min": _plain(item.km_per_litre_min),
            "km_per_litre_max": _plain(item.km_per_litre_max),
        }


def _limit_rows(rules: Rules) -> Iterator[Row]:
    """One row per number of a check that is switched on; `enabled` = 1 for a check without numbers."""
    for anomaly in rules.anomalies:
        if anomaly.enabled:
            for name, value in (anomaly.limits or {"enabled": 1.0}).items():
                yield {"code": anomaly.code, "name": name, "value": _plain(value), "severity": anomaly.severity}
    for name, value in dataclasses.asdict(rules.efficiency).items():
        yield {"code": "efficiency", "name": name, "value": _plain(value), "severity": None}


def _plain(number: float) -> float:
    """13.0 as 13: the database keeps the digits it is given, and the views show them."""
    return int(number) if float(number).is_integer() else number
