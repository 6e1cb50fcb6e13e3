"""Pure: which texts PostgreSQL's jsonb takes. What it would refuse is found here: one record never fails a batch."""

from __future__ import annotations

import decimal
import json
import re
from collections.abc import Sequence
from typing import Final

import msgspec
import polars as pl
import pyarrow as pa

json_value: msgspec.json.Decoder[object] = msgspec.json.Decoder(float_hook=str)  # 1e400 is a number to jsonb

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NUMBER: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)', re.DOTALL)
DEEPEST: Final = 500
"""Brackets open at once: far beyond any record, far below what the database refuses."""


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
        | text.str.contains(r"[0-9][eE][+-]?[0-9]{4}")
        | (text.str.len_bytes() > LONG)
        | (text.str.count_matches(r"[\[{]") > DEEPEST)
        | recovered
    )
    suspects = suspect.to_series().arg_true()
    return {row: why for row in suspects if (why := _why(texts[row], is_recovered=recovered[row]))}


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


def _depth(text: bytes) -> int:
    deepest = depth = 0
    for token in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text, re.DOTALL):
        if token[0] in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in (b"]", b"}"):
            depth -= 1
    return deepest


def _numbers_fit(text: bytes) -> bool:
    """Whether each number fits `numeric`: 131,072 digits before the point, 16,383 after it."""
    for found in _NUMBER.finditer(text):
        if found[1] is None:
            continue
        try:
            value = decimal.Decimal(found[1].decode())
        except decimal.InvalidOperation:  # an exponent of twenty digits
            return False
        exponent = value.as_tuple().exponent
        if value.adjusted() >= 131_072 or (isinstance(exponent, int) and exponent < -16_383):
            return False
    return True


def reads_loosely(text: bytes) -> bool:
    """Whether it is JSON to a reader that takes half a surrogate pair, NaN and bytes that are no UTF-8."""
    try:
        json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    return True
