"""Pure: what people and exporters write → instants and numbers. No verdict: what cannot be read is null.

`fuel.read_number` and `fuel.read_time` in the database read the same texts the same way (a test holds the two
together); the database's reading is the one that is stored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

EAST_AFRICA: Final = ZoneInfo("Africa/Nairobi")
BLANKS: Final = " \t\n\r"

TEXT_MOST: Final = 2000
"""Characters of a field that are read, here and in the database; `raw` keeps them all."""

NUMBER_MOST: Final = 40
"""A number of more characters, separators of thousands left out, is not read: nobody meant it."""

UTC_ZONE: Final = ZoneInfo("UTC")
EAT_OFFSET: Final = timedelta(hours=3)

_USUAL_DAY = r"(?:20[0-9]{2}|1970)-[01][0-9]-[0-3][0-9]"
_DAY = r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
_CLOCK = r"([01][0-9]|2[0-3])"
_TIME: Final = (
    rf"^{_DAY}(?:-{_CLOCK}-([0-5][0-9])"
    rf"|[T ]{_CLOCK}:([0-5][0-9])(?::([0-5][0-9])(?:[.,]([0-9]{{1,9}}))?)?"
    r"(?: ?(Z|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?))?)?$"
)


def instant(text: pl.Expr, zone: ZoneInfo, *, feed: ZoneInfo = EAST_AFRICA, keeps_unknown: bool = False) -> pl.Expr:
    """The instant a text names, UTC; null if it names none. `fuel.read_time` in the database reads the same.

    Reading order: `YYYY-MM-DD-HH-MM`, as the producer writes it, in the zone of the feed; `Z` or an offset as written;
    without either in `zone`; a date alone is midnight in the zone of the feed. 1970-01-01 00:00 UTC is how "unknown" is
    written: null, unless a check wants to see it.
    """
    parts = text.str.strip_chars(BLANKS).str.to_uppercase().str.extract_groups(_TIME).struct
    day, dashed, offset = parts.field("1"), parts.field("2").is_not_null(), parts.field("8")
    has_clock = dashed | parts.field("4").is_not_null()
    clock = pl.concat_str(
        day, pl.lit(" "),
        pl.coalesce(parts.field("2"), parts.field("4"), pl.lit("00")), pl.lit(":"),
        pl.coalesce(parts.field("3"), parts.field("5"), pl.lit("00")), pl.lit(":"),
        parts.field("6").fill_null("00"),
    ).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)  # fmt: skip
    fraction = (pl.lit("0.") + parts.field("7").fill_null("0")).cast(pl.Float64) * 1_000_000
    clock = clock + pl.duration(microseconds=fraction.round(mode="half_to_even").cast(pl.Int64), time_unit="us")
    minutes = (
        offset.str.slice(1, 2).cast(pl.Int32, strict=False).fill_null(0) * 60
        + offset.str.slice(3).str.strip_chars(":").cast(pl.Int32, strict=False).fill_null(0)
    ) * pl.when(offset.str.starts_with("-")).then(-1).otherwise(1)
    as_written = clock.dt.replace_time_zone("UTC") - pl.duration(minutes=minutes)
    found = (
        pl.when(dashed | ~has_clock)
        .then(_in_zone(clock, feed))
        .when(offset.is_null())
        .then(_in_zone(clock, zone))
        .otherwise(as_written)
    )
    is_one = (found >= _FIRST) & (found < _LAST) & (day.str.slice(0, 4) != "0000")
    return pl.when(is_one if keeps_unknown else is_one & (found != _EPOCH)).then(found)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Within these, a year has four digits in every zone."""


def _in_zone(clock: pl.Expr, zone: ZoneInfo) -> pl.Expr:
    """A local time as an instant. A time that occurs twice (clocks go back) is the later one; a time that is skipped
    (they go forward) is read as if they had not."""
    if zone.key == "UTC":
        return clock.dt.replace_time_zone("UTC")
    hour = pl.duration(hours=1)
    plain = clock.dt.replace_time_zone(zone.key, ambiguous="latest", non_existent="null")
    skipped = (clock - hour).dt.replace_time_zone(zone.key, ambiguous="latest", non_existent="null") + hour
    return pl.coalesce(plain, skipped).dt.convert_time_zone("UTC")


_CURRENCY: Final = (
    r"^[ \t\n\r\f\v]*(?:(?:KSHS?|KES)[.:]?)?[ \t\n\r\f\v]*|[ \t\n\r\f\v]*(?:/=|/-|(?:KSHS?|KES)\.?)?[ \t\n\r\f\v]*$"
)


