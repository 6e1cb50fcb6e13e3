"""The files of `migrations/`: numbered in order, each applied in one transaction, never edited once applied."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetfuel import errors
from fleetfuel.readable import read_regular


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
    """Every migration of the folder in order. Raises `MigrationError` for a wrong name or number, or a file that cannot
    be read."""
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
        text = read_regular(path).decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.MigrationError(
            file=path.name, reason=f"cannot be read: {error}.", next_step="It must be a readable file of UTF-8 text."
        ) from error
    return MigrationFile(file=path.name, text=text, checksum=hashlib.sha256(text.encode()).hexdigest())
