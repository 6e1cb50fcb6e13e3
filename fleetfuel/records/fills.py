"""Pure: which fill a record is of, as reported: its plate, its department, its day."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from fleetfuel.records.values import BLANKS, EAST_AFRICA, read_instants
from fleetfuel.rules.book import Rules

FILL: Final = ("plate", "department", "day")

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True, kw_only=True)
class FillNames:
    """What the feed calls the fields that say which fill a record is of."""

    plate: tuple[str, ...]
    """The first that holds something counts, as for the other two."""
    department: tuple[str, ...]
    day: tuple[str, ...]
    zone: ZoneInfo
    """The zone of times without an offset."""


def fill_names(rules: Rules, zone: ZoneInfo) -> FillNames:
    """The names that the rules have for these fields."""
    fields = rules.fields
    return FillNames(
        plate=tuple(fields["car"]), department=tuple(fields["department"]), day=tuple(fields["filled_at"]), zone=zone
    )


def read_fills(texts: pl.Series, names: FillNames) -> pl.DataFrame:
    """Records as JSON text → `plate`, `department` (text as reported) and `day` (date in East Africa), one row each.

    Null if a record says none, or is no object.
    """
    reported = _read_all(texts, names)
    if reported is None:
        rows = [_read(text, names) for text in texts]
        reported = pl.DataFrame(rows, schema=dict.fromkeys(FILL, pl.String), orient="row")
    day = read_instants(reported["day"], names.zone, feed=names.zone).dt.convert_time_zone(EAST_AFRICA.key).dt.date()
    return reported.with_columns(day.alias("day"))


def _read_all(texts: pl.Series, names: FillNames) -> pl.DataFrame | None:
    """All at once, as texts; None if Polars might read one of them differently from jsonb."""
    aliases = [*names.plate, *names.department, *names.day]
    of = texts.alias("text").to_frame()
    repeated = "|".join(rf'"{name}"\s*:.*"{name}"\s*:' for name in map(re.escape, aliases))
    text = pl.col("text").str
    is_odd = text.contains(r"[\n\r]|\\u00") | text.contains(f"(?s){repeated}") | ~text.starts_with("{")
    if texts.is_empty() or of.select(is_odd.fill_null(value=True).any()).item():
        return None
    try:
        frame = pl.read_ndjson("\n".join(texts).encode(), schema=dict.fromkeys(aliases, pl.String))
    except pl.exceptions.PolarsError:
        return None
    if frame.height != len(texts):
        return None
    return frame.select(
        pl.coalesce(_held(name) for name in each).alias(column)
        for column, each in zip(FILL, (names.plate, names.department, names.day), strict=True)
    )


def _held(name: str) -> pl.Expr:
    """A text or a number; lists, objects and truth values are no plate."""
    text = pl.col(name).str.strip_chars(BLANKS)
    return pl.when((text != "") & ~text.str.contains(r"^(?:[\[{]|true$|false$)")).then(text)


def _read(text: str | None, names: FillNames) -> tuple[str | None, ...]:
    try:
        fields = _object.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):  # somebody edited raw: it is no object, or nested too deep
        return (None,) * len(FILL)
    return tuple(_first(fields, each) for each in (names.plate, names.department, names.day))


def _first(fields: dict[str, msgspec.Raw], names: Sequence[str]) -> str | None:
    for name in names:
        value = bytes(fields.get(name, b"null"))
        if value[:1] == b'"' or value[:1] in b"-0123456789":
            said = str(msgspec.json.decode(value)) if value[:1] == b'"' else value.decode()
            if said.strip(BLANKS):
                return said.strip(BLANKS)
    return None
