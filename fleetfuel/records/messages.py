"""Pure: change messages around records (`{"op": "update", "id": 7, "row": {…}}`): what they say and what they hold.

What makes an element a record is a field of a fill at its top, as `rules/fields.toml` names them: such an element is a
record whatever else it holds, unless an operation stands next to its fields. Without one, an element that names an
operation, or that holds an object as messages do, is a message, known or not. One that we cannot read is rejected: as a
record it would overwrite a good one with next to nothing.

| a fill's field at the top | operation      | an object within              | it is                              |
|---------------------------|----------------|-------------------------------|------------------------------------|
| whatever                  | deletes        | whatever                      | a deletion                         |
| whatever                  | writes         | a record, under a usual name  | that record                        |
| yes                       | writes         | none                          | a record, its operation next to it |
| no                        | writes         | none, or under another name   | `record_missing`                   |
| no                        | cannot be read | whatever                      | `operation_unknown`                |
| yes                       | none           | whatever                      | a record, no message               |
| no                        | none           | a record, under a usual name  | that record                        |
| no                        | none           | only what was before, or null | `record_missing`                   |
| no                        | none           | a record, under another name  | `operation_unknown`                |
| no                        | none           | none                          | a record, no message: almost empty |
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import msgspec

from fleetfuel.records.complete import is_marker
from fleetfuel.records.export import spelled
from fleetfuel.records.json_text import as_text, json_fields
from fleetfuel.rules.book import Rules
from fleetfuel.rules.fields import OF_FILL

_list = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)

OPERATION_KEYS: Final = ("op", "operation", "action")
"""Names of an operation, as `spelled` writes them, like all names here."""
OTHER_OPERATION_KEYS: Final = (
    *("type", "event", "eventtype", "eventname", "change", "changetype", "kind", "method", "verb", "dml", "crud"),
    *("optype", "operationtype", "mutation", "command", "tgop"),
)
"""Names that may mean something else: under them, only whole words are an operation."""
CARRIERS: Final = ("after", "row", "data", "record")
OTHER_CARRIERS: Final = (
    *("new", "newrow", "newrecord", "newdata", "newvalues", "newimage", "payload", "json", "body", "document"),
    *("fulldocument", "doc", "fields", "attributes", "values", "value", "item", "entity", "object"),
)
"""Names of the record as it is now, the first to be taken first."""
CARRIERS_BEFORE: Final = ("before", "old", "oldrow", "oldrecord", "olddata", "oldvalues", "oldimage", "previous")
"""Names of the record as it was."""
UPSERTS: Final = frozenset(
    {"insert", "update", "upsert", "create", "inserted", "updated", "upserted", "created", "replace", "replaced",
     "modify", "modified", "add", "added", "read", "c", "u", "r", "i"}
)  # fmt: skip
DELETES: Final = frozenset(
    {"delete", "deleted", "remove", "removed", "destroy", "destroyed", "softdelete", "softdeleted", "d", "del"}
)
"""Operations, as `spelled` writes them."""
CLEAR: Final = frozenset({"insert", "inserted", "update", "updated", "upsert", "upserted", "delete", "deleted"})
"""Operations that no fuel is called."""
ABOUT_MESSAGE: Final = frozenset(
    {"id", "updatedat", "createdat", "timestamp", "ts", "tsms", "tsus", "tsns", "time", "at", "date", "datetime",
     "table", "schema", "database", "db", "source", "stream", "topic", "partition", "offset", "key", "version",
     "sequence", "seq", "lsn", "xid", "commit", "transaction", "paireditem", "sender"}
)  # fmt: skip
"""Fields that say nothing of a record, nor of what is done with it."""
SHARED: Final = frozenset({"type", "date", "datetime", "sender"})
"""Fields of a fill that messages have, too: they make no record."""
SHORT: Final = 3
"""An operation of fewer letters is read in `OPERATION_KEYS` only."""
DEEP: Final = 3
"""Messages within messages, at most."""
LONG: Final = 60
"""A longer text is no operation, and no name of a field of a message."""

CLEAR_TYPE: Final = r'(?i)"type"\s*:\s*"[^a-z0-9"]*(?:' + "|".join(sorted(UPSERTS | DELETES)) + r')[^a-z0-9"]*"'
"""A text whose `type` may be an operation."""

_UNKNOWN: Final = "operation_unknown", "the message around the record names an operation that nobody agreed on"
_TWO: Final = "operation_unknown", "the message names two operations that contradict each other"
_AS_FUEL: Final = "operation_unknown", "the record names an operation where its fuel type should be"
_ENVELOPE: Final = "operation_unknown", "the record lies in a message of a form that nobody agreed on"
_MISSING: Final = "record_missing", "the message announces a record and holds none"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the fields of a record are called."""

    fill: Set[str]
    """Those of which one makes a record."""
    shared: Set[str]
    """Those of a fill that messages have, too."""
    marks: Set[str]
    """Those that report a deletion."""
    plain: Set[str]
    """Those that are never an operation's."""


