"""Pure: change messages around records (`{"op": "update", "id": 7, "row": {…}}`): what they say and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from fleetfuel.records.export import spelled
from fleetfuel.records.json_text import as_text, json_fields

OPERATION_KEYS: Final = ("op", "operation", "action")
CARRIERS: Final = ("row", "data", "record", "after", "before")
UPSERTS: Final = frozenset(
    {"insert", "update", "upsert", "create", "inserted", "updated", "upserted", "created", "replace", "replaced",
     "modify", "modified", "add", "added", "read", "c", "u", "r", "i"}
)  # fmt: skip
DELETES: Final = frozenset(
    {"delete", "deleted", "remove", "removed", "destroy", "destroyed", "softdelete", "softdeleted", "d", "del"}
)
"""Operations, as `spelled` writes them."""
ABOUT_MESSAGE: Final = frozenset(
    {"id", *OPERATION_KEYS, *CARRIERS, "updated_at", "timestamp", "ts", "ts_ms", "time", "at", "table", "schema"}
)
"""Fields that say nothing of a record: with an operation that nobody knows, they are no record to store."""

_OPERATION_NAMES: Final = [f'"{key}"'.encode() for key in OPERATION_KEYS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A change message around a record: `{"op": "update", "id": 7, "row": {…}}`."""

    text: bytes
    """The record's own text; the message's if it carries no record."""
    id: str | None
    """The id the message names outside the record."""
    is_delete: bool
    carries_record: bool
    """Whether `text` is the record as it is now, rather than the message alone or the record as it was."""
    fault: tuple[str, str] | None = None
    """Rule and reason of its rejection, if nothing can be done with the message."""


def find_messages(texts: Mapping[int, bytes]) -> Mapping[int, Message]:
    """Row → its change message, for the rows that are one."""
    suspects = {row: text for row, text in texts.items() if any(key in text for key in _OPERATION_NAMES)}
    return {row: message for row, text in suspects.items() if (message := read_message(text)) is not None}


def read_message(text: bytes) -> Message | None:
    """The change message that a text is; None if it is a plain record."""
    try:
        fields = json_fields.decode(text)
        operation = next((msgspec.json.decode(fields[key]) for key in OPERATION_KEYS if key in fields), None)
    except msgspec.DecodeError:
        return None
    operation = spelled(operation) if isinstance(operation, str) else ""
    carriers: tuple[str, ...]
    if operation in DELETES:
        carriers = CARRIERS
    elif operation in UPSERTS:
        carriers = ("after", "row", "data", "record")
    else:
        carries = any(bytes(fields.get(key, b""))[:1] == b"{" for key in CARRIERS)
        if not carries and not (fields.keys() <= ABOUT_MESSAGE and fields.keys() & {*OPERATION_KEYS}):
            return None
        fault = "operation_unknown", "the message around the record names an operation that nobody agreed on"
        return Message(text=text, id=None, is_delete=False, carries_record=False, fault=fault)
    carrier = next((key for key in carriers if bytes(fields.get(key, b""))[:1] == b"{"), None)
    inner = bytes(fields[carrier]) if carrier else None
    named = bytes(fields.get("id", b"null"))
    if inner is None and operation in UPSERTS:
        if "id" in fields and not fields.keys() <= ABOUT_MESSAGE:
            inner = text  # a plain row with its operation next to its fields
        else:
            fault = "record_missing", "the message announces a record and holds none"
            return Message(text=text, id=None, is_delete=False, carries_record=False, fault=fault)
    return Message(
        text=inner or text,
        id=as_text(named),
        is_delete=operation in DELETES,
        carries_record=carrier not in (None, "before"),
    )
