"""Pure: which texts PostgreSQL's jsonb takes. What it would refuse is found here: one record never fails a batch."""

from __future__ import annotations

import decimal
import itertools
import json
import re
from collections.abc import Sequence
from typing import Final

import msgspec
import polars as pl
import pyarrow as pa

json_value: msgspec.json.Decoder[object] = msgspec.json.Decoder(float_hook=str)  # 1e400 is a number to jsonb

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NUMBER: Final = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BRACKETS: Final = bytes(1 if code in b"[{" else 2 if code in b"]}" else 0 for code in range(256))
_NO_BRACKET: Final = bytes({*range(256)} - {*b"[]{}"})
DEEPEST: Final = 500
"""Brackets open at once: far beyond any record, far below what the database refuses."""


SPREAD: Final = 1_000_000
"""Characters that the numbers of a record may add where they are written out, as jsonb writes them: 1e131000 adds
130,994. What adds more could be stored, and hardly be read again."""

SPREAD_TOGETHER: Final = 32 << 20
"""The same of all records that are read at a time."""

LONG: Final = 10_000
"""Bytes from which on a record may hold a number of too many digits."""

UNREAD: Final = frozenset(
    {
        "broken_json",
        "invalid_utf8",
        "nul_character",
        "nested_too_deep",
        "lone_surrogate",
        "number_out_of_range",
        "id_ambiguous",
        "operation_unknown",
        "record_missing",
    }
)
"""Rules of the framing that refuse a record whose id may still be legible."""


def find_unstorable(texts: Sequence[bytes], strings: pl.Series, recovered: pl.Series) -> dict[int, tuple[str, str]]:
    """Row → rule and reason, for each text that jsonb would refuse or that is no object. `strings`: `as_strings`."""
    text = pl.col("text")
    suspect = pl.select(text=strings).select(
        text.is_null()
        | ~text.str.starts_with("{")
        | text.str.contains("\\u", literal=True)
        | text.str.contains(r"[0-9][eE][+-]?[0-9]{3}")
        | (text.str.len_bytes() > LONG)
        | (text.str.count_matches(r"[\[{]") > DEEPEST)
        | recovered
    )
    found: dict[int, tuple[str, str]] = {}
    spread = 0
    for row in suspect.to_series().arg_true():
        why = _why(texts[row], is_recovered=recovered[row])
        if why is None:
            added = _spread(texts[row])
            spread += added
            if added > SPREAD or spread > SPREAD_TOGETHER:
                spread -= added
                why = (
                    "number_out_of_range",
                    f"its numbers would take {added + len(texts[row]):,} characters written out",
                )
        if why:
            found[row] = why
    return found


def as_strings(texts: pa.Array) -> pl.Series:
    """Texts (large binary) as strings; null where one is not UTF-8."""
    found = pl.Series(texts, dtype=pl.Binary)
    try:
        return found.cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series([text.decode() if _is_utf8(text) else None for text in found], dtype=pl.String)


def _why(text: bytes, *, is_recovered: bool) -> tuple[str, str] | None:
    if text[:1] != b"{":
        return "not_an_object", "the element is not an object, so it is no record"
    if not _is_utf8(text):
        return "invalid_utf8", "the text is not UTF-8"
    if _NUL.search(text):
        return "nul_character", "the text holds \\u0000, which PostgreSQL cannot store"
    if _depth(text) > DEEPEST:
        return "nested_too_deep", f"brackets are nested deeper than {DEEPEST}"
    if b"\\u" in text and not decodes(text) and _has_lone_surrogate(text):
        return "lone_surrogate", "the text holds half a surrogate pair, which is no character"
    if not _numbers_fit(text):
        return "number_out_of_range", "a number is beyond what PostgreSQL can store"
    if (is_recovered or b"\\u" in text) and not decodes(text):
        return "broken_json", "the record's JSON is broken; its neighbours are not"
    return None


def _has_lone_surrogate(text: bytes) -> bool:
    try:
        json.dumps(json.loads(text, parse_int=str), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def is_storable(text: bytes) -> bool:
    """Whether jsonb takes this text."""
    return _why(b"{" + text + b"}", is_recovered=False) is None and decodes(text)


def decodes(text: bytes) -> bool:
    try:
        json_value.decode(text)
    except msgspec.ValidationError:  # JSON all the same: a whole number of thousands of digits
        return True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def without_escapes(text: bytes | memoryview) -> bytes | memoryview:
    """The text, as long as it was, with no quote in it but those around strings.

    With it a pattern of a string needs no alternatives: those cost memory for each character that they are tried at.
    """
    if not re.search(rb"\\", text):
        return text
    return bytes(text).replace(b"\\\\", b"__").replace(b'\\"', b"__")


def _outside(text: bytes) -> bytes:
    """What a text of JSON holds outside its strings."""
    return b'""'.join(bytes(without_escapes(text)).split(b'"')[::2])


def _depth(text: bytes) -> int:
    steps = _outside(text).translate(_BRACKETS, _NO_BRACKET)
    return max(itertools.accumulate((3 - 2 * step for step in steps), initial=0))


def _numbers_fit(text: bytes) -> bool:
    """Whether each number fits `numeric`: 131,072 digits before the point, 16,383 after it."""
    for found in _NUMBER.finditer(_outside(text)):
        try:
            value = decimal.Decimal(found[0].decode())
        except decimal.InvalidOperation:  # an exponent of twenty digits
            return False
        exponent = value.as_tuple().exponent
        if value.adjusted() >= 131_072 or (isinstance(exponent, int) and exponent < -16_383):
            return False
    return True


def _spread(text: bytes) -> int:
    """Characters that the numbers of a record, all of which fit, take more where they are written out."""
    if not re.search(rb"[0-9][eE]", text):
        return 0
    return sum(max(0, _width(found[0].decode()) - len(found[0])) for found in _NUMBER.finditer(_outside(text)))


def _width(number: str) -> int:
    """Characters of a number of JSON where it is written out, about."""
    value = decimal.Decimal(number)
    _, _, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    return max(value.adjusted(), 0) + 2 + max(-exponent, 0)


DIGITS: Final = 40
"""Characters of a number that is read: what takes more, written out, is not meant."""


def written_out(number: str) -> str:
    """A number of JSON as jsonb gives it, digit for digit; behind `DIGITS` characters it is cut, and read as none."""
    if len(number) <= DIGITS and _width(number) <= DIGITS:
        return format(decimal.Decimal(number), "f")
    value = decimal.Decimal(number)
    if not value and value.adjusted() >= 0:  # nought is nought, whatever its exponent
        return "0"
    digits = "".join(map(str, value.as_tuple().digits[:DIGITS]))
    whole = digits if value.adjusted() >= 0 else "0." + "0" * min(-value.adjusted() - 1, DIGITS) + digits
    return f"{'-' if value.is_signed() else ''}{whole.ljust(DIGITS, '0')[:DIGITS]}…"


def reads_loosely(text: bytes) -> bool:
    """Whether it is JSON to a reader that takes half a surrogate pair, NaN and bytes that are no UTF-8."""
    try:
        json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    return True
