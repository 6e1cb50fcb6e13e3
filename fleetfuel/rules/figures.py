"""What the reporting views need to know: pump prices, classes of vehicles, the anomalies looked for."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, get_args

from fleetfuel.rules.checks import need_code, need_pattern
from fleetfuel.rules.entries import Anomaly, Efficiency, FuelType, Positive, PumpPrice, VehicleClass
from fleetfuel.rules.file import RuleFile

ANOMALY_LIMITS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "odometer_rollback": frozenset(),
        "odometer_jump": frozenset(),
        "odometer_missing": frozenset(),
        "odometer_unchanged": frozenset(),
        "fills_missing": frozenset(),
        "duplicate_fill": frozenset({"minutes"}),
        "edited_plate": frozenset(),
        "too_frequent": frozenset({"hours"}),
        "litres_implausible": frozenset(),
        "over_capacity": frozenset({"share", "factor"}),
        "price_out_of_range": frozenset({"min", "max", "share", "believable", "ugx_per_kes"}),
        "implausible": frozenset(),
        "efficiency_outlier": frozenset(
            {
                *("min_spans", "spreads", "least_factor", "most_factor"),
                *("noisy_factor", "money_spreads", "money_factor"),
            }
        ),
        "fuel_type_changed": frozenset(),
        "odd_hours": frozenset({"from", "to"}),
        "driver_changed": frozenset({"hours"}),
        "missing_time": frozenset(),
        "impossible_time": frozenset(),
        "reported_late": frozenset({"days"}),
        "unknown_plate": frozenset(),
        "unknown_fuel_type": frozenset(),
        "missing_amount": frozenset(),
        "missing_litres": frozenset(),
    }
)
"""The checks the view reporting.v_fuel_anomalies knows, each with the names of its numbers."""

_PLATE: Final = re.compile(r"[A-Z0-9]{1,16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cycle:
    """One [[cycle]] of pump_prices.toml."""

    valid_from: datetime.date
    valid_to: datetime.date
    petrol: Positive | None = None
    diesel: Positive | None = None
    kerosene: Positive | None = None


def read_pump_prices(file: RuleFile) -> tuple[PumpPrice, ...]:
    """The prices of every [[cycle]], oldest first. Raises `RulesError`, also for cycles that overlap."""
    cycles = sorted(
        ((file.read(_Cycle, block, line), line) for line, block in file.blocks("cycle")),
        key=lambda pair: (pair[0].valid_from, pair[1]),
    )
    last_day: datetime.date | None = None
    prices: list[PumpPrice] = []
    for cycle, line in cycles:
        if cycle.valid_to < cycle.valid_from:
            file.refuse(f"a cycle cannot end on {cycle.valid_to}, before it begins", file.key("valid_to", line))
        if last_day is not None and cycle.valid_from <= last_day:
            file.refuse(f"this cycle overlaps the one that ends on {last_day}", line)
        last_day = cycle.valid_to
        for fuel_type in get_args(FuelType):
            price: float | None = getattr(cycle, fuel_type.lower())
            if price is None:
                continue
            prices.append(
                PumpPrice(
                    fuel_type=fuel_type,
                    valid_from=cycle.valid_from,
                    valid_to=cycle.valid_to,
                    price_per_litre_kes=price,
                )
            )
    return tuple(prices)


def read_vehicle_classes(file: RuleFile) -> tuple[VehicleClass, ...]:
    """Every [[vehicle_class]] by rank, the default last. Raises `RulesError`."""
    classes: list[VehicleClass] = []
    plates: dict[str, str] = {}
    for line, block in file.blocks("vehicle_class"):
        item = file.read(VehicleClass, block, line)
        for other in classes:
            if item.name == other.name:
                file.refuse(f"class `{item.name}` stands here twice", line)
            if item.rank == other.rank:
                file.refuse(f"rank {item.rank} is taken by class `{other.name}`", file.key("rank", line))
        for low, high in (("litres_min", "litres_max"), ("km_per_litre_min", "km_per_litre_max")):
            if getattr(item, low) > getattr(item, high):
                file.refuse(f"`{low}` is greater than `{high}`", file.key(low, line))
        if item.plate_pattern is not None:
            need_pattern(file, item.plate_pattern, file.key("plate_pattern", line))
        for plate in item.plates:
            if not _PLATE.fullmatch(plate):
                file.refuse(
                    f"plate `{plate}` must be written as A-Z and 0-9 only", file.text(plate, file.key("plates", line))
                )
            if plate in plates:
                file.refuse(
                    f"plate `{plate}` is claimed by `{plates[plate]}` and by `{item.name}`",
                    file.text(plate, file.key("plates", line)),
                )
            plates[plate] = item.name
        if item.default and (item.plates or item.plate_pattern is not None):
            file.refuse("the default class has neither plates nor a plate_pattern", line)
        classes.append(item)
    ordered = tuple(sorted(classes, key=lambda item: item.rank))
    if [item.default for item in ordered] != [False] * (len(ordered) - 1) + [True]:
        file.refuse("exactly one class must say `default = true`, and it must have the highest rank")
    return ordered


def read_anomalies(file: RuleFile) -> tuple[tuple[Anomaly, ...], Efficiency]:
    """Every [[anomaly]] in the order of the file, and [efficiency]. Raises `RulesError`, also if one is missing."""
    efficiency = file.read(Efficiency, file.need("efficiency"), file.header("efficiency"))
    anomalies: dict[str, Anomaly] = {}
    for line, block in file.blocks("anomaly"):
        anomaly = file.read(Anomaly, block, line)
        if anomaly.code not in ANOMALY_LIMITS:
            known = ", ".join(ANOMALY_LIMITS)
            file.refuse(f"unknown code `{anomaly.code}`; the view knows {known}", file.key("code", line))
        need_code(file, anomaly.code, anomalies, line)
        if anomaly.limits.keys() != ANOMALY_LIMITS[anomaly.code]:
            wanted = ", ".join(sorted(ANOMALY_LIMITS[anomaly.code])) or "no numbers"
            file.refuse(f"the limits of `{anomaly.code}` are {wanted}", file.key("limits", line))
        anomalies[anomaly.code] = dataclasses.replace(anomaly, limits=MappingProxyType(dict(anomaly.limits)))
    for code in ANOMALY_LIMITS:
        if code not in anomalies:
            file.refuse(f"check `{code}` is missing; to take it out of the view, say `enabled = false`")
    return tuple(anomalies.values()), efficiency
