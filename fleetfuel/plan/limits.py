"""Pure: the totals of a run against the limits in `rules/` → the guards it trips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fleetfuel.model import Counts, Cut, Guard, HeldList, Reading
from fleetfuel.records.complete import CountFit, Marker, fit_count
from fleetfuel.rules.book import Rules
from fleetfuel.rules.entries import ShareLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """`--max-deletes N` or `P%`: how many rows are let through, once."""

    number: float
    is_share: bool

    def rows(self, base: int) -> int:
        return _part(self.number / 100, base) if self.is_share else int(self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the person at the keyboard lets through this once."""

    max_deletes: Allowance | None = None
    max_rejects: Allowance | None = None
    max_updates: Allowance | None = None
    force_old_snapshot: bool = False
    allow_lost_columns: bool = False
    allow_undone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the guards look at."""

    reading: Reading
    cuts: tuple[Cut, ...]
    counts: Counts
    live_before: int
    """Live rows in the table."""
    mark: datetime | None
    """File time of the last applied snapshot."""
    stops: tuple[tuple[str, int], ...]
    """Rule of severity stop → how many records break it."""
    lost_columns: tuple[tuple[str, float], ...] = ()
    """Column that no new record has → the share of stored rows that have it."""
    held: tuple[HeldList, ...] = ()
    """Lists of records that were undone, and that the delivery holds again."""
    markers: tuple[tuple[Marker, ...], ...] = ()
    """What the markers of each file say; () if no file has any."""


def check_limits(totals: Totals, rules: Rules, overrides: Overrides) -> tuple[Guard, ...]:
    """The guards this run trips, gravest first; empty for a run that may go on."""
    return (
        *_snapshot_guards(totals, rules, overrides),
        *_undone_guards(totals, overrides),
        *_share_guards(totals, rules, overrides),
        *_stops(totals),
    )


def _snapshot_guards(totals: Totals, rules: Rules, overrides: Overrides) -> Iterator[Guard]:
    if totals.reading != "snapshot":
        return
    counts, guards = totals.counts, rules.guards
    wipes = overrides.max_deletes is not None and overrides.max_deletes.rows(totals.live_before) >= totals.live_before
    if guards.empty_snapshot.enabled and counts.records == counts.rejected and not wipes:
        holds = f"no record but {counts.rejected:,} rejected" if counts.rejected else "no record"
        yield Guard(
            code="empty_snapshot",
            seen=f"the snapshot holds {holds}, the table {totals.live_before:,} live rows",
            limit="a snapshot holds at least one record that can be loaded",
            override=f"--max-deletes {totals.live_before}",
        )
    for cut, markers in zip(totals.cuts, totals.markers or ((),) * len(totals.cuts), strict=True):
        fit = fit_count(cut.declared, len(cut.records), markers)
        if guards.count_mismatch.enabled and cut.declared is not None and fit is CountFit.DIFFERS:
            held = len(cut.records) - len(markers)
            yield Guard(
                code="count_mismatch",
                seen=f"the metadata announces {cut.declared:,} records, the file holds {held:,}",
                limit="a snapshot is deleted from only when it is complete",
                override="--as changes (loads what is there, deletes nothing by absence)",
            )
        is_old = totals.mark is not None and cut.file_at < totals.mark
        if guards.old_snapshot.enabled and is_old and not overrides.force_old_snapshot:
            yield Guard(
                code="old_snapshot",
                seen=f"the snapshot is of {cut.file_at:%Y-%m-%d %H:%M:%SZ}",
                limit=f"the last one applied is of {totals.mark:%Y-%m-%d %H:%M:%SZ}",
                override="--force-old-snapshot",
            )


def _undone_guards(totals: Totals, overrides: Overrides) -> Iterator[Guard]:
    for held in () if overrides.allow_undone else totals.held[:1]:
        yield Guard(
            code="undone_source",
            seen=f"these are the records that run {held.undone_run} applied and {held.undone_by} undid",
            limit="what was undone is not applied again until the list of records differs",
            override="--allow-undone",
        )


def _share_guards(totals: Totals, rules: Rules, overrides: Overrides) -> Iterator[Guard]:
    counts, guards = totals.counts, rules.guards
    rows = (
        (
            "max_deletes",
            counts.soft_deletes,
            totals.live_before,
            "live rows",
            guards.max_deletes,
            overrides.max_deletes,
        ),
        ("max_rejects", counts.rejected, counts.records, "records", guards.max_rejects, overrides.max_rejects),
        ("max_updates", counts.updates, totals.live_before, "live rows", guards.max_updates, overrides.max_updates),
    )
    for code, seen, base, noun, limit, override in rows:
        allowed = override.rows(base) if override else _allowed(limit, base)
        if allowed is not None and seen > allowed:
            verb = {"max_deletes": "soft-deletes", "max_rejects": "rejects", "max_updates": "updates"}[code]
            said = f"as given: {allowed:,}" if override else f"{limit.share:.0%} ({allowed:,})"
            yield Guard(
                code=code,
                seen=f"{verb} {seen:,} of {base:,} {noun} ({seen / base:.1%})" if base else f"{verb} {seen:,}",
                limit=said,
                override=f"--{code.replace('_', '-')} {seen}",
            )
    for column, share in () if overrides.allow_lost_columns else totals.lost_columns:
        yield Guard(
            code="lost_column",
            seen=f"no new record has {column}, {share:.0%} of the stored rows do",
            limit=f"{guards.lost_column.share:.0%} of the stored rows",
            override="--allow-lost-columns",
        )


def _allowed(limit: ShareLimit, base: int) -> int | None:
    return None if base < limit.exempt_under_rows else _part(limit.share, base)


def _part(share: float, base: int) -> int:
    """Whole rows of a share: 29 % of 100 are 29, whatever 0.29 * 100 is to a double."""
    return math.floor(round(share * base, 6))


def _stops(totals: Totals) -> Iterator[Guard]:
    for code, rows in totals.stops:
        yield Guard(
            code=code,
            seen=f"{rows:,} records break the rule {code}",
            limit="its severity is stop: not one may",
            override="change its severity in rules/checks.toml",
        )


_OPTIONS: Final = {
    "--max-deletes": "max_deletes",
    "--max-rejects": "max_rejects",
    "--max-updates": "max_updates",
    "--force-old-snapshot": "force_old_snapshot",
    "--allow-lost-columns": "allow_lost_columns",
    "--allow-undone": "allow_undone",
}


def still_refused(guards: Sequence[Guard], live_before: int, counts: Counts, overrides: Overrides) -> tuple[Guard, ...]:
    """Guards of a saved plan that the overrides given now do not let through."""
    return tuple(guard for guard in guards if not _lets_through(guard, live_before, counts, overrides))


def _lets_through(guard: Guard, live_before: int, counts: Counts, overrides: Overrides) -> bool:
    option, _, number = guard.override.partition(" ")
    given = getattr(overrides, _OPTIONS[option]) if option in _OPTIONS else None
    if isinstance(given, Allowance):
        return given.rows(counts.records if option == "--max-rejects" else live_before) >= int(number)
    return bool(given)


def check_undo(counts: Counts, live_before: int, rules: Rules, overrides: Overrides) -> tuple[Guard, ...]:
    """The guards that an undo trips: shares of deletions and updates, as for a file."""
    totals = Totals(reading="changes", cuts=(), counts=counts, live_before=live_before, mark=None, stops=())
    return tuple(_share_guards(totals, rules, overrides))