def number(text: pl.Expr) -> pl.Expr:
    """The number a text holds, with or without commas or spaces between thousands, and `KSH` or `/=` around it. Null if
    it is no number, or one that nobody can mean: longer than 40 characters, 1e18 or more, or below 1e-9.
    `fuel.read_number` in the database reads the same."""
    plain = text.str.strip_chars(BLANKS)
    plain = pl.when(plain.str.len_chars() <= 200).then(plain)
    bare = plain.str.normalize("NFKC").str.to_uppercase().str.replace_all(_CURRENCY, "")
    bare = (
        pl.when(bare.str.contains(r"^[+-]?[0-9]{1,3}(?:(?:,[0-9]{3})+|(?: [0-9]{3})+)(?:\.[0-9]*)?$"))
        .then(bare.str.replace_all("[, ]", ""))
        .otherwise(bare)
    )
    is_number = bare.str.contains(r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:E[+-]?[0-9]{1,2})?$") & (
        bare.str.len_chars() <= NUMBER_MOST
    )
    read = pl.when(is_number).then(bare.str.strip_prefix("+")).cast(pl.Float64, strict=False)
    return pl.when((read.abs() < 1e18) & ((read.abs() >= 1e-9) | (read == 0))).then(read)


def read_numbers(texts: pl.Series) -> pl.Series:
    """`number` of a column; plain digits, as most texts are, are read in a quicker way."""
    text = pl.col(texts.name)
    plain = pl.when(text.str.contains(r"^[0-9]{1,15}(\.[0-9]{1,6})?$")).then(text)
    bare = text.str.strip_chars(BLANKS)
    parted = pl.when(bare.str.contains(r"^[0-9]{1,3}(,[0-9]{3}){0,4}(\.[0-9]{1,6})?$")).then(
        bare.str.replace_all(",", "", literal=True)
    )
    quick = [each.cast(pl.Float64, strict=False) for each in (plain, parted)]
    return _read(texts, [*quick, number(text)], pl.Float64())


def read_instants(
    texts: pl.Series, zone: ZoneInfo, *, feed: ZoneInfo = EAST_AFRICA, keeps_unknown: bool = False
) -> pl.Series:
    """`instant` of a column; the shapes that most texts have are read in a quicker way."""
    text = pl.col(texts.name)
    quick = [
        _usual(text, rf"T{_CLOCK}:[0-5][0-9]:[0-5][0-9](\.[0-9]{{3}})?Z", "T%H:%M:%S%.fZ"),
    ]
    if feed == EAST_AFRICA:
        quick.insert(0, _usual(text, rf"-{_CLOCK}-[0-5][0-9]", "-%H-%M") - EAT_OFFSET)
    if zone == UTC_ZONE:
        quick.insert(0, _usual(text, rf" {_CLOCK}:[0-5][0-9]:[0-5][0-9]", " %H:%M:%S"))
    read = _read(texts, [*quick, instant(text, zone, feed=feed, keeps_unknown=keeps_unknown)], pl.Datetime("us", "UTC"))
    return read if keeps_unknown else read.set(read == _EPOCH, None)


def _usual(text: pl.Expr, clock: str, written: str) -> pl.Expr:
    """The instant of a text that is a usual day and a time of this pattern, in UTC; else null."""
    found = pl.when(text.str.contains(f"^{_USUAL_DAY}{clock}$")).then(text)
    return found.str.to_datetime(f"%Y-%m-%d{written}", time_unit="us", strict=False).dt.replace_time_zone("UTC")


def _read(texts: pl.Series, readings: Sequence[pl.Expr], dtype: pl.DataType) -> pl.Series:
    """Each text by the first reading that understands it; a reading gets only the texts that those before it left."""
    read = pl.repeat(None, len(texts), dtype=dtype, eager=True).alias(texts.name)
    left = texts.is_not_null().arg_true()
    for reading in readings:
        if left.is_empty():
            break
        asked = texts if len(left) == len(texts) else texts.gather(left)
        found = asked.to_frame().select(reading.alias(texts.name)).to_series()
        read = found if asked is texts else read.scatter(left, found)
        left = left.filter(found.is_null())
    return read


def integer(text: pl.Expr) -> pl.Expr:
    """The bigint a text holds (`123`, ` 123 `, `123.0`); null for a fraction, a truth value, or beyond bigint."""
    return text.str.extract(r"^\s*([+-]?[0-9]+)(?:\.0*)?\s*$", 1).str.strip_prefix("+").cast(pl.Int64, strict=False)


_USUAL_TIME: Final = re.compile(
    r"20\d\d-(?:0[1-9]|1[0-2])-(?:[01][1-9]|10|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{3})?Z"
)
"""How exporters write a time. It is read without Polars, which would be slow for a single text."""


def read_instant(value: object, zone: ZoneInfo, *, feed: ZoneInfo = EAST_AFRICA) -> datetime | None:
    """One text as an instant, read like a column of them."""
    if not isinstance(value, str):
        return None
    if _USUAL_TIME.fullmatch(value):
        return datetime.fromisoformat(value).astimezone(UTC)
    found: datetime | None = pl.select(instant(pl.lit(value), zone, feed=feed)).item()
    return found.astimezone(UTC) if found else None