def record_names(rules: Rules) -> Names:
    """The names that the rules know."""
    fill = frozenset(alias for field in OF_FILL for alias in rules.fields[field])
    marks = frozenset(alias for field in ("deleted_at", "is_deleted") for alias in rules.fields[field])
    plain = frozenset(alias for names in rules.fields.values() for alias in names if _part(alias) not in _OPERATIONS)
    return Names(fill=fill - SHARED, shared=fill & SHARED, marks=marks, plain=plain)


class _Part(Enum):
    """What a field is in a message, by its name."""

    OPERATION = 1
    OTHER_OPERATION = 2
    CARRIER = 3
    OTHER_CARRIER = 4
    BEFORE = 5
    ABOUT = 6
    UNKNOWN = 7


_PARTS: Final = {
    **dict.fromkeys(ABOUT_MESSAGE, _Part.ABOUT),
    **dict.fromkeys(CARRIERS_BEFORE, _Part.BEFORE),
    **dict.fromkeys(OTHER_CARRIERS, _Part.OTHER_CARRIER),
    **dict.fromkeys(CARRIERS, _Part.CARRIER),
    **dict.fromkeys(OTHER_OPERATION_KEYS, _Part.OTHER_OPERATION),
    **dict.fromkeys(OPERATION_KEYS, _Part.OPERATION),
}


_OPERATIONS: Final = (_Part.OPERATION, _Part.OTHER_OPERATION)


def _part(name: str) -> _Part:
    return _PARTS.get(_spelled(name), _Part.UNKNOWN) if len(name) <= LONG else _Part.UNKNOWN


@functools.lru_cache(maxsize=1_000)
def _spelled(word: str) -> str:
    return spelled(word)


def find_messages(texts: Mapping[int, bytes], names: Names) -> Mapping[int, Message]:
    """Row → its change message, for the rows that are one."""
    return {row: message for row, text in texts.items() if (message := read_message(text, names)) is not None}


def read_message(text: bytes, names: Names, deep: int = 0) -> Message | None:
    """The change message that a text is; None if it is a plain record, or no record at all."""
    try:
        fields = json_fields.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    is_record = not names.fill.isdisjoint(fields)
    named = [name for name in fields if name not in names.plain and _part(name) in _OPERATIONS]
    if is_record and not named:
        return None
    if not is_record and is_marker(text):
        return None
    operations = _operations({name: fields[name] for name in named}, is_record=is_record)
    if not operations:
        return None if is_record else _unnamed(text, fields, names, deep)
    if operations == {None}:
        carries = _first(fields, (*CARRIERS, *CARRIERS_BEFORE)) is not None
        return None if is_record and not carries else _faulty(text, _UNKNOWN)
    kinds = operations - {None}
    if len(kinds) > 1:
        return _faulty(text, _TWO)
    if is_record and all(_part(name) is _Part.OTHER_OPERATION for name in named) and _word(fields.get("type")) in CLEAR:
        return _faulty(text, _AS_FUEL)
    if True in kinds:
        carrier = _first(fields, (*CARRIERS, *OTHER_CARRIERS, *CARRIERS_BEFORE))
        inner = None if carrier is None else bytes(fields[carrier])
        carries = carrier is not None and _part(carrier) is not _Part.BEFORE
        return Message(text=inner or text, id=_id(fields), is_delete=True, carries_record=carries)
    return _written(text, fields, names, is_record=is_record)


