"""`rules/*.toml` as one frozen value: names of fields, spellings of words, what is plausible, what stops a run.

Everything is read strictly: an unknown key, a wrong type, a spelling claimed twice is a `RulesError` with its line.
Whether a check agrees with its own examples is for `validate` to prove.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from fleetfuel import errors
from fleetfuel.packaged import packaged
from fleetfuel.rules.file import RuleFile, read_rule_file

Severity = Literal["warn", "reject", "stop"]
AnomalySeverity = Literal["info", "warn"]
FuelType = Literal["PETROL", "DIESEL", "KEROSENE"]
Kind = Literal["number", "computed", "time", "text"]

FIELDS: Final = (
    *("id", "created_at", "updated_at", "deleted_at", "is_deleted", "filled_at", "department", "driver", "car"),
    *("litres", "amount_kes", "fuel_type", "odometer_km", "sender", "raw_message"),
)
"""The canonical fields of a source record."""

CHECKED_FIELDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        **dict.fromkeys(("created_at", "updated_at", "deleted_at", "filled_at"), "time"),
        **dict.fromkeys(("litres", "amount_kes", "odometer_km"), "number"),
        **dict.fromkeys(("car", "driver", "department", "fuel_type"), "text"),
        "price_per_litre_kes": "computed",
    }
)
"""What a check may look at, and what it holds there; the price per litre is amount_kes / litres."""

PREDICATES: Final[Mapping[str, tuple[Kind, ...]]] = MappingProxyType(
    {
        "required": ("number", "time", "text"),
        "readable": ("number", "time"),
        "min": ("number", "computed", "time"),
        "max": ("number", "computed", "time"),
        "one_of": ("text",),
        "matches": ("text",),
        "max_hours_ahead": ("time",),
    }
)
"""What a check may ask, and of which kinds of field."""

ANOMALY_LIMITS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "odometer_rollback": frozenset(),
        "odometer_jump": frozenset(),
        "odometer_missing": frozenset(),
        "odometer_unchanged": frozenset(),
        "duplicate_fill": frozenset({"minutes"}),
        "too_frequent": frozenset({"hours"}),
        "litres_implausible": frozenset(),
        "price_out_of_range": frozenset({"min", "max", "share"}),
        "efficiency_outlier": frozenset({"factor", "min_spans"}),
        "fuel_type_changed": frozenset(),
        "odd_hours": frozenset({"from", "to"}),
        "driver_changed": frozenset({"hours"}),
        "future_date": frozenset({"hours"}),
        "unknown_plate": frozenset(),
        "unknown_fuel_type": frozenset(),
        "missing_amount": frozenset(),
        "missing_litres": frozenset(),
    }
)
"""The checks the view reporting.v_fuel_anomalies knows, each with the names of its numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredField:
    """A field of the feed that is known and left alone."""

    field: str
    """Its name in the feed."""
    why: str
    """The reason for leaving it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PumpPrice:
    """The capped price of one fuel in one cycle."""

    fuel_type: FuelType
    """The fuel."""
    valid_from: datetime.date
    """First day of the cycle, East Africa Time."""
    valid_to: datetime.date
    """Last day on which the price is known to hold."""
    price_per_litre_kes: float
    """KES per litre."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleClass:
    """What is plausible for a kind of vehicle."""

    name: str
    """What people call the class."""
    rank: int
    """Place in the order in which classes are tried; 1 first."""
    litres_min: float
    """Fewest litres in one fill."""
    litres_max: float
    """Most litres in one fill."""
    km_per_litre_min: float
    """Worst plausible consumption."""
    km_per_litre_max: float
    """Best plausible consumption."""
    plate_pattern: str | None = None
    """Regular expression that the normalised plates of this class match."""
    plates: tuple[str, ...] = ()
    """Normalised plates that belong to this class whatever they look like."""
    default: bool = False
    """Whether this is the class of every vehicle that fits no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing validation says of a record: a field and exactly one predicate that an innocent record satisfies."""

    code: str
    """The finding as a snake_case fact."""
    why: str
    """What is wrong with a record that fails, in a sentence."""
    severity: Severity
    """warn: loaded and flagged; reject: set aside whole; stop: nothing is loaded."""
    field: str
    """A canonical field, or price_per_litre_kes."""
    good: tuple[Mapping[str, Any], ...]
    """Fragments of source records that pass."""
    bad: tuple[Mapping[str, Any], ...]
    """Fragments of source records that fail."""
    required: bool = False
    """Predicate: something is given."""
    readable: bool = False
    """Predicate: where something is given, a value can be read from it."""
    min: float | datetime.datetime | None = None
    """Predicate, with or without `max`: a value is at least this."""
    max: float | datetime.datetime | None = None
    """Predicate, with or without `min`: a value is at most this."""
    one_of: tuple[str, ...] | None = None
    """Predicate: a value is one of these."""
    matches: str | None = None
    """Predicate: a value contains a match of this regular expression."""
    max_hours_ahead: float | None = None
    """Predicate: an instant is at most this many hours after the file's time."""
    file: str = ""
    """The file the check was read from."""
    line: int = 0
    """The line its [[check]] stands on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareLimit:
    """A guard that trips above a share of rows."""

    why: str
    """What a run that trips it probably met."""
    share: float
    """The largest share let through, 0 to 1."""
    exempt_under_rows: int
    """With fewer rows than this the guard does not look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A guard without a number."""

    why: str
    """What a run that trips it probably met."""
    enabled: bool
    """Whether it looks at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """The limits of a whole run."""

    future_source_time_hours: float
    """A record's updated_at further than this after its file's time is not used."""
    max_deletes: ShareLimit
    """Of the live rows, how many may be soft-deleted."""
    max_rejects: ShareLimit
    """Of the records, how many may be set aside."""
    max_updates: ShareLimit
    """Of the stored rows, how many may change."""
    lost_column: ShareLimit
    """A field that this share of the stored records has must not be gone from all new ones."""
    empty_snapshot: Switch
    """A snapshot holds at least one record."""
    count_mismatch: Switch
    """Metadata and file agree on the number of records."""
    old_snapshot: Switch
    """A snapshot is not older than the one applied last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One check of the view reporting.v_fuel_anomalies."""

    code: str
    """The finding as a snake_case fact."""
    why: str
    """What it may mean, in a sentence."""
    severity: AnomalySeverity
    """info: worth a look; warn: worth a question."""
    limits: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Its numbers by name."""
    enabled: bool = True
    """Whether the view looks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """The limits of the view reporting.v_fuel_efficiency."""

    max_span_km: float
    """Longest believable distance between two odometer readings."""
    max_km_per_day: float
    """Most kilometres a vehicle drives in a day."""
    rolling_spans: int
    """How many spans the rolling figure sums up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything `rules/` says."""

    digest: str
    """Hex digest of what decides what validation says of a record; a comment or a reason does not alter it."""
    file_digests: Mapping[str, str]
    """Hex digest of what each file says, by file name."""
    fields: Mapping[str, tuple[str, ...]]
    """Canonical field to its names in the feed, the first that holds a value wins."""
    personal: frozenset[str]
    """Canonical fields that are never shown."""
    ignore: tuple[IgnoredField, ...]
    """Fields of the feed that are known and left alone."""
    fuel_types: Mapping[str, tuple[str, ...]]
    """Canonical fuel type to other spellings, as people write them."""
    departments: Mapping[str, tuple[str, ...]]
    """Canonical department to other spellings, as people write them."""
    pump_prices: tuple[PumpPrice, ...]
    """Capped prices, by cycle and fuel."""
    vehicle_classes: tuple[VehicleClass, ...]
    """Classes by rank, the default last."""
    checks: tuple[Check, ...]
    """What validation says of a record, in the order of the file."""
    guards: Guards
    """The limits of a whole run."""
    anomalies: tuple[Anomaly, ...]
    """The checks of the anomalies view, those switched off included."""
    efficiency: Efficiency
    """The limits of the efficiency view."""


