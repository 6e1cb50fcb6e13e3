"""Pure: how an export names its list of records, and what its metadata announces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from fleetfuel.records.json_text import json_value

LIST_KEYS: Final = ("records", "rows", "data", "items", "changes")
COUNT_KEYS: Final = ("record_count", "total", "count")


def is_list_key(token: bytes) -> bool:
    """Whether a token of JSON is a name of the list."""
    return token.strip(b'"').decode("utf-8", "replace") in LIST_KEYS


def read_metadata(text: bytes) -> Mapping[str, object]:
    """Metadata as values; nothing if it is no object."""
    try:
        said = json_value.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if re.fullmatch(r"\s*[0-9]{1,18}\s*", str(value)) else None


def announced(said: Mapping[str, object]) -> int | None:
    """How many records the metadata announces."""
    return next((count for name in COUNT_KEYS if (count := _count(said.get(name))) is not None), None)
