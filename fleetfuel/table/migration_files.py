"""The files of `migrations/`: named in order, in a transaction of the runner's own, never edited once applied."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetfuel import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationFile:
    """One file of `migrations/`."""

    file: str
    """Its name, `NNNN_name.sql`."""
    text: str
    """Its statements, line ends normalised."""
    checksum: str
    """Hex SHA-256 of the text."""


def read_migrations(folder: Path) -> tuple[MigrationFile, ...]:
    """Every migration of the folder in order. Raises `MigrationError` where one could not be applied as it stands."""
    paths = sorted(folder.glob("*.sql"), key=lambda path: path.name)
    if not paths:
        raise errors.MigrationError(
            file=folder, reason="no migrations here.", next_step="Install fleetfuel again, or name another folder."
        )
    for number, path in enumerate(paths, 1):
        _need_number(path.name, number)
    return tuple(_read_file(path) for path in paths)


_FILE_NAME: Final = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")


def _need_number(name: str, number: int) -> None:
    found = _FILE_NAME.fullmatch(name)
    if found is None:
        raise errors.MigrationError(
            file=name,
            reason="not the name of a migration.",
            next_step="Name it NNNN_what_it_does.sql, in lower case, or move it out of the folder.",
        )
    if int(found[1]) != number:
        what = "its number is taken twice" if int(found[1]) < number else f"number {number:04} is missing before it"
        raise errors.MigrationError(
            file=name, reason=f"{what}.", next_step="Number the files from 0001 without gap or repetition."
        )


def _read_file(path: Path) -> MigrationFile:
    try:
        text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.MigrationError(
            file=path.name, reason=f"cannot be read: {error}.", next_step="It must be a readable file of UTF-8 text."
        ) from error
    for line, words in transaction_statements(text):
        raise errors.MigrationError(
            file=path.name,
            reason=f"line {line} says `{words}`, but a migration runs in one transaction of the runner's own.",
            next_step="Remove the statement, or split the file; nothing was applied.",
        )
    return MigrationFile(file=path.name, text=text, checksum=hashlib.sha256(text.encode()).hexdigest())


_TOKEN: Final = re.compile(
    r"""
      (?P<comment>/\*) | --[^\n]*
    | \$(?P<tag>(?:[^\W\d]\w*)?)\$ .*? \$(?P=tag)\$
    | [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
    | (?P<word>[^\W\d][\w$]*) | \d[\w$]* | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_CONTROL: Final = frozenset(
    {
        *((word,) for word in ("begin", "commit", "end", "rollback", "abort", "savepoint", "release")),
        ("start", "transaction"),
        ("prepare", "transaction"),
    }
)


def transaction_statements(text: str) -> Iterator[tuple[int, str]]:
    """Line and first words of each top-level statement that starts, ends or marks a transaction.

    What stands in comments, strings and dollar-quoted bodies is no statement; nor is what stands between the
    `begin atomic` and the `end` of a function body written in SQL.
    """
    statement: list[str] = []
    depth = position = 0
    while found := _TOKEN.search(text, position):
        position = _end_of_comment(text, found.end()) if found["comment"] else found.end()
        if found["end"] and not depth:
            statement = []
        if not found["word"]:
            continue
        word = found["word"].lower()
        if depth:
            depth += (word in ("case", "begin")) - (word == "end")
        elif word == "atomic" and statement[-1:] == ["begin"] and statement[0] == "create":
            depth = 1
        statement.append(word)
        if tuple(statement) in _CONTROL:
            yield text.count("\n", 0, found.start()) + 1, " ".join(statement)


def _end_of_comment(text: str, position: int) -> int:
    """Where the block comment opened before `position` ends; comments nest."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(text, position)):
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return len(text) if depth else position