def load_rules(folder: Path | None = None) -> Rules:
    """Read the rules in `folder` (the shipped ones where none is given). Raises `RulesError` with file and line."""
    files = _read_files(packaged("rules") if folder is None else folder)
    fields = _fields(files["fields.toml"])
    checks = _checks(files["checks.toml"], fields)
    guards = _guards(files["guards.toml"])
    personal, ignore = _personal(files["fields.toml"]), _ignored(files["fields.toml"], fields)
    anomalies, efficiency = _anomalies(files["anomalies.toml"])
    predicates = [_without(check, {"why", "good", "bad", "file", "line"}) for check in checks]
    return Rules(
        digest=_digest([fields, sorted(item.field for item in ignore), predicates, guards.future_source_time_hours]),
        file_digests=MappingProxyType({name: _digest(file.data) for name, file in files.items()}),
        fields=fields,
        personal=personal,
        ignore=ignore,
        fuel_types=_spellings(files["fuel_types.toml"], "fuel_types"),
        departments=_spellings(files["departments.toml"], "departments"),
        pump_prices=_pump_prices(files["pump_prices.toml"]),
        vehicle_classes=_vehicle_classes(files["vehicle_classes.toml"]),
        checks=checks,
        guards=guards,
        anomalies=anomalies,
        efficiency=efficiency,
    )