def _operations(named: Mapping[str, msgspec.Raw], *, is_record: bool) -> set[bool | None]:
    """What the operations are that these fields name: True deletes, False writes, None cannot be read."""
    found: set[bool | None] = set()
    for name, value in named.items():
        word = _word(value)
        is_word = word in DELETES or word in UPSERTS
        if _part(name) is _Part.OPERATION:
            found.add(word in DELETES if is_word else None)
        elif is_word and len(word) >= SHORT and not (is_record and name == "type" and word not in CLEAR):
            found.add(word in DELETES)
        elif not is_record and (is_word if spelled(name) == "type" else bytes(value) != b"null"):
            found.add(None)
    return found


def _written(text: bytes, fields: Mapping[str, msgspec.Raw], names: Names, *, is_record: bool) -> Message:
    """A message that writes: around a record, or the record itself with its operation next to its fields."""
    carrier = _first(fields, CARRIERS if is_record else (*CARRIERS, *OTHER_CARRIERS))
    inner = bytes(fields[carrier]) if carrier else None
    if inner is None and "id" in fields and (is_record or not names.marks.isdisjoint(fields)):
        inner = text
    if inner is None or not _is_record(inner, names):
        return _faulty(text, _MISSING)
    return Message(text=inner, id=_id(fields), is_delete=False, carries_record=carrier is not None)


def _unnamed(text: bytes, fields: Mapping[str, msgspec.Raw], names: Names, deep: int) -> Message | None:
    """What an object without any field of a fill is that names no operation."""
    parts = {name: _part(name) for name in fields}
    carrier = _first(fields, (*CARRIERS, *OTHER_CARRIERS))
    inner = bytes(fields[carrier]) if carrier else b""
    is_clear = _Part.UNKNOWN not in parts.values()
    if carrier and _is_record(inner, names):
        if not is_clear:
            return _faulty(text, _ENVELOPE)
        return Message(text=inner, id=_id(fields), is_delete=False, carries_record=True)
    if carrier and deep < DEEP and (within := read_message(inner, names, deep + 1)) is not None:
        return replace(within, id=within.id or _id(fields)) if is_clear else _faulty(text, _ENVELOPE)
    holders = [name for name, value in fields.items() if _holds_record(bytes(value), names)]
    if holders:
        is_before = is_clear and all(parts[name] is _Part.BEFORE for name in holders)
        return _faulty(text, _MISSING if is_before else _ENVELOPE)
    if carrier or _Part.CARRIER in parts.values():
        return _faulty(text, _MISSING)
    strangers = [name for name, part in parts.items() if part is _Part.UNKNOWN and name not in names.marks]
    if any(_is_word(spelled(name)) or _is_word(_word(fields[name])) for name in strangers):
        return _faulty(text, _UNKNOWN)
    return None


def _faulty(text: bytes, fault: tuple[str, str]) -> Message:
    return Message(text=text, id=None, is_delete=False, carries_record=False, fault=fault)


def _word(value: msgspec.Raw | None) -> str:
    """A text as operations are spelled; empty if the value is no text."""
    if value is None or len(memoryview(value)) > LONG or bytes(value)[:1] != b'"':
        return ""
    try:
        return _spelled(_text.decode(value))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _is_word(word: str) -> bool:
    return len(word) >= SHORT and word in DELETES | UPSERTS


def _id(fields: Mapping[str, msgspec.Raw]) -> str | None:
    name = "id" if "id" in fields else next((name for name in fields if spelled(name) == "id"), None)
    return None if name is None else as_text(bytes(fields[name]))


def _first(fields: Mapping[str, msgspec.Raw], spellings: Sequence[str]) -> str | None:
    """The first of these fields, in their order, that holds an object."""
    objects = {spelled(name): name for name, value in fields.items() if bytes(value)[:1] == b"{"}
    return next((objects[spelling] for spelling in spellings if spelling in objects), None)


def _is_record(text: bytes, names: Names) -> bool:
    """Whether an object that a message carries is a record."""
    try:
        fields = json_fields.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if not names.fill.isdisjoint(fields) or not names.marks.isdisjoint(fields):
        return True
    holds_objects = any(bytes(value)[:1] == b"{" for value in fields.values())
    return not names.shared.isdisjoint(fields) and not holds_objects


def _holds_record(value: bytes, names: Names) -> bool:
    """Whether a value is a record, a list of records, or one of both as a text."""
    try:
        if value[:1] == b'"':
            value = str(msgspec.json.decode(value)).strip().encode()
        if value[:1] == b"[":
            return any(_is_record(bytes(each), names) for each in _list.decode(value) if bytes(each)[:1] == b"{")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return value[:1] == b"{" and _is_record(value, names)
