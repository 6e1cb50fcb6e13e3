"""Pure: which texts of records need care, and why: the one table of reasons.

Nearly all need none. They have the same shape as the records around them: the same fields in the same order, each once,
and only texts, numbers that a float holds, true, false and null. Every reader of JSON reads such a text as PostgreSQL
does. `REASONS` has the signs of the few others. A reason with a proof is why jsonb would refuse a text: the record is
rejected, so that it never fails a batch. A reason without a proof is why Polars may read a text differently from jsonb:
the text is spelled out first.
"""

from __future__ import annotations

import decimal
import functools
import json
import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Final

import msgspec
import polars as pl
import pyarrow as pa

from fleetfuel.records.json_text import DEEPEST, decodes, depth, is_utf8, json_fields, numbers, width

SPREAD: Final = 1_000_000
"""Characters that the numbers of a record may add when jsonb writes them out: 1e131000 adds 130,994. A record that adds
more could be stored, but hardly be read again."""

SPREAD_TOGETHER: Final = 32 << 20
"""The same for all records that are read at a time."""

LONG: Final = 10_000
"""Only a record of more bytes than this can hold a number with too many digits and no exponent."""

Why = tuple[str, str]
"""Code and reason of a rejection."""

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


# --- proofs: bytes → whether it is so -------------------------------------------------------------------------------


def _holds_nul(text: bytes) -> bool:
    return _NUL.search(text) is not None


def _is_too_deep(text: bytes) -> bool:
    return depth(text) > DEEPEST