_FILES: Final[Mapping[str, frozenset[str]]] = {
    "fields.toml": frozenset({"personal", "fields", "ignore"}),
    "fuel_types.toml": frozenset({"fuel_types"}),
    "departments.toml": frozenset({"departments"}),
    "pump_prices.toml": frozenset({"cycle"}),
    "vehicle_classes.toml": frozenset({"vehicle_class"}),
    "checks.toml": frozenset({"check"}),
    "guards.toml": frozenset(field.name for field in dataclasses.fields(Guards)),
    "anomalies.toml": frozenset({"efficiency", "anomaly"}),
}
_ALIAS: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ ]{0,62}")
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PLATE: Final = re.compile(r"[A-Z0-9]{1,16}")
_MOST: Final = 1_000_000
"""No hours, kilometres, litres or prices reach it: a greater number is a slip, and would overflow in a view."""


def _read_files(folder: Path) -> dict[str, RuleFile]:
    if not folder.is_dir():
        raise errors.RulesError(file=folder, line=1, reason="there is no such folder of rules")
    for path in sorted(folder.glob("*.toml")):
        if path.name not in _FILES:
            raise errors.RulesError(file=path, line=1, reason=f"not a file of rules; known are {', '.join(_FILES)}")
    return {name: read_rule_file(folder / name, known) for name, known in _FILES.items()}


def _lists(file: RuleFile, name: str) -> dict[str, tuple[str, ...]]:
    """The table `[name]` whose values are lists of texts."""
    block = file.header(name)
    lists = file.read(dict[str, Any], file.need(name), block)
    return {key: file.read(tuple[str, ...], value, file.key(key, block)) for key, value in lists.items()}


def _fields(file: RuleFile) -> Mapping[str, tuple[str, ...]]:
    block = file.header("fields")
    fields = _lists(file, "fields")
    for name in fields:
        if name not in FIELDS:
            file.refuse(f"unknown field `{name}`; known are {', '.join(FIELDS)}", file.key(name, block))
    claimed: dict[str, str] = {}
    for field in FIELDS:
        if not fields.get(field):
            file.refuse(f"field `{field}` needs at least one name", file.key(field, block))
        for alias in fields[field]:
            line = file.text(alias, file.key(field, block))
            if not _ALIAS.fullmatch(alias):
                file.refuse(f"`{alias}` cannot be a field's name: letters, digits, _ and spaces, 63 at most", line)
            if alias in claimed:
                file.refuse(f"the name `{alias}` is claimed by `{claimed[alias]}` and by `{field}`", line)
            claimed[alias] = field
    return MappingProxyType({field: fields[field] for field in FIELDS})


def _personal(file: RuleFile) -> frozenset[str]:
    line = file.key("personal")
    personal = file.read(tuple[str, ...], file.need("personal"), line)
    for field in personal:
        if field not in FIELDS:
            file.refuse(f"personal: unknown field `{field}`; known are {', '.join(FIELDS)}", line)
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


def cleaned(spelling: str) -> str:
    """How two spellings are compared here: upper case, punctuation as a space, spaces collapsed, no final DEPT.

    A little coarser than the database's normalisers: what they hold to be one spelling must not look like two here.
    """
    words = re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", spelling).upper()).split()
    while len(words) > 1 and words[-1] in ("DEPT", "DEPARTMENT"):
        words.pop()
    return " ".join(words)


def _spellings(file: RuleFile, name: str) -> Mapping[str, tuple[str, ...]]:
    block = file.header(name)
    spellings = _lists(file, name)
    claimed: dict[str, str] = {}
    for canonical in spellings:
        line = file.key(canonical, block)
        if canonical != " ".join(canonical.upper().split()):
            file.refuse(f"`{canonical}` must be written in upper case, without needless spaces", line)
        _claim(file, claimed, canonical, canonical, line)
    for canonical, aliases in spellings.items():
        for alias in aliases:
            _claim(file, claimed, alias, canonical, file.text(alias, file.key(canonical, block)))
    return MappingProxyType(spellings)


def _claim(file: RuleFile, claimed: dict[str, str], spelling: str, canonical: str, line: int) -> None:
    if not cleaned(spelling) or not spelling.isprintable():
        file.refuse(f"{spelling!r} is no spelling: it needs a letter or a digit, and nothing unprintable", line)
    owner = claimed.setdefault(cleaned(spelling), canonical)
    if owner != canonical:
        file.refuse(f"the spelling `{spelling}` is claimed by `{owner}` and by `{canonical}`", line)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cycle:
    """One [[cycle]] of pump_prices.toml."""

    valid_from: datetime.date
    valid_to: datetime.date
    petrol: float
    diesel: float
    kerosene: float


