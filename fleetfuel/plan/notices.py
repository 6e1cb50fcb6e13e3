"""Pure: what a run noticed of the feed as a whole, once each with a count: `validate.NOTICES` without a place.

A notice says that the feed drifts: a field nobody knows, a spelling nobody wrote into `rules/`, a type that flipped,
ids that jumped. It changes nothing of what is loaded.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import polars as pl

from fleetfuel.printable import MOST, shown
from fleetfuel.records.judge import NOTICES
from fleetfuel.rules.book import Rules

SEVERITY: Final = "notice"
NAMED: Final = 50
"""Unknown fields and spellings of each kind that are named: the commonest."""

FLIPPED: Final = 10
"""Updated rows in which a field's type changed alike, from which on it is said."""

JUMP: Final = 1_000
"""New ids this far beyond the greatest one known, and ten times further than there are new rows, jumped."""


def feed_notices(notices: Iterable[tuple[str, str | None, str | None, str]]) -> pl.DataFrame:
    """(rule, field, value, reason) of each as `validate.NOTICES`."""
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
        yield "unknown_field", shown(name), samples.get(name), f"unknown field {shown(name)!r} in {_records(count)}"
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
        named = shown(spelling)
        reason = f"unknown {field.replace('_', ' ')} {named!r} in {_records(counts[field, spelling])}{hint}"
        yield f"unknown_{field}", field, named, reason
    if len(ordered) > NAMED:
        yield "unknown_spelling", None, None, f"{len(ordered) - NAMED:,} more unknown spellings"


def _spellings(names: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
    return {spelling.upper(): canon for canon, aliases in names.items() for spelling in (canon, *aliases)}


def type_flips(flips: Counter[tuple[str, str, str]]) -> Iterator[tuple[str, str | None, str | None, str]]:
    """Fields whose JSON type changed in many updated rows alike; a few typed by hand are everyday."""
    for (field, before, after), count in flips.most_common():
        if count < FLIPPED:
            return
        yield "type_flip", shown(field), None, f"{shown(field)} turned from {before} to {after} in {_records(count)}"


def id_jump(new_ids: pl.Series, greatest: int | None) -> Iterator[tuple[str, str | None, str | None, str]]:
    """New ids far beyond those known: another source, or an id column that was mistaken."""
    if greatest is None or new_ids.is_empty():
        return
    furthest = new_ids.max()
    assert isinstance(furthest, int)
    if furthest - greatest > max(JUMP, 10 * new_ids.len()):
        yield "id_jump", "id", str(furthest), f"ids jumped from {greatest:,} to {furthest:,}"


def disbelieved_times(disbelieved: Counter[int], hours: float) -> Iterator[str]:
    """Own times later than their file's, in a sentence: a source's clock that runs ahead, or mistyped years."""
    if disbelieved:
        count, one = disbelieved.total(), next(iter(disbelieved))
        says, its, which = (
            ("says that it was", "its", f"id {one}")
            if count == 1
            else ("say that they were", "their", f"id {one}, for one")
        )
        yield (
            f"{_records(count)} {says} changed more than {hours:g} hours after {its} file's time:"
            f" {its} updated_at is not believed ({which})"
        )


def _records(count: int) -> str:
    return f"{count:,} record" if count == 1 else f"{count:,} records"
