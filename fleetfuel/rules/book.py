"""`rules/*.toml` as one frozen value: names of fields, spellings of words, what is plausible, what stops a run.

Everything is read strictly: an unknown key, a wrong type, a spelling claimed twice is a `RulesError` with its line.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, get_type_hints
from zoneinfo import ZoneInfo

from fleetfuel import errors
from fleetfuel.packaged import packaged
from fleetfuel.rules.checks import read_checks
from fleetfuel.rules.entries import (
    Anomaly,
    Check,
    Efficiency,
    Guards,
    IgnoredField,
    KnownVehicle,
    PumpPrice,
    VehicleClass,
)
from fleetfuel.rules.fields import NAMES
from fleetfuel.rules.figures import read_anomalies, read_pump_prices, read_vehicle_classes
from fleetfuel.rules.file import RuleFile, read_rule_file
from fleetfuel.rules.vehicles import read_vehicles
from fleetfuel.rules.words import read_lists, read_spellings
from fleetfuel.rules.zone import FIELDS_KEYS, read_zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything `rules/` says."""

    digest: str
    """Hex digest of everything that decides how a record is validated; comments and reasons do not change it."""
    file_digests: Mapping[str, str]
    """Hex digest of what each file says, by file name."""
    fields: Mapping[str, tuple[str, ...]]
    """Canonical field → its names in the feed; the first that holds a value wins."""
    zone: ZoneInfo
    """The zone of times that name none."""
    personal: frozenset[str]
    """Canonical fields that are never shown."""
    ignore: tuple[IgnoredField, ...]
    """Fields of the feed that are known and left alone."""
    fuel_types: Mapping[str, tuple[str, ...]]
    """Canonical fuel type → other spellings, as people write them."""
    departments: Mapping[str, tuple[str, ...]]
    """Canonical department → other spellings, as people write them."""
    pump_prices: tuple[PumpPrice, ...]
    """Capped prices, by cycle and fuel."""
    vehicle_classes: tuple[VehicleClass, ...]
    """Classes by rank, the default last."""
    vehicles: tuple[KnownVehicle, ...]
    """What somebody knows of single vehicles."""
    checks: tuple[Check, ...]
    """What validation says of a record, in the order of the file."""
    guards: Guards
    """The limits of a whole run."""
    anomalies: tuple[Anomaly, ...]
    """The checks of the anomalies view, those switched off included."""
    efficiency: Efficiency
    """The limits of the efficiency view."""


def load_rules(folder: Path | None = None) -> Rules:
    """Read the rules in `folder` (the shipped ones if none is given). Raises `RulesError` with file and line."""
    files = _read_files(packaged("rules") if folder is None else folder)
    fields = _fields(files["fields.toml"])
    zone = read_zone(files["fields.toml"])
    checks = read_checks(files["checks.toml"], fields)
    guards = _guards(files["guards.toml"])
    personal, ignore = _personal(files["fields.toml"]), _ignored(files["fields.toml"], fields)
    anomalies, efficiency = read_anomalies(files["anomalies.toml"])
    fuel_types = read_spellings(files["fuel_types.toml"], "fuel_types")
    vehicle_classes = read_vehicle_classes(files["vehicle_classes.toml"])
    predicates = [_without(check, {"why", "good", "bad", "file", "line"}) for check in checks]
    return Rules(
        digest=_digest(
            [zone.key, fields, sorted(item.field for item in ignore), predicates, guards.future_source_time_hours]
        ),
        file_digests=MappingProxyType({name: _digest(file.data) for name, file in files.items()}),
        fields=fields,
        zone=zone,
        personal=personal,
        ignore=ignore,
        fuel_types=fuel_types,
        departments=read_spellings(files["departments.toml"], "departments"),
        pump_prices=read_pump_prices(files["pump_prices.toml"]),
        vehicle_classes=vehicle_classes,
        vehicles=read_vehicles(files["vehicles.toml"], [item.name for item in vehicle_classes], fuel_types),
        checks=checks,
        guards=guards,
        anomalies=anomalies,
        efficiency=efficiency,
    )


