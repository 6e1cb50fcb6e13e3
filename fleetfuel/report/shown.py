"""Pure: what people see of a row of a report: its fill, its values, what differs; personal values only if asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from fleetfuel.plan.same import same_json
from fleetfuel.printable import one_line
from fleetfuel.rules.book import Rules

MOST: Final = 80
"""Characters of a value that are shown."""

HIDDEN: Final = "(not shown)"

VALUES: Final = ("filled_at", "litres", "amount_kes", "fuel_type", "odometer_km")
"""Canonical fields that describe a new or lost record, next to its plate, department and day."""

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One field of a row, as the feed calls it."""

    field: str
    before: str | None
    """The value as text for people; None if the record has none. `HIDDEN` if it is personal."""
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRow:
    """One affected record, without what has to stay hidden."""

    action: str
    """As `changes.parquet` has it."""
    group: str
    id: int
    plate: str
    department: str
    day: str
    """`YYYY-MM-DD`, or empty."""
    changed: Sequence[Changed]
    """What differs; empty for a row that comes or goes as a whole."""
    values: Sequence[tuple[str, str]]
    """(field, value) of a record that comes or goes as a whole."""
    source_key: str
    position: int | None


def open_fields(rules: Rules) -> frozenset[str]:
    """The feed's names of the fields that are known and not personal. All others stay hidden."""
    return frozenset(alias for name, aliases in rules.fields.items() if name not in rules.personal for alias in aliases)


def shown_row(row: Mapping[str, Any], rules: Rules, *, personal: bool) -> ShownRow:
    """A row of `saved.SavedReport.changes` as people see it."""
    visible = None if personal else open_fields(rules)
    before, after = fields_of(row["before"]), fields_of(row["after"])
    is_whole = row["group"] in ("inserts", "soft deletes") or not row["changed"]
    marks = [name for name in row["changed"] or [] if name in before or name in after]
    return ShownRow(
        action=str(row["action"]),
        group=str(row["group"]),
        id=row["id"],
        plate=one_line(row["plate"] or "", MOST),
        department=one_line(row["department"] or "", MOST),
        day=row["day"].isoformat() if row["day"] else "",
        changed=() if is_whole else tuple(_changed(name, before, after, visible) for name in marks),
        values=tuple(_values(after or before, rules, visible)) if is_whole else (),
        source_key=one_line(row["source_key"] or "", 500),
        position=row["position"],
    )


def fields_of(text: str | None) -> dict[str, msgspec.Raw]:
    """Field → its JSON text; nothing if the text is no JSON object, or nested deeper than can be read."""
    try:
        return _object.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):  # somebody edited raw: it is no object, or nested too deep
        return {}


def visible_text(text: str | None, rules: Rules, *, personal: bool) -> str | None:
    """The record as JSON text with the fields that may be seen; None if it is no JSON object.

    Only texts, numbers and truth values of visible fields: a list or an object may hold anything.
    """
    if personal:
        return text
    visible, fields = open_fields(rules), fields_of(text)
    kept = {name: value for name, value in fields.items() if name in visible and bytes(value)[:1] not in b"{["}
    return msgspec.json.encode(kept).decode() if fields else None


def _changed(
    name: str, before: Mapping[str, msgspec.Raw], after: Mapping[str, msgspec.Raw], visible: frozenset[str] | None
) -> Changed:
    sides = [fields.get(name) for fields in (before, after)]
    if visible is not None and name not in visible:
        return Changed(field=one_line(name, MOST), before=HIDDEN, after=HIDDEN)
    old, new = (None if side is None else said(side, visible) for side in sides)
    if old == new and None not in sides and not same_json(*map(bytes, sides)):  # type: ignore[arg-type]
        old, new = (one_line(bytes(side or b"").decode(), MOST) for side in sides)  # "45" and 45 look alike to people
    return Changed(field=one_line(name, MOST), before=old, after=new)


def _values(fields: Mapping[str, msgspec.Raw], rules: Rules, visible: frozenset[str] | None) -> list[tuple[str, str]]:
    """The values that describe a fill; if personal ones may be seen, also all other fields."""
    shown: list[tuple[str, str]] = []
    for canonical in VALUES:
        held = next(
            (name for name in rules.fields.get(canonical, ()) if bytes(fields.get(name, b"null")) != b"null"), None
        )
        if held:
            shown.append((one_line(held, MOST), said(fields[held], visible)))
    if visible is None:
        known = {name for field, names in rules.fields.items() for name in names if field not in rules.personal}
        shown += [(one_line(name, MOST), said(value, None)) for name, value in fields.items() if name not in known]
    return shown


def said(value: msgspec.Raw, visible: frozenset[str] | None = None) -> str:
    """A JSON value as people read it: texts without quotes, on one line, bounded. Lists and objects are shown only if
    personal values are (`visible` is None)."""
    text = bytes(value).decode("utf-8", "replace")
    if text[:1] == '"':
        return one_line(str(json.loads(text)), MOST)
    if text[:1] in ("{", "[") and visible is not None:
        return HIDDEN
    return one_line(text, MOST)
