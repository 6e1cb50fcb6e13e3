"""Pure: what a run noticed of the feed as a whole, once each with a count: `judge.NOTICES` without a place.

A notice says that the feed drifts: a field nobody knows, a spelling nobody wrote into `rules/`, a type that flipped,
ids that jumped. It changes nothing of what is loaded.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import polars as pl

from fleetfuel.printable import MOST, counted, one_line
from fleetfuel.records.judge import NOTICES
from fleetfuel.rules.book import Rules

SEVERITY: Final = "notice"
NAMED: Final = 50
"""At most so many unknown fields, and so many unknown spellings, are named: the most frequent."""

FLIPPED: Final = 10
"""From this many updated rows with the same change of type on, it is noticed."""

JUMP: Final = 1_000
"""New ids jumped if they lie further than this beyond the greatest known one, and further than ten times the number of
new rows."""


def feed_notices(notices: Iterable[tuple[str, str | None, str | None, str]]) -> pl.DataFrame:
    """(rule, field, value, reason) of each as `judge.NOTICES`."""
    rows = [
        {"rule": rule, "severity": SEVERITY, "field": field, "value": value, "reason": reason}
        for rule, field, value, reason in notices
    ]
    return pl.DataFrame(rows, schema=NOTICES)


def unknown_fields(
    counts: Counter[str], samples: Mapping[str, str]
) -> Iterator[tuple[str, str | None, str | None, str]]:
    """Fields that no rule names. The sample stays in the report: it may be personal."""
    for name, count in counts.most_common(NAMED):
        reason = f"unknown field {one_line(name)!r} in {counted(count, 'record')}"
        yield "unknown_field", one_line(name), samples.get(name), reason
    if len(counts) > NAMED:
        yield "unknown_field", None, None, f"{len(counts) - NAMED:,} more unknown fields"


def unknown_spellings(
    counts: Counter[tuple[str, str]], unknown: Sequence[tuple[str, str]], rules: Rules
) -> Iterator[tuple[str, str | None, str | None, str]]:
    """Fuel types and departments that the database's normalisers do not know, with the nearest that they do."""
    known = {"fuel_type": _spellings(rules.fuel_types), "department": _spellings(rules.departments)}
    ordered = sorted(unknown, key=lambda each: (each[0], -counts[each], each[1]))
    for field, spelling in ordered[:NAMED]:
        canonical = known[field]
        near = difflib.get_close_matches(spelling.strip()[:MOST].upper(), canonical, n=1, cutoff=0.6)
        hint = f"; nearest known: {near[0]} ({canonical[near[0]]})" if near else ""
        named = one_line(spelling)
        reason = f"unknown {field.replace('_', ' ')} {named!r} in {counted(counts[field, spelling], 'record')}{hint}"
        yield f"unknown_{field}", field, named, reason
    if len(ordered) > NAMED:
        yield "unknown_spelling", None, None, f"{len(ordered) - NAMED:,} more unknown spellings"


def _spellings(names: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
    return {spelling.upper(): canon for canon, aliases in names.items() for spelling in (canon, *aliases)}


def type_flips(flips: Counter[tuple[str, str, str]]) -> Iterator[tuple[str, str | None, str | None, str]]:
    """Fields whose JSON type changed in many updated rows alike; a few such rows are usual, from typing by hand."""
    for (field, before, after), count in flips.most_common():
        if count < FLIPPED:
            return
        reason = f"{one_line(field)} turned from {before} to {after} in {counted(count, 'record')}"
        yield "type_flip", one_line(field), None, reason


def id_jump(new_ids: pl.Series, greatest: int | None) -> Iterator[tuple[str, str | None, str | None, str]]:
    """New ids far beyond those known: another source, or another column taken for the id."""
    if greatest is None or new_ids.is_empty():
        return
    furthest = new_ids.max()
    assert isinstance(furthest, int)
    if furthest - greatest > max(JUMP, 10 * new_ids.len()):
        yield "id_jump", "id", str(furthest), f"ids jumped from {greatest:,} to {furthest:,}"


def disbelieved_times(disbelieved: Counter[int], hours: float) -> Iterator[str]:
    """A sentence if own times lie too long after their file's: the source's clock runs ahead, or years are mistyped.
    `disbelieved`: id → records."""
    if disbelieved:
        count, one = disbelieved.total(), next(iter(disbelieved))
        says, its, which = (
            ("says that it was", "its", f"id {one}")
            if count == 1
            else ("say that they were", "their", f"id {one}, for one")
        )
        yield (
            f"{counted(count, 'record')} {says} changed more than {hours:g} hours after {its} file's time:"
            f" {its} updated_at is not believed ({which})"
        )