def _has_lone_surrogate(text: bytes) -> bool:
    if b"\\u" not in text or decodes(text):
        return False
    try:
        json.dumps(json.loads(text, parse_int=str), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _has_unfit_number(text: bytes) -> bool:
    """Whether a number does not fit `numeric`: 131,072 digits before the point, 16,383 after it."""
    for number in numbers(text):
        try:
            value = decimal.Decimal(number)
        except decimal.InvalidOperation:  # an exponent of twenty digits
            return True
        exponent = value.as_tuple().exponent
        if value.adjusted() >= 131_072 or (isinstance(exponent, int) and exponent < -16_383):
            return True
    return False


# --- the table ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a text needs care."""

    code: str
    """The rule of a rejection; else a word for the sign."""
    sign: pl.Expr
    """A cheap test, true for every text to which the reason applies; over the columns `text` (null if it is no UTF-8)
    and `is_recovered`."""
    proof: Callable[[bytes], bool] | None = None
    """Whether the reason applies; None if the text is stored as it is, and only read with care."""
    words: str = ""
    """The reason as it is reported."""


_text: Final = pl.col("text").str
_escape: Final = _text.contains("\\u", literal=True)

REASONS: Final = (
    Reason(
        code="not_an_object",
        sign=~_text.starts_with("{"),
        proof=lambda text: text[:1] != b"{",
        words="the element is not an object, so it is no record",
    ),
    Reason(
        code="invalid_utf8",
        sign=pl.col("text").is_null(),
        proof=lambda text: not is_utf8(text),
        words="the text is not UTF-8",
    ),
    Reason(
        code="nul_character",
        sign=_escape,
        proof=_holds_nul,
        words="the text holds \\u0000, which PostgreSQL cannot store",
    ),
    Reason(
        code="nested_too_deep",
        sign=_text.count_matches(r"[\[{]") > DEEPEST,
        proof=_is_too_deep,
        words=f"brackets are nested deeper than {DEEPEST}",
    ),
    Reason(
        code="lone_surrogate",
        sign=_escape,
        proof=_has_lone_surrogate,
        words="the text holds half a surrogate pair, which is no character",
    ),
    Reason(
        code="number_out_of_range",
        sign=_text.contains(r"[0-9][eE][+-]?[0-9]{3}") | (_text.len_bytes() > LONG),
        proof=_has_unfit_number,
        words="a number is beyond what PostgreSQL can store",
    ),
    Reason(
        code="broken_json",
        sign=_escape | pl.col("is_recovered"),
        proof=lambda text: not decodes(text),
        words="the record's JSON is broken; its neighbours are not",
    ),
    # One cheap sign each: together in one pattern they would cost more.
    Reason(code="digits that a float has not", sign=_text.contains(r'"\s*:\s*-?[0-9][0-9.]{15}')),
    Reason(code="an exponent", sign=_text.contains(r"[0-9][eE][+-]?[0-9]")),
    Reason(code="a list", sign=_text.contains("[", literal=True)),
    Reason(code="an object within", sign=_text.count_matches("{", literal=True) > 1),
    Reason(code="an escaped key", sign=_text.contains(r"\u00", literal=True)),
    Reason(code="a line feed between tokens", sign=_text.contains("\n", literal=True)),  # a line would end there
    Reason(code="a carriage return between tokens", sign=_text.contains("\r", literal=True)),
)


def _repeats(names: Sequence[str]) -> Reason:
    """jsonb keeps the last of repeated keys, Polars the first."""
    return Reason(
        code="a repeated key",
        sign=pl.any_horizontal(_text.count_matches(f'"{name}"', literal=True) > 1 for name in names),
    )


def find_rejected(texts: Sequence[bytes], strings: pl.Series, recovered: pl.Series) -> dict[int, Why]:
    """Row → why, for each text that jsonb would refuse or that is no object. `strings`: `as_strings`."""
    refusing = [reason for reason in REASONS if reason.proof]
    signs = pl.DataFrame({"text": strings, "is_recovered": recovered}).select(
        reason.sign.fill_null(value=True).alias(reason.code) for reason in refusing
    )
    found: dict[int, Why] = {}
    spread = 0
    for row in signs.select(pl.any_horizontal(pl.all())).to_series().arg_true():
        text, seen = texts[row], signs.row(row, named=True)
        why = next(
            ((each.code, each.words) for each in refusing if each.proof and seen[each.code] and each.proof(text)), None
        )
        if why is None:
            added = _spread(text)
            if added > SPREAD or spread + added > SPREAD_TOGETHER:
                characters = f"{added + len(text):,} characters"
                why = ("number_out_of_range", f"its numbers would take {characters} written out")
            else:
                spread += added
        if why:
            found[row] = why
    return found


def reads_otherwise(strings: pl.Series, names: Sequence[str]) -> pl.Series:
    """Whether Polars may read each text otherwise than jsonb, or not at all. `names`: the fields that are read."""
    signs = [reason.sign for reason in (*REASONS, _repeats(names)) if not reason.proof]
    return strings.to_frame("text").select(functools.reduce(pl.Expr.or_, signs)).to_series()


def is_storable(text: bytes) -> bool:
    """Whether jsonb takes this text, whatever JSON value it is."""
    return not any(reason.proof(text) for reason in REASONS if reason.proof and reason.code != "not_an_object")


def as_strings(texts: pa.Array) -> pl.Series:
    """Texts (large binary) as strings; null if one is not UTF-8."""
    found = pl.Series(texts, dtype=pl.Binary)
    try:
        return found.cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series([text.decode() if is_utf8(text) else None for text in found], dtype=pl.String)


def _spread(text: bytes) -> int:
    """Characters that the numbers of a record, all of which fit, take more if they are written out."""
    if not re.search(rb"[0-9][eE]", text):
        return 0
    return sum(max(0, width(number) - len(number)) for number in numbers(text))


# --- the shapes that need none --------------------------------------------------------------------------------------

TRIES: Final = 4
"""At most so many records give the shape to look for: an export writes one or two shapes."""

_NAME: Final = re.compile(r"[A-Za-z0-9_ -]+")
_VALUE: Final = r'(?:"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*"|-?[0-9][0-9.]{0,14}|null|true|false)'


def find_plain(texts: pl.Series, names: Set[str]) -> pl.Series:
    """Whether each text (JSON objects, or null) has one of a few common shapes, with fields in `names` only."""
    is_plain = pl.repeat(value=False, n=len(texts), eager=True)
    left = texts.is_not_null().arg_true()
    misses = 0
    for _ in range(TRIES):
        if left.is_empty():
            break
        shape = _shape(texts[left[misses * len(left) // TRIES]], names)
        if shape is None:
            misses += 1
            continue
        found = (texts if len(left) == len(texts) else texts.gather(left)).str.contains(shape)
        is_plain = found if len(left) == len(texts) else is_plain.scatter(left.filter(found), values=True)
        left = left.filter(~found)
    return is_plain


def _shape(text: str, names: Set[str]) -> str | None:
    """The pattern of all plain records with the same fields as this one; None if it has other fields than `names`."""
    try:
        fields = json_fields.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return _pattern(tuple(fields)) if fields and fields.keys() <= names else None


@functools.cache
def _pattern(names: tuple[str, ...]) -> str | None:
    if not all(map(_NAME.fullmatch, names)):
        return None
    pairs = " *, *".join(f'"{re.escape(name)}" *: *{_VALUE}' for name in names)
    return rf"^\{{ *{pairs} *\}}$"
