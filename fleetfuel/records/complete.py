"""Pure: whether a snapshot is complete, by what it says of itself: its metadata, its envelope, its markers, its count.

A snapshot that is not complete is read like a change file: it makes no row absent, and does not move the mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

import msgspec

from fleetfuel.records.json_text import json_fields, json_value

MARKER_KEYS: Final = frozenset(
    {"success", "message", "error", "status", "ok", "code", "description", "stack", "timestamp"}
)
"""Fields of a marker: an element that is no record, in which the exporter says how the export went."""

MORE_FOLLOWS: Final = (
    *("has_more", "hasMore", "has_next", "hasNext", "truncated", "is_truncated", "isTruncated"),
    *("partial", "is_partial", "incomplete"),
)
"""Fields that are true of a part."""
IS_WHOLE: Final = ("complete", "is_complete", "success", "ok")
"""Fields that are false of a part."""
NEXT: Final = ("next", "next_page", "nextPage", "next_cursor", "nextCursor", "next_token", "continuation_token")
"""Fields that name where the rest is."""
PAGE: Final = ("page", "current_page", "page_number")
PAGES: Final = ("pages", "total_pages", "totalPages", "page_count", "pageCount", "last_page")
FAILED: Final = frozenset(
    {"partial", "incomplete", "truncated", "error", "failed", "failure", "aborted", "cancelled", "canceled", "timeout",
     "in_progress", "running"}
)  # fmt: skip
"""What `status` says if the export did not finish."""
SUCCEEDED: Final = frozenset({"ok", "success", "succeeded", "done", "complete", "completed", "finished"})
FIRST_ERROR: Final = 400
"""A `code` or `status` from this number on is an error, as in HTTP."""


class Marker(Enum):
    """What a marker says of the export."""

    SUCCESS = "success"
    ERROR = "error"
    OTHER = "other"


class CountFit(Enum):
    """How the announced number of records fits what the file holds."""

    FITS = "fits"
    BY_MARKERS = "by markers"
    """It fits only if markers are counted that do not say success: the snapshot is not complete."""
    DIFFERS = "differs"


def shows_partial(said: Mapping[str, object]) -> str | None:
    """The field that says that the file is only a part, with its value; None if none does."""
    for name in MORE_FOLLOWS:
        if _is_true(said.get(name)):
            return _shown(name, said)
    for name in IS_WHOLE:
        if name in said and _is_false(said[name]):
            return _shown(name, said)
    for name in NEXT:
        if not _is_nothing(said.get(name)):
            return _shown(name, said)
    if not _is_nothing(said.get("error")):
        return _shown("error", said)
    status = said.get("status")
    if isinstance(status, str) and status.strip().lower() in FAILED:
        return _shown("status", said)
    return _page(said)


def is_marker(text: bytes) -> bool:
    """Whether a text is `{}`, or an object with no fields but `MARKER_KEYS`."""
    try:
        return set(json_fields.decode(text)) <= MARKER_KEYS
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def read_marker(text: bytes) -> Marker:
    """What a marker says; an error in any of its fields makes it `ERROR`."""
    try:
        said = json_value.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Marker.OTHER
    if not isinstance(said, Mapping):
        return Marker.OTHER
    codes = [number for name in ("code", "status") if (number := _number(said.get(name))) is not None]
    if shows_partial(said) or not _is_nothing(said.get("stack")) or any(code >= FIRST_ERROR for code in codes):
        return Marker.ERROR
    status = said.get("status")
    says_success = isinstance(status, str) and status.strip().lower() in SUCCEEDED
    return (
        Marker.SUCCESS if says_success or any(_is_true(said.get(name)) for name in ("success", "ok")) else Marker.OTHER
    )


def fit_count(declared: int | None, elements: int, markers: Iterable[Marker]) -> CountFit:
    """Compare an announced number with `elements`, of which `markers` are no records. Exporters count either way."""
    kinds = list(markers)
    if declared in (None, elements - len(kinds)):
        return CountFit.FITS
    if declared != elements:
        return CountFit.DIFFERS
    return CountFit.FITS if all(kind is Marker.SUCCESS for kind in kinds) else CountFit.BY_MARKERS


def _page(said: Mapping[str, object]) -> str | None:
    for name in PAGE:
        value = said.get(name)
        of = re.search(r"([0-9]{1,9})\s*(?:of|/)\s*([0-9]{1,9})", value) if isinstance(value, str) else None
        if of and int(of[2]) > 1:
            return _shown(name, said)
        page = _number(value)
        if page is not None and page > 1:
            return _shown(name, said)
    return next((_shown(name, said) for name in PAGES if (_number(said.get(name)) or 0) > 1), None)


def _shown(name: str, said: Mapping[str, object]) -> str:
    value = said[name]
    return f"{name}: {msgspec.json.encode(value).decode()[:60]}" if isinstance(value, str | int | bool) else name


def _is_true(value: object) -> bool:
    return value is True or value == 1 or (isinstance(value, str) and value.strip().lower() in ("true", "yes", "1"))


def _is_false(value: object) -> bool:
    return value is False or value == 0 or (isinstance(value, str) and value.strip().lower() in ("false", "no", "0"))


def _is_nothing(value: object) -> bool:
    return value in (None, False, "", 0) or value in ([], {}) or (isinstance(value, str) and not value.strip())


def _number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if re.fullmatch(r"\s*[0-9]{1,9}\s*", str(value)) else None