def _pump_prices(file: RuleFile) -> tuple[PumpPrice, ...]:
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
            price: float = getattr(cycle, fuel_type.lower())
            if not 0 < price <= _MOST:
                file.refuse(f"a price lies between 0 and {_MOST:,}", file.key(fuel_type.lower(), line))
            prices.append(
                PumpPrice(
                    fuel_type=fuel_type,
                    valid_from=cycle.valid_from,
                    valid_to=cycle.valid_to,
                    price_per_litre_kes=price,
                )
            )
    return tuple(prices)


def _vehicle_classes(file: RuleFile) -> tuple[VehicleClass, ...]:
    classes: list[VehicleClass] = []
    plates: dict[str, str] = {}
    for line, block in file.blocks("vehicle_class"):
        item = file.read(VehicleClass, block, line)
        if not 1 <= item.rank <= 1000:
            file.refuse("`rank` lies between 1 and 1000", file.key("rank", line))
        for other in classes:
            if item.name == other.name:
                file.refuse(f"class `{item.name}` stands here twice", line)
            if item.rank == other.rank:
                file.refuse(f"rank {item.rank} is taken by class `{other.name}`", file.key("rank", line))
        for low, high in (("litres_min", "litres_max"), ("km_per_litre_min", "km_per_litre_max")):
            if not 0 <= getattr(item, low) <= getattr(item, high) <= _MOST:
                file.refuse(f"0 ≤ {low} ≤ {high} ≤ {_MOST:,} must hold", file.key(low, line))
        if item.plate_pattern is not None:
            _need_pattern(file, item.plate_pattern, file.key("plate_pattern", line))
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


def _checks(file: RuleFile, fields: Mapping[str, tuple[str, ...]]) -> tuple[Check, ...]:
    names = {alias for aliases in fields.values() for alias in aliases}
    checks: dict[str, Check] = {}
    for line, block in file.blocks("check"):
        check = file.read(Check, block, line, ours=("file", "line"))
        check = dataclasses.replace(check, file=str(file.path), line=line)
        _need_code(file, check.code, checks, line)
        _need_predicate(file, check, block)
        for key in ("good", "bad"):
            examples: tuple[Mapping[str, Any], ...] = getattr(check, key)
            if not examples:
                file.refuse(f"check `{check.code}` needs at least one `{key}` record", file.key(key, line))
            for name, value in (item for example in examples for item in example.items()):
                if name not in names:
                    file.refuse(f"`{key}`: `{name}` is no name of a field in fields.toml", file.key(name, line))
                if not isinstance(value, str | int | float | list):
                    file.refuse(
                        f"`{key}`: `{name}` must be written as JSON could: put it in quotes", file.key(name, line)
                    )
        checks[check.code] = check
    return tuple(checks.values())


def _need_predicate(file: RuleFile, check: Check, block: Mapping[str, Any]) -> None:
    """Exactly one predicate, of a sort the field can answer."""
    if check.field not in CHECKED_FIELDS:
        known = ", ".join(CHECKED_FIELDS)
        file.refuse(f"no check can look at `{check.field}`, only at {known}", file.key("field", check.line))
    given = [name for name in PREDICATES if name in block]
    if len(given) != 1 and given != ["min", "max"]:
        said, known = ", ".join(given) or "none", ", ".join(PREDICATES)
        file.refuse(f"check `{check.code}` needs exactly one of {known} (or min and max); it has {said}", check.line)
    kind = CHECKED_FIELDS[check.field]
    for name in given:
        line, value = file.key(name, check.line), block[name]
        if kind not in PREDICATES[name]:
            file.refuse(f"`{name}` cannot be asked of field `{check.field}`", line)
        if value is False:
            file.refuse(f"`{name}` is true or absent", line)
        if name in ("min", "max"):
            _need_bound(file, name, value, kind, line)
    if given == ["min", "max"] and block["min"] > block["max"]:
        file.refuse("`min` is greater than `max`", file.key("min", check.line))
    if check.max_hours_ahead is not None and not 0 <= check.max_hours_ahead <= _MOST:
        file.refuse(f"`max_hours_ahead` lies between 0 and {_MOST:,}", file.key("max_hours_ahead", check.line))
    if check.one_of == ():
        file.refuse("`one_of` is empty", file.key("one_of", check.line))
    if check.matches is not None:
        _need_pattern(file, check.matches, file.key("matches", check.line))


