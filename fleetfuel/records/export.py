"""Pure: how an export names its list of records, and what it says of itself, in its metadata and next to its list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import msgspec

from fleetfuel.records.json_text import DIGITS, json_value

LIST_KEYS: Final = ("records", "rows", "data", "items", "changes")
COUNTS: Final = (
    *("recordcount", "recordscount", "recordtotal", "recordstotal", "totalrecords", "numrecords", "numberofrecords"),
    *("recordsexported", "exportedrecords", "rowcount", "rowscount", "totalrows", "numrows", "rowsexported"),
    *("itemcount", "totalitems", "totalelements"),
)
"""Names, as `spelled` writes them, that say of how many records the list is."""
PLAIN_COUNTS: Final = (*COUNTS, "total", "count", "totalcount", "records", "rows", "items")
"""The same where nothing else is counted: in metadata, next to the list, in what is said of a page."""
EXPORT_TIMES: Final = ("exportedat", "generatedat", "extractedat", "exporttime", "exporttimestamp")
ABOUT_PAGE: Final = frozenset({"pagination", "paging", "page", "pageinfo", "meta", "links"})
ABOUT_EXPORT: Final = frozenset({*ABOUT_PAGE, "summary", "stats", "statistics", "counts", "info", "result", "export"})
"""Names of objects, in metadata or next to the list, that speak of the export as metadata does."""

_PLAIN: Final = re.compile(r"([0-9]{1,18})(?:\.0{1,2})?")
"""`1.000` is not read: some mean a thousand by it, others one."""
_GROUPED: Final = re.compile(r"([0-9]{1,3}(?:[, _'\u00a0\u202f][0-9]{3}){1,5})(?:\.0{1,2})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """How many records an export announces."""

    counts: tuple[int, ...]
    """Each number that it gives, once, in the order of `PLAIN_COUNTS`."""
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


def spelled(name: str) -> str:
    """A name as one of several spellings: has_more, hasMore, Has-More."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def everything(said: Mapping[str, object]) -> Iterator[tuple[str, str, object, str]]:
    """What is said, one object deep: each name as it stands and as it is spelled, its value, and of what it is said
    ("" if of the whole)."""
    for name, value in said.items():
        yield name, spelled(name), value, ""
        about = spelled(name)
        if isinstance(value, dict) and about in ABOUT_EXPORT:
            yield from ((f"{name}.{inner}", spelled(inner), given, about) for inner, given in value.items())


def announced(*said: Mapping[str, object]) -> Announced:
    """How many records metadata, and what is next to the list, announce."""
    given = [
        (PLAIN_COUNTS.index(spelling), name, value)
        for part in said
        for name, spelling, value, about in everything(part)
        if spelling in (PLAIN_COUNTS if about in ABOUT_PAGE or not about else COUNTS)
        and value not in (None, "")
        and not (spelling in LIST_KEYS and _count(value) is None)
    ]
    counts = [(name, _count(value)) for _, name, value in sorted(given, key=itemgetter(0))]
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