_FILES: Final[Mapping[str, frozenset[str]]] = {
    "fields.toml": FIELDS_KEYS,
    "fuel_types.toml": frozenset({"fuel_types"}),
    "departments.toml": frozenset({"departments"}),
    "pump_prices.toml": frozenset({"cycle"}),
    "vehicle_classes.toml": frozenset({"vehicle_class"}),
    "vehicles.toml": frozenset({"vehicle"}),
    "checks.toml": frozenset({"check"}),
    "guards.toml": frozenset(field.name for field in dataclasses.fields(Guards)),
    "anomalies.toml": frozenset({"efficiency", "anomaly"}),
}
_ALIAS: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ ]{0,62}")


def _read_files(folder: Path) -> dict[str, RuleFile]:
    if not folder.is_dir():
        raise errors.RulesError(file=folder, line=1, reason="there is no such folder of rules")
    for path in sorted(folder.glob("*.toml")):
        if path.name not in _FILES:
            raise errors.RulesError(file=path, line=1, reason=f"not a file of rules; known are {', '.join(_FILES)}")
    return {name: read_rule_file(folder / name, known) for name, known in _FILES.items()}


def _fields(file: RuleFile) -> Mapping[str, tuple[str, ...]]:
    block = file.header("fields")
    fields = read_lists(file, "fields")
    for name in fields:
        if name not in NAMES:
            file.refuse(f"unknown field `{name}`; known are {', '.join(NAMES)}", file.key(name, block))
    claimed: dict[str, str] = {}
    for field in NAMES:
        if not fields.get(field):
            file.refuse(f"field `{field}` needs at least one name", file.key(field, block))
        for alias in fields[field]:
            line = file.text(alias, file.key(field, block))
            if not _ALIAS.fullmatch(alias):
                file.refuse(f"`{alias}` cannot be a field's name: letters, digits, _ and spaces, 63 at most", line)
            if alias in claimed:
                file.refuse(f"the name `{alias}` is claimed by `{claimed[alias]}` and by `{field}`", line)
            claimed[alias] = field
    return MappingProxyType({field: fields[field] for field in NAMES})


def _personal(file: RuleFile) -> frozenset[str]:
    line = file.key("personal")
    personal = file.read(tuple[str, ...], file.need("personal"), line)
    for field in personal:
        if field not in NAMES:
            file.refuse(f"personal: unknown field `{field}`; known are {', '.join(NAMES)}", line)
    return frozenset(personal)


def _ignored(file: RuleFile, fields: Mapping[str, tuple[str, ...]]) -> tuple[IgnoredField, ...]:
    if "ignore" not in file.data:
        return ()
    ignored: dict[str, IgnoredField] = {}
    for line, block in file.blocks("ignore"):
        item = file.read(IgnoredField, block, line)
        reader = next((field for field, aliases in fields.items() if item.field in aliases), None)
        if reader is not None:
            file.refuse(f"`{item.field}` is a name of field `{reader}`: it cannot be ignored too", line)
        if item.field in ignored:
            file.refuse(f"`{item.field}` is ignored twice", line)
        ignored[item.field] = item
    return tuple(ignored.values())


def _guards(file: RuleFile) -> Guards:
    """Each guard by its name; a new one is one line in `Guards`, and its numbers in guards.toml."""
    types = get_type_hints(Guards, include_extras=True)
    found = {
        name: file.read(kind, file.need(name), file.header(name) if name in file.tables else file.key(name))
        for name, kind in types.items()
    }
    return Guards(**found)


def _without(value: Check, names: set[str]) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.name not in names}


def _digest(value: Any) -> str:
    """A hash that the order of keys does not change."""
    text = json.dumps(value, sort_keys=True, default=lambda odd: dict(odd) if isinstance(odd, Mapping) else str(odd))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
