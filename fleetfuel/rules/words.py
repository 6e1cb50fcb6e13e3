"""Spellings of fuel types and departments, as `rules/` lists them: no spelling belongs to two."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fleetfuel.rules.file import RuleFile


def read_lists(file: RuleFile, name: str) -> dict[str, tuple[str, ...]]:
    """The table `[name]` whose values are lists of texts."""
    block = file.header(name)
    lists = file.read(dict[str, Any], file.need(name), block)
    return {key: file.read(tuple[str, ...], value, file.key(key, block)) for key, value in lists.items()}


def cleaned(spelling: str) -> str:
    """How two spellings are compared here: upper case, punctuation as a space, spaces collapsed, no final DEPT.

    A little coarser than the database's normalisers: what is one spelling to them must not look like two here.
    """
    words = re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", spelling).upper()).split()
    while len(words) > 1 and words[-1] in ("DEPT", "DEPARTMENT"):
        words.pop()
    return " ".join(words)


def read_spellings(file: RuleFile, name: str) -> Mapping[str, tuple[str, ...]]:
    """The table `[name]`: canonical name → other spellings. Raises `RulesError`, also if one belongs to two."""
    block = file.header(name)
    spellings = read_lists(file, name)
    claimed: dict[str, str] = {}
    for canonical in spellings:
        line = file.key(canonical, block)
        if canonical != " ".join(canonical.upper().split()):
            file.refuse(f"`{canonical}` must be written in upper case, without needless spaces", line)
        _claim(file, claimed, canonical, canonical, line)
    for canonical, aliases in spellings.items():
        line = file.key(canonical, block)
        for alias in aliases:
            _claim(file, claimed, alias, canonical, file.text(alias, line))
    return MappingProxyType(spellings)


def _claim(file: RuleFile, claimed: dict[str, str], spelling: str, canonical: str, line: int) -> None:
    if not cleaned(spelling) or not spelling.isprintable():
        file.refuse(f"{spelling!r} is no spelling: it needs a letter or a digit, and nothing unprintable", line)
    owner = claimed.setdefault(cleaned(spelling), canonical)
    if owner != canonical:
        file.refuse(f"the spelling `{spelling}` is claimed by `{owner}` and by `{canonical}`", line)
