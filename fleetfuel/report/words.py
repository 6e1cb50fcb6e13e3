"""Pure: instants in UTC and durations, for people and for machines; paragraphs in lines."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, timedelta
from typing import Final

from fleetfuel.printable import counted, sentence

FILE_WORDS: Final = {
    "inserts": "inserted",
    "updates": "updated",
    "restores": "restored",
    "soft_deletes_flagged": "soft-deleted",
    "unchanged": "unchanged",
    "stale": "stale",
    "superseded": "superseded",
    "rejected": "rejected",
    "skipped": "markers",
}
"""Name in `Counts` → the word for it in a line about one file."""


def iso(moment: datetime | None) -> str | None:
    """An instant for machines: `2026-06-11T12:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


def moment(at: datetime | str | None) -> str:
    """An instant for people: `2026-06-11 12:00:00Z`; `at` may be a text, as `iso` writes it."""
    if at is None:
        return "never"
    instant = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def ago(age: timedelta) -> str:
    """A duration in its largest fitting unit: `12 minutes`, `3 hours`, `2 days`."""
    seconds = max(0, round(age.total_seconds()))
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size or (seconds >= size and unit == "minute"):
            return counted(seconds // size, unit)
    return counted(seconds, "second")


def wrapped(text: str, width: int, *, first: str = "", then: str | None = None) -> list[str]:
    """A paragraph in lines of at most `width` characters, never broken at a hyphen: ids, dates and options have
    hyphens.

    `first` begins the first line, `then` the others; if that is not given, they begin below the paragraph.
    """
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=" " * len(first) if then is None else then,
        break_on_hyphens=False,
        replace_whitespace=False,
    )


def indented(text: str, width: int) -> list[str]:
    """Foreign text as lines below a head, indented and wrapped."""
    return wrapped(sentence(text), width, first="  ", then="    ")


def or_nothing(value: str | None) -> str:
    """A value for people, or a word for its absence."""
    return "(nothing)" if value is None else value
