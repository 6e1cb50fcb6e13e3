"""The entries of `rules/*.toml`: one frozen value for each, its ranges in its types."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

Severity = Literal["warn", "reject", "stop"]
AnomalySeverity = Literal["info", "warn"]
FuelType = Literal["PETROL", "DIESEL", "KEROSENE"]

MOST: Final = 1_000_000
"""No hours, kilometres, litres or prices reach it: a greater number is a mistake, and would overflow in a view."""
Amount = Annotated[float, Meta(ge=0, le=MOST)]
Positive = Annotated[float, Meta(gt=0, le=MOST)]


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
    price_per_litre_kes: Positive
    """KES per litre."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleClass:
    """What is plausible for a kind of vehicle."""

    name: str
    """What people call the class."""
    rank: Annotated[int, Meta(ge=1, le=1000)]
    """Place in the order in which classes are tried; 1 first."""
    litres_min: Amount
    """Fewest litres in one fill."""
    litres_max: Amount
    """Most litres in one fill."""
    km_per_litre_min: Amount
    """Worst plausible consumption."""
    km_per_litre_max: Amount
    """Best plausible consumption."""
    plate_pattern: str | None = None
    """Regular expression that the normalised plates of this class match."""
    plates: tuple[str, ...] = ()
    """Normalised plates that belong to this class whatever they look like."""
    default: bool = False
    """Whether this is the class of every vehicle that fits no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVehicle:
    """What somebody knows of one vehicle; everything but its plate or name may be left out."""

    plate: str | None = None
    """The number plate it goes by; or `name`."""
    name: str | None = None
    """What the feed calls something that has no plate: GENSET 2."""
    also: tuple[str, ...] = ()
    """Former plates, and spellings that no reader could guess."""
    vehicle_class: str | None = None
    """Name of its class in vehicle_classes.toml; `class` in the file."""
    tank_litres: Positive | None = None
    """What its tanks hold together."""
    fuel: str | None = None
    """Canonical name of its fuel."""
    has_odometer: bool = True
    """False for what has none: trailers, generators."""
    spellings: tuple[str, ...] = ()
    """What it goes by, then its other spellings, as A-Z and 0-9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of a record: a field, and exactly one predicate that a good record satisfies."""

    code: str
    """The finding as a snake_case fact."""
    why: str
    """What is wrong with a record that fails, in a sentence."""
    severity: Severity
    """warn: loaded and flagged; reject: kept whole, and not loaded; stop: nothing is loaded."""
    field: str
    """A canonical field, or price_per_litre_kes."""
    good: tuple[Mapping[str, Any], ...]
    """Fragments of source records that pass."""
    bad: tuple[Mapping[str, Any], ...]
    """Fragments of source records that fail."""
    required: bool = False
    """Predicate: something is given."""
    readable: bool = False
    """Predicate: if something is given, a value can be read from it."""
    min: float | datetime.datetime | None = None
    """Predicate, with or without `max`: a value is at least this."""
    max: float | datetime.datetime | None = None
    """Predicate, with or without `min`: a value is at most this."""
    one_of: tuple[str, ...] | None = None
    """Predicate: a value is one of these."""
    matches: str | None = None
    """Predicate: a value contains a match of this regular expression."""
    max_hours_ahead: Amount | None = None
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
    share: Annotated[float, Meta(ge=0, le=1)]
    """The largest share let through, 0 to 1."""
    exempt_under_rows: Annotated[int, Meta(ge=0)]
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

    future_source_time_hours: Amount
    """A record's updated_at further than this after its file's time is not used."""
    stale_feed_hours: Amount
    """A snapshot that was not written for this long is a stalled export."""
    overlap_minutes: Amount
    """A change file is older than the last snapshot only if it lies before it by more than this."""
    max_deletes: ShareLimit
    """Of the live rows, how many may be soft-deleted."""
    max_rejects: ShareLimit
    """Of the records, how many may be rejected."""
    max_updates: ShareLimit
    """Of the live rows, how many may be updated."""
    lost_column: ShareLimit
    """A field that this share of the stored records has must not be gone from all new ones."""
    empty_snapshot: Switch
    """A snapshot holds at least one record that can be loaded."""
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
    limits: Mapping[str, Amount] = dataclasses.field(default_factory=dict)
    """Its numbers by name."""
    enabled: bool = True
    """Whether the view looks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """The limits of the view reporting.v_fuel_efficiency."""

    max_span_km: Positive
    """Longest believable distance between two odometer readings."""
    max_km_per_day: Positive
    """Most kilometres a vehicle drives in a day."""
    max_km_per_hour: Positive
    """Most kilometres a vehicle drives in an hour."""
    gap_days: Positive
    """If a span is too long, fills are missing if it lasts at least so many days; else a digit is wrong."""
    gap_km_per_day: Positive
    """Most kilometres a day that are believed over such a gap."""
    stop_minutes: Positive
    """Fills at most so far apart are one stop."""
    stop_km: Positive
    """Readings of one stop differ by no more."""
    rolling_spans: Annotated[int, Meta(gt=0, le=MOST)]
    """How many spans the rolling figure sums up."""
