"""Pure: how an export names its list of records, and what it says of itself, in its metadata and next to its list."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from fleetfuel.records.json_text import DIGITS, json_value

LIST_KEYS: Final = ("records", "rows", "data", "items", "changes")
COUNT_KEYS: Final = (
    *("record_count", "recordCount", "total", "count", "total_count", "totalCount"),
    *("total_records", "totalRecords", "row_count", "rowCount"),
)
EXPORT_TIME_KEYS: Final = ("exported_at", "generated_at", "exportedAt", "generatedAt")

_PLAIN: Final = re.compile(r"([0-9]{1,18})(?:\.0{1,2})?")
"""`1.000` is not read: some mean a thousand by it, others one."""
_GROUPED: Final = re.compile(r"([0-9]{1,3}(?:[, _'\u00a0\u202f][0-9]{3}){1,5})(?:\.0{1,2})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """How many records an export announces."""

    counts: tuple[int, ...]
    """Each number that it gives, once, in the order of `COUNT_KEYS`."""
    unclear: tuple[str, ...]
    """Names of counts that are no numbers of records."""


def is_list_key(token: bytes) -> bool:
    """Whether a token of JSON is a name of the list."""
    return token.strip(b'"').decode("utf-8", "replace") in LIST_KEYS


def read_value(text: bytes | memoryview) -> object:
    """A JSON value; NaN, bytes that are not UTF-8 and numbers of thousands of digits are allowed. None if it cannot be
    read even then."""
    try:
        return json_value.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        loose = bytes(text).decode("utf-8", "replace")
        return json.loads(loose, parse_float=str, parse_int=_whole, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def read_object(text: bytes | memoryview) -> Mapping[str, object]:
    """The fields of a JSON object; empty if the text is no object."""
    said = read_value(text)
    return said if isinstance(said, dict) else {}


def around_list(said: Mapping[str, object]) -> Mapping[str, object]:
    """What an envelope says next to its list and its metadata."""
    return {name: value for name, value in said.items() if name not in LIST_KEYS and name != "metadata"}


def announced(*said: Mapping[str, object]) -> Announced:
    """How many records metadata, and what is next to the list, announce."""
    given = [(name, part[name]) for name in COUNT_KEYS for part in said if part.get(name) not in (None, "")]
    counts = [(name, _count(value)) for name, value in given]
    return Announced(
        counts=tuple(dict.fromkeys(count for _, count in counts if count is not None)),
        unclear=tuple(dict.fromkeys(name for name, count in counts if count is None)),
    )


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):  # fractions are read as texts
        return None
    written = str(value).strip()
    found = _PLAIN.fullmatch(written) or _GROUPED.fullmatch(written)
    return int(re.sub(r"\D", "", found[1])) if found else None


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= DIGITS else digits
