"""Pure: whether a snapshot is complete, by what it says of itself: its metadata, its envelope, its markers, its count.

A snapshot that is not complete is read like a change file: it makes no row absent, and does not move the mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

import msgspec

from fleetfuel.records.export import everything, spelled
from fleetfuel.records.json_text import json_fields, json_value

MARKER_NAMES: Final = frozenset(
    {"success", "message", "error", "status", "ok", "code", "description", "stack", "timestamp"}
)
"""Fields of a marker: an element that is no record, in which the exporter says how the export went. As `spelled`
writes them, like all names here."""
ERROR_NAMES: Final = frozenset(
    {"error", "errors", "stack", "statuscode", "httpcode", "httpstatus", "errorcode", "errormessage",
     "errordescription", "errno"}
)  # fmt: skip
"""Fields that only an error has: an element with one of them may have the following, too, and is no record."""
AROUND_ERRORS: Final = frozenset(
    {"name", "type", "title", "detail", "details", "reason", "cause", "hint", "context", "path", "method", "url",
     "instance", "requestid", "traceid", "node", "json", "data", "time"}
)  # fmt: skip

MORE_FOLLOWS: Final = (
    *("hasmore", "hasnext", "hasnextpage", "morefollows", "truncated", "istruncated", "partial", "ispartial"),
    *("incomplete", "isincomplete", "limitreached", "aborted", "timedout"),
)
"""Fields that are true of a part."""
IS_WHOLE: Final = ("complete", "iscomplete", "success", "ok", "islast", "islastpage")
"""Fields that are false of a part."""
NEXT: Final = (
    *("next", "nextpage", "nextcursor", "nexttoken", "nextpagetoken", "nextlink", "nexturl", "odatanextlink"),
    *("continuationtoken", "lastevaluatedkey"),
)
"""Fields that name where the rest is."""
FAILURES: Final = ("error", "errors", "errorcount", "errormessage", "failed", "failures")
"""Fields that hold an error, or how many there were."""
PAGE: Final = ("page", "currentpage", "pagenumber")
PAGES: Final = ("pages", "totalpages", "pagecount", "lastpage")
STATUS: Final = ("status", "state", "result", "outcome")
CODES: Final = ("code", "status", "statuscode", "httpcode", "httpstatus")
FAILED: Final = frozenset(
    {"partial", "partialsuccess", "incomplete", "truncated", "error", "errors", "failed", "failure", "aborted",
     "cancelled", "canceled", "timeout", "timedout", "interrupted", "crashed", "stopped", "inprogress", "running",
     "pending", "processing", "completedwitherrors"}
)  # fmt: skip
"""What `status` says if the export did not finish."""
SUCCEEDED: Final = frozenset({"ok", "success", "succeeded", "done", "complete", "completed", "finished"})
PARTIAL_CONTENT: Final = 206
ERRORS: Final = range(400, 600)
"""A `code` or `status` that is an error, as in HTTP."""


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
    given = [(name, spelling, value) for name, spelling, value, _ in everything(said)]
    return next((_shown(name, value) for name, spelling, value in given if _is_of_part(spelling, value)), None)


def _is_of_part(spelling: str, value: object) -> bool:
    """Whether a field says that the file is a part, or that its export failed."""
    code = _number(value) or 0
    return (
        (spelling in MORE_FOLLOWS and not (_is_nothing(value) or _is_false(value)))
        or (spelling in IS_WHOLE and _is_false(value))
        or (spelling in (*NEXT, *FAILURES) and not _is_nothing(value))
        or (spelling in STATUS and (value is False or (isinstance(value, str) and spelled(value) in FAILED)))
        or (spelling in CODES and (code == PARTIAL_CONTENT or code in ERRORS))
        or (spelling in PAGE and _is_one_of_several(value))
        or (spelling in PAGES and code > 1)
    )


def is_marker(text: bytes) -> bool:
    """Whether a text is `{}`, or an object in which the exporter says how the export went."""
    try:
        return names_marker(json_fields.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def names_marker(fields: Iterable[str]) -> bool:
    """Whether an object with these fields is a marker."""
    names = set(map(spelled, fields))
    return names <= MARKER_NAMES or bool(names & ERROR_NAMES and names <= MARKER_NAMES | ERROR_NAMES | AROUND_ERRORS)


def read_marker(text: bytes) -> Marker:
    """What a marker says; an error in any of its fields makes it `ERROR`."""
    try:
        said = json_value.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Marker.OTHER
    if not isinstance(said, Mapping):
        return Marker.OTHER
    given = {spelling: value for _, spelling, value, _ in everything(said)}
    codes = [_number(given.get(name)) or 0 for name in CODES]
    if (
        shows_partial(said)
        or max(codes) >= ERRORS.start
        or not all(_is_nothing(given.get(name)) for name in ("stack", "errno", "errorcode"))
    ):
        return Marker.ERROR
    says_success = any(isinstance(value := given.get(name), str) and spelled(value) in SUCCEEDED for name in STATUS)
    return (
        Marker.SUCCESS if says_success or any(_is_true(given.get(name)) for name in ("success", "ok")) else Marker.OTHER
    )


def fit_count(declared: int | None, elements: int, markers: Iterable[Marker]) -> CountFit:
    """Compare an announced number with `elements`, of which `markers` are no records. Exporters count either way."""
    kinds = list(markers)
    if declared in (None, elements - len(kinds)):
        return CountFit.FITS
    if declared != elements:
        return CountFit.DIFFERS
    return CountFit.FITS if all(kind is Marker.SUCCESS for kind in kinds) else CountFit.BY_MARKERS


def _is_one_of_several(value: object) -> bool:
    of = re.search(r"([0-9]{1,9})\s*(?:of|/)\s*([0-9]{1,9})", value) if isinstance(value, str) else None
    return (of is not None and int(of[2]) > 1) or (_number(value) or 0) > 1


def _shown(name: str, value: object) -> str:
    return f"{name}: {msgspec.json.encode(value).decode()[:60]}" if isinstance(value, str | int | bool) else name


def _is_true(value: object) -> bool:
    return value is True or value == 1 or (isinstance(value, str) and value.strip().lower() in ("true", "yes", "1"))


def _is_false(value: object) -> bool:
    return (
        value is False
        or value == 0
        or (isinstance(value, str) and value.strip().lower() in ("false", "no", "0", "off", "none", "null"))
    )


def _is_nothing(value: object) -> bool:
    return value in (None, False, "", 0) or value in ([], {}) or (isinstance(value, str) and not value.strip())


def _number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if re.fullmatch(r"\s*[0-9]{1,9}\s*", str(value)) else None
