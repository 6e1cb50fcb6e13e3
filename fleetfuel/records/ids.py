"""Pure: the ids of records that cannot be read as rows. Those rows are in the feed, so they are not absent."""

from __future__ import annotations

import re
from typing import Final

from fleetfuel.records.json_text import TOKEN, reads_loosely, without_escapes

_ID: Final = re.compile(rb'"[iI][dD]"\s*:\s*(?:"\s*)?([+-]?[0-9]{1,19})(?![0-9])')
_WHOLE: Final = re.compile(rb'"?\s*([+-]?[0-9]{1,19})(?:\.0*)?\s*"?')


def legible_ids(text: bytes) -> list[int]:
    """The ids that can be read in a record, whatever else is wrong with it.

    If there are ids at several depths (its own, its vehicle's; that of a record in a message), the outermost count. If
    brackets and quotes cannot be trusted, every id counts.
    """
    if not reads_loosely(text):
        return [key for whole in _ID.findall(text) if -(2**63) <= (key := int(whole)) < 2**63]
    found: dict[int, list[int]] = {}
    depth = 0
    before: tuple[bytes, bytes] = (b"", b"")
    for match in TOKEN.finditer(without_escapes(text)):
        token = match[0]
        depth += (token in (b"{", b"[")) - (token in (b"}", b"]"))
        if before[1] == b":" and before[0].lower() == b'"id"' and (whole := _WHOLE.fullmatch(token)):
            key = int(whole[1])
            if -(2**63) <= key < 2**63:
                found.setdefault(depth, []).append(key)
        before = (before[1], token)
    return found[min(found)] if found else []


def why_no_id(given: str | None) -> tuple[str, str]:
    """Code and reason for a record without a usable id; `given` is what it has in place of one."""
    if given is None:
        return "id_missing", "the record has no id"
    if re.fullmatch(r"\s*[+-]?[0-9]+(\.0*)?\s*|-?[1-9][0-9]*…", given):  # …: `written_out` cut a long number
        return "id_out_of_range", "the id is beyond bigint"
    return "id_unusable", "the id is not a whole number"
