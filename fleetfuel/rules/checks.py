"""`checks.toml`: what validation says of a record.

`records.judge` proves that each check agrees with its own examples.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from fleetfuel.rules.entries import Check
from fleetfuel.rules.fields import COMPUTED, FIELDS
from fleetfuel.rules.file import RuleFile

CHECKED: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{field.name: field.kind for field in FIELDS if field.kind in ("time", "number", "text", "flag")},
        COMPUTED: "computed",
    }
)
"""Field that a check may look at → its kind."""

PREDICATES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "required": ("number", "time", "text"),
        "readable": ("number", "time", "flag"),
        "min": ("number", "computed", "time"),
        "max": ("number", "computed", "time"),
        "one_of": ("text",),
        "matches": ("text",),
        "max_hours_ahead": ("time",),
    }
)
"""Predicate → the kinds of field that it can judge."""

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


def read_checks(file: RuleFile, fields: Mapping[str, tuple[str, ...]]) -> tuple[Check, ...]:
    """Every [[check]], in the order of the file; `fields` are those of fields.toml. Raises `RulesError`."""
    names = {alias for aliases in fields.values() for alias in aliases}
    checks: dict[str, Check] = {}
    for line, block in file.blocks("check"):
        check = file.read(Check, block, line, ours=("file", "line"))
        check = dataclasses.replace(check, file=str(file.path), line=line)
        need_code(file, check.code, checks, line)
        _need_predicate(file, check, block)
        for key in ("good", "bad"):
            examples: tuple[Mapping[str, Any], ...] = getattr(check, key)
            if not examples:
                file.refuse(f"check `{check.code}` needs at least one `{key}` record", file.key(key, line))
            for name, value in (item for example in examples for item in example.items()):
                if name not in names:
                    file.refuse(f"`{key}`: `{name}` is no name of a field in fields.toml", file.key(name, line))
                if not isinstance(value, str | int | float | list | dict):
                    file.refuse(
                        f"`{key}`: `{name}` must be written as JSON could: put it in quotes", file.key(name, line)
                    )
        checks[check.code] = check
    return tuple(checks.values())


def _need_predicate(file: RuleFile, check: Check, block: Mapping[str, Any]) -> None:
    """Refuse a check that has not exactly one predicate, or one that cannot judge its field."""
    if check.field not in CHECKED:
        known = ", ".join(CHECKED)
        file.refuse(f"no check can look at `{check.field}`, only at {known}", file.key("field", check.line))
    given = [name for name in PREDICATES if name in block]
    if len(given) != 1 and given != ["min", "max"]:
        said, known = ", ".join(given) or "none", ", ".join(PREDICATES)
        file.refuse(f"check `{check.code}` needs exactly one of {known} (or min and max); it has {said}", check.line)
    kind = CHECKED[check.field]
    for name in given:
        line, value = file.key(name, check.line), block[name]
        if kind not in PREDICATES[name]:
            file.refuse(f"`{name}` cannot be asked of field `{check.field}`", line)
        if value is False:
            file.refuse(f"`{name}` is true or absent", line)
        if name in ("min", "max"):
            _need_bound(file, name, value, kind, line)
    if given == ["min", "max"] and block["min"] > block["max"]:
        file.refuse("`min` is greater than `max`", file.key("min", check.line))
    if check.one_of == ():
        file.refuse("`one_of` is empty", file.key("one_of", check.line))
    if check.matches is not None:
        need_pattern(file, check.matches, file.key("matches", check.line))


def _need_bound(file: RuleFile, name: str, value: Any, kind: str, line: int) -> None:
    is_instant = isinstance(value, datetime.datetime) and value.tzinfo is not None
    if kind == "time" and not is_instant:
        file.refuse(f"`{name}` of a time must be a date with time and zone, such as 2015-01-01T00:00:00+03:00", line)
    if kind != "time" and isinstance(value, datetime.datetime):
        file.refuse(f"`{name}` must be a number", line)


def need_code(file: RuleFile, code: str, taken: Collection[str], line: int) -> None:
    """Refuse a code that is no snake_case word, or that is `taken`."""
    if not _CODE.fullmatch(code):
        file.refuse(f"code `{code}` must be a snake_case word", file.key("code", line))
    if code in taken:
        file.refuse(f"code `{code}` stands here twice", file.key("code", line))


def need_pattern(file: RuleFile, pattern: str, line: int) -> None:
    """Refuse what is no regular expression, or uses what only some engines know: those of Python, Polars and PostgreSQL
    have to agree."""
    try:
        re.compile(pattern)
    except re.error as error:
        file.refuse(f"`{pattern}` is no regular expression: {error}", line)
    if odd := re.search(r"\(\?(?!:).{0,2}|\\[^.dws()\[\]{}|?*+^$-]", pattern):
        file.refuse(f"`{pattern}` uses `{odd[0]}`, which not every regular expression engine here knows", line)