def _need_bound(file: RuleFile, name: str, value: Any, kind: Kind, line: int) -> None:
    is_instant = isinstance(value, datetime.datetime) and value.tzinfo is not None
    if kind == "time" and not is_instant:
        file.refuse(f"`{name}` of a time must be a date with time and zone, such as 2015-01-01T00:00:00+03:00", line)
    if kind != "time" and isinstance(value, datetime.datetime):
        file.refuse(f"`{name}` must be a number", line)


def _need_code(file: RuleFile, code: str, taken: Collection[str], line: int) -> None:
    if not _CODE.fullmatch(code):
        file.refuse(f"code `{code}` must be a snake_case word", file.key("code", line))
    if code in taken:
        file.refuse(f"code `{code}` stands here twice", file.key("code", line))


def _need_pattern(file: RuleFile, pattern: str, line: int) -> None:
    """Refuse what is no regular expression, and what only some engines know: Polars' and PostgreSQL's have to agree."""
    try:
        re.compile(pattern)
    except re.error as error:
        file.refuse(f"`{pattern}` is no regular expression: {error}", line)
    if odd := re.search(r"\(\?(?!:).{0,2}|\\[^.dws()\[\]{}|?*+^$-]", pattern):
        file.refuse(f"`{pattern}` uses `{odd[0]}`, which not every regular expression engine here knows", line)


def _guards(file: RuleFile) -> Guards:
    hours = file.read(float, file.need("future_source_time_hours"), file.key("future_source_time_hours"))
    if not 0 <= hours <= _MOST:
        file.refuse(f"`future_source_time_hours` lies between 0 and {_MOST:,}", file.key("future_source_time_hours"))
    return Guards(
        future_source_time_hours=hours,
        max_deletes=_share_limit(file, "max_deletes"),
        max_rejects=_share_limit(file, "max_rejects"),
        max_updates=_share_limit(file, "max_updates"),
        lost_column=_share_limit(file, "lost_column"),
        empty_snapshot=_switch(file, "empty_snapshot"),
        count_mismatch=_switch(file, "count_mismatch"),
        old_snapshot=_switch(file, "old_snapshot"),
    )


def _share_limit(file: RuleFile, name: str) -> ShareLimit:
    line = file.header(name)
    limit = file.read(ShareLimit, file.need(name), line)
    if not 0 <= limit.share <= 1:
        file.refuse("`share` lies between 0 and 1: 0.10 is a tenth", file.key("share", line))
    if limit.exempt_under_rows < 0:
        file.refuse("`exempt_under_rows` is a number of rows", file.key("exempt_under_rows", line))
    return limit


def _switch(file: RuleFile, name: str) -> Switch:
    return file.read(Switch, file.need(name), file.header(name))


def _anomalies(file: RuleFile) -> tuple[tuple[Anomaly, ...], Efficiency]:
    line = file.header("efficiency")
    efficiency = file.read(Efficiency, file.need("efficiency"), line)
    for name, value in dataclasses.asdict(efficiency).items():
        if not 0 < value <= _MOST:
            file.refuse(f"`{name}` lies between 0 and {_MOST:,}", file.key(name, line))
    anomalies: dict[str, Anomaly] = {}
    for line, block in file.blocks("anomaly"):
        anomaly = file.read(Anomaly, block, line)
        if anomaly.code not in ANOMALY_LIMITS:
            known = ", ".join(ANOMALY_LIMITS)
            file.refuse(f"unknown code `{anomaly.code}`; the view knows {known}", file.key("code", line))
        _need_code(file, anomaly.code, anomalies, line)
        if anomaly.limits.keys() != ANOMALY_LIMITS[anomaly.code]:
            wanted = ", ".join(sorted(ANOMALY_LIMITS[anomaly.code])) or "no numbers"
            file.refuse(f"the limits of `{anomaly.code}` are {wanted}", file.key("limits", line))
        for name, value in anomaly.limits.items():
            if not 0 <= value <= _MOST:
                file.refuse(f"`{name}` lies between 0 and {_MOST:,}", file.key(name, line))
        anomalies[anomaly.code] = dataclasses.replace(anomaly, limits=MappingProxyType(dict(anomaly.limits)))
    for code in ANOMALY_LIMITS:
        if code not in anomalies:
            file.refuse(f"check `{code}` is missing; to take it out of the view, say `enabled = false`")
    return tuple(anomalies.values()), efficiency


def _without(value: Check, names: set[str]) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.name not in names}


def _digest(value: Any) -> str:
    """A hash that the order of keys does not change."""
    text = json.dumps(value, sort_keys=True, default=lambda odd: dict(odd) if isinstance(odd, Mapping) else str(odd))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
