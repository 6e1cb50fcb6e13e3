"""One file of `rules/`: what it says, and the line where it says it.

tomllib gives no line numbers: lines are found again by their keys and headers, which people write one to a line.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from fleetfuel import errors
from fleetfuel.readable import read_regular

Read = TypeVar("Read")
_HEADER: Final = re.compile(r"\s*\[\[?[^\[\]]+\]\]?\s*(#.*)?")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RuleFile:
    """A file of rules, parsed as TOML. Its readers know what it may hold."""

    path: Path
    """Where it lies."""
    lines: tuple[str, ...]
    """Its text by lines, to find where something stands."""
    data: Mapping[str, Any]
    """What tomllib read."""
    headers: tuple[tuple[int, str], ...]
    """Lines that hold a bracket, each with its number and without blanks: a header is one of them."""

    def refuse(self, reason: str, line: int = 1) -> NoReturn:
        raise errors.RulesError(file=self.path, line=line, reason=reason)

    def header(self, name: str, index: int | None = None) -> int:
        """The line of `[name]`, or of the `[[name]]` with this index, counted from 0."""
        text = f"[{name}]" if index is None else f"[[{name}]]"
        found = [number for number, header in self.headers if header.startswith(text)]
        return found[index or 0] if len(found) > (index or 0) else 1

    def key(self, name: str, block: int = 0) -> int:
        """The line where key `name` is set: at the top, or in the block whose header stands on line `block`."""
        inner = rf"""[{{,]\s*(["']?){re.escape(name)}\1\s*="""
        return (
            self._find(lambda line: name in line and _sets(line, name), block)
            or self._find(lambda line: name in line and re.search(inner, line), block)
            or max(block, 1)
        )

    def text(self, value: str, key: int) -> int:
        """The line where the quoted text stands, from the key on line `key` to the end of the block."""
        quoted = f'"{value}"', f"'{value}'"
        return self._find(lambda line: any(text in line for text in quoted), key - 1) or key

    def _find(self, holds: Callable[[str], object], block: int) -> int | None:
        for number, line in enumerate(self.lines[block:], block + 1):
            if line.lstrip().startswith("[") and _HEADER.fullmatch(line):
                return None
            if holds(line):
                return number
        return None

    @property
    def tables(self) -> frozenset[str]:
        """The top-level keys that are tables."""
        return frozenset(name for name, value in self.data.items() if isinstance(value, dict))

    def need(self, name: str) -> Any:
        """The value of a top-level key."""
        if name not in self.data:
            self.refuse(f"`{name}` is missing")
        return self.data[name]

    def read(self, as_type: type[Read], value: Any, block: int, *, ours: Collection[str] = ()) -> Read:
        """A table as a value of a dataclass, or anything else as the type given: unknown keys and wrong types refused.

        The fields named by `ours` are not for the file to set.
        """
        if dataclasses.is_dataclass(as_type) and isinstance(value, dict):
            known = [field.name for field in dataclasses.fields(as_type) if field.name not in ours]
            for name in value:
                if name not in known:
                    self.refuse(f"unknown key `{name}`; known are {', '.join(known)}", self.key(name, block))
            for field in dataclasses.fields(as_type):
                if field.name not in value and field.default is field.default_factory is dataclasses.MISSING:
                    self.refuse(f"`{field.name}` is missing", block)
        try:
            return msgspec.convert(value, as_type, strict=True)
        except msgspec.ValidationError as error:
            what, _, path = _in_words(str(error)).partition(" - at ")
            name = re.match(r"`\$\.(\w+)", path)
            if name is None:
                self.refuse(_lowered(what), block)
            self.refuse(f"`{name[1]}`: {_lowered(what)}", self.key(name[1], block))

    def blocks(self, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Each `[[name]]` with the line it starts on."""
        blocks = self.need(name)
        if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
            self.refuse(f"`{name}` must be written as [[{name}]] blocks", self.key(name))
        for index, block in enumerate(blocks):
            yield self.header(name, index), block


def _sets(line: str, name: str) -> bool:
    """Whether the line begins by setting the key. A regular expression for each key would take longer."""
    for quoted in (name, f'"{name}"', f"'{name}'"):
        if line.lstrip().startswith(quoted):
            return line.lstrip().removeprefix(quoted).lstrip().startswith("=")
    return False


def read_rule_file(path: Path, known: frozenset[str]) -> RuleFile:
    """Read a file that may hold the top-level keys `known`. Raises `RulesError` with its line."""
    try:
        content = read_regular(path)
    except OSError as error:
        raise errors.RulesError(file=path, line=1, reason=f"cannot be read: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise errors.RulesError(file=path, line=line, reason="not UTF-8 text") from error
    lines = tuple(text.split("\n"))
    try:
        data = tomllib.loads(text, parse_float=_finite)
    except _NotFinite as error:
        line = next((number for number, line in enumerate(lines, 1) if str(error) in line), 1)
        raise errors.RulesError(file=path, line=line, reason=f"`{error}` is no number to compare with") from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # besides TOMLDecodeError: a number or a nesting beyond Python's limits
        said, _, where = str(error).partition(" (at ")
        found = re.match(r"line (\d+)", where)
        line = int(found[1]) if found else len(lines) if where.startswith("end") else 1
        raise errors.RulesError(file=path, line=line, reason=f"not TOML: {_lowered(said)}") from error
    headers = tuple((number, line.replace(" ", "")) for number, line in enumerate(lines, 1) if "[" in line)
    file = RuleFile(path=path, lines=lines, data=data, headers=headers)
    for name in data:
        if name not in known:
            line = max(file.key(name), file.header(name), file.header(name, 0))
            file.refuse(f"unknown key `{name}`; known are {', '.join(sorted(known))}", line)
    return file


class _NotFinite(Exception):
    """A number of a file that is nan or infinite, as written."""


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NotFinite(text)
    return number


_BOUND: Final = re.compile(r"Expected `(?:int|float)` ([<>]=?) ([0-9.]+?)(?:\.0)?(?= |$)")
_BOUNDS: Final = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


def _in_words(text: str) -> str:
    """A bound that does not hold, in words."""
    return _BOUND.sub(lambda found: f"must be {_BOUNDS[found[1]]} {found[2]}", text)


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
