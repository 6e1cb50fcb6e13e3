"""The fields of a source record: the one table of them.

A new field is a line here, one in `rules/fields.toml`, and a migration that gives fuel.records its column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["key", "flag", "time", "number", "text", "apart"]
"""What a field holds. `apart` is not read: it is kept in `raw`, and only counts as something that a record says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a source record."""

    name: str
    """Its canonical name: of the column that it is read into, and of the key in `rules/fields.toml`."""
    kind: Kind
    of_fill: bool = False
    """Whether it says something of the fill. A deleted record without any such field only reports its deletion. A time
    of the fill is written by a person, so it is read in the feed's zone. If the feed loses such a column of kind time,
    number or text, a guard trips."""


FIELDS: Final = (
    Field(name="id", kind="key"),
    Field(name="created_at", kind="time"),
    Field(name="updated_at", kind="time"),
    Field(name="deleted_at", kind="time"),
    Field(name="is_deleted", kind="flag"),
    Field(name="filled_at", kind="time", of_fill=True),
    Field(name="department", kind="text", of_fill=True),
    Field(name="driver", kind="text", of_fill=True),
    Field(name="car", kind="text", of_fill=True),
    Field(name="litres", kind="number", of_fill=True),
    Field(name="amount_kes", kind="number", of_fill=True),
    Field(name="fuel_type", kind="text", of_fill=True),
    Field(name="odometer_km", kind="number", of_fill=True),
    Field(name="sender", kind="apart", of_fill=True),
    Field(name="raw_message", kind="apart", of_fill=True),
)

NAMES: Final = tuple(field.name for field in FIELDS)
COMPUTED: Final = "price_per_litre_kes"
"""amount_kes / litres: no field, but checks may look at it."""
SPELT: Final = ("fuel_type", "department")
"""Texts whose spellings the rules know."""


def named(*kinds: Kind) -> tuple[str, ...]:
    """The names of the fields of these kinds, in the order of the table."""
    return tuple(field.name for field in FIELDS if field.kind in kinds)


TIMES: Final = named("time")
TEXTS: Final = named("text")
NUMBERS: Final = named("number")
READ: Final = (*TIMES, *NUMBERS)
"""Fields that are read from text: `<field>_text` is what was written, null if nothing was."""
FLAGS: Final = named("flag")
"""Fields that say yes or no: `<field>_text` is what was written if it says neither."""
OF_FILL: Final = tuple(field.name for field in FIELDS if field.of_fill)
LOSABLE: Final = tuple(name for name in named("time", "number", "text") if name in OF_FILL)
"""Columns that a feed can lose."""
