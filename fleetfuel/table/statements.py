"""The SQL of the program: `sql/<room>.sql`, one file a room, each statement after a line `-- name: <statement>`.

A statement keeps its comment, which says what it is for, so that the server's log shows it, too.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Mapping


def named_sql(name: str) -> str:
    """The text of the statement of this name, in whichever room."""
    return _statements()[name]


def split_statements(text: str) -> list[tuple[str, str]]:
    """Name and text of each statement of a file, in order. The last semicolon is left out: the driver puts a query
    without parameters into a COPY."""
    _, *parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return [(name, body.strip().removesuffix(";")) for name, body in zip(parts[::2], parts[1::2], strict=True)]


@functools.cache
def _statements() -> Mapping[str, str]:
    rooms = importlib.resources.files("fleetfuel.table").joinpath("sql").iterdir()
    return dict(named for room in rooms for named in split_statements(room.read_text(encoding="utf-8")))
