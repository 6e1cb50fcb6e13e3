"""Pure: the shapes that nearly all records of a file have, so that only the others have to be looked at closely.

A shape is the names of a record's fields, in their order. A record of a known shape holds each of them once, and
nothing but texts, numbers a float holds, true, false and null: any reader of JSON reads it as PostgreSQL does.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Set
from typing import Final

import msgspec
import polars as pl

from fleetfuel.records.envelope import json_fields

TRIES: Final = 4
"""Records whose shape is tried: an export writes one or two."""

_NAME: Final = re.compile(r"[A-Za-z0-9_ -]+")
_VALUE: Final = r'(?:"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*"|-?[0-9][0-9.]{0,14}|null|true|false)'


def find_plain(texts: pl.Series, names: Set[str]) -> pl.Series:
    """Whether each text (JSON objects, or null) is a record of one of the shapes met first, made of `names` only."""
    is_plain = pl.repeat(value=False, n=len(texts), eager=True)
    left = texts.is_not_null().arg_true()
    misses = 0
    for _ in range(TRIES):
        if left.is_empty():
            break
        shape = _shape(texts[left[misses * len(left) // TRIES]], names)
        if shape is None:
            misses += 1
            continue
        found = (texts if len(left) == len(texts) else texts.gather(left)).str.contains(shape)
        is_plain = found if len(left) == len(texts) else is_plain.scatter(left.filter(found), values=True)
        left = left.filter(~found)
    return is_plain


def _shape(text: str, names: Set[str]) -> str | None:
    """The pattern of all records with the fields that this one has; None where it is not plain itself."""
    try:
        fields = json_fields.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return _pattern(tuple(fields)) if fields and fields.keys() <= names else None


@functools.cache
def _pattern(names: tuple[str, ...]) -> str | None:
    if not all(map(_NAME.fullmatch, names)):
        return None
    pairs = " *, *".join(f'"{re.escape(name)}" *: *{_VALUE}' for name in names)
    return rf"^\{{ *{pairs} *\}}$"
