"""Pure: the guards, one class each: when it trips, what it says, and which option lets its run through once.

Their limits stand in `rules/guards.toml`, their options in the commands. A new guard is one class here, in `GUARDS`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from fleetfuel.model.files import Reading
from fleetfuel.model.plan import Counts, Guard
from fleetfuel.model.records import Cut
from fleetfuel.model.table import HeldList
from fleetfuel.printable import counted
from fleetfuel.records.complete import CountFit, Marker, fit_count
from fleetfuel.rules.book import Rules
from fleetfuel.rules.entries import ShareLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """`--max-deletes N` or `P%`: how many rows are let through, once."""

    number: float
    is_share: bool

    def __str__(self) -> str:
        return f"{self.number:g}%" if self.is_share else str(int(self.number))

    def rows(self, base: int) -> int:
        """The number of rows that it allows, of `base`."""
        return part_of(self.number / 100, base) if self.is_share else int(self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the options let through in this run."""

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


class Limit:
    """One guard."""

    code: ClassVar[str]
    override: ClassVar[str] = ""
    """Name of the option in `Overrides` that lets its run through; empty if none does."""

    def trip(self, totals: Totals, rules: Rules, overrides: Overrides) -> Iterator[Guard]:
        """Yield the guard if the run exceeds it."""
        raise NotImplementedError

    def lets_through(self, guard: Guard, totals: Totals, overrides: Overrides) -> bool:
        """Whether the options given now let through what a saved plan was refused for."""
        del guard, totals
        return bool(self.override and getattr(overrides, self.override))

    def guard(self, seen: str, limit: str, override: str) -> Guard:
        return Guard(code=self.code, seen=seen, limit=limit, override=override)


class EmptySnapshot(Limit):
    """A snapshot that would delete every row, because none of its records can be loaded."""

    code = "empty_snapshot"
    override = "max_deletes"

    def trip(self, totals: Totals, rules: Rules, overrides: Overrides) -> Iterator[Guard]:
        counts, live = totals.counts, totals.live_before
        is_empty = totals.reading == "snapshot" and counts.records == counts.rejected
        if is_empty and rules.guards.empty_snapshot.enabled and not self._wipes(totals, overrides):
            holds = f"no record but {counts.rejected:,} rejected" if counts.rejected else "no record"
            yield self.guard(
                f"the snapshot holds {holds}, the table {counted(live, 'live row')}",
                "a snapshot holds at least one record that can be loaded",
                f"--max-deletes {live}",
            )

    def lets_through(self, guard: Guard, totals: Totals, overrides: Overrides) -> bool:
        del guard
        return self._wipes(totals, overrides)

    def _wipes(self, totals: Totals, overrides: Overrides) -> bool:
        given = overrides.max_deletes
        return given is not None and given.rows(totals.live_before) >= totals.live_before


class CountMismatch(Limit):
    """A snapshot that announces another number of records than it holds: it may be cut short."""

    code = "count_mismatch"

    def trip(self, totals: Totals, rules: Rules, overrides: Overrides) -> Iterator[Guard]:
        del overrides
        if totals.reading != "snapshot" or not rules.guards.count_mismatch.enabled:
            return
        for cut, markers in zip(totals.cuts, totals.markers or ((),) * len(totals.cuts), strict=True):
            fits = {count: fit_count(count, len(cut.records), markers) for count in cut.declared}
            differing = [f"{count:,}" for count, fit in fits.items() if fit is CountFit.DIFFERS]
            if differing:
                held = len(cut.records) - len(markers)
                yield self.guard(
                    f"the export announces {' and '.join(differing)}, the file holds {counted(held, 'record')}",
                    "only a complete snapshot deletes what it lacks",
                    "--as changes (loads what is there, deletes nothing by absence)",
                )


class OldSnapshot(Limit):
    """A snapshot with a file time before the mark."""

    code = "old_snapshot"
    override = "force_old_snapshot"

    def trip(self, totals: Totals, rules: Rules, overrides: Overrides) -> Iterator[Guard]:
        if totals.reading != "snapshot" or not rules.guards.old_snapshot.enabled or overrides.force_old_snapshot:
            return
        for cut in totals.cuts:
            if totals.mark is not None and cut.file_at < totals.mark:
                yield self.guard(
                    f"the snapshot is of {cut.file_at:%Y-%m-%d %H:%M:%SZ}",
                    f"the last one applied is of {totals.mark:%Y-%m-%d %H:%M:%SZ}",
                    "--force-old-snapshot",
                )


class UndoneSource(Limit):
    """A list of records that was applied and undone."""

    code = "undone_source"
    override = "allow_undone"

    def trip(self, totals: Totals, rules: Rules, overrides: Overrides) -> Iterator[Guard]:
        del rules
        for held in () if overrides.allow_undone else totals.held[:1]:
            yield self.guard(
                f"these are the records that run {held.undone_run} applied and {held.undone_by} undid",
                "what was undone is not applied again until the list of records differs",
                "--allow-undone",
            )


class Share(Limit):
    """A share of rows or records, or a number of them if an option names one."""

    verb: ClassVar[str]
    noun: ClassVar[str] = "live rows"

    def seen(self, counts: Counts) -> int:
        """What is counted."""
        raise NotImplementedError

    def base(self, totals: Totals) -> int:
        """What the share is of."""
        return totals.live_before

    def trip(self, totals: Totals, rules: Rules, overrides: Overrides) -> Iterator[Guard]:
        seen, base = self.seen(totals.counts), self.base(totals)
        limit: ShareLimit = getattr(rules.guards, self.code)
        given: Allowance | None = getattr(overrides, self.override)
        allowed = given.rows(base) if given else self._allowed(limit, base)
        if allowed is not None and seen > allowed:
            yield self.guard(
                self.said(seen, base),
                f"as given: {allowed:,}" if given else f"{limit.share:.0%} ({allowed:,})",
                f"--{self.code.replace('_', '-')} {seen}",
            )

    def said(self, seen: int, base: int) -> str:
        if seen > base:  # rows that are deleted, and stay so, can be updated
            return f"{self.verb} {seen:,}, and there are {base:,} {self.noun}"
        return f"{self.verb} {seen:,} of {base:,} {self.noun} ({seen / base:.1%})"

    def lets_through(self, guard: Guard, totals: Totals, overrides: Overrides) -> bool:
        del guard
        given: Allowance | None = getattr(overrides, self.override)
        return given is not None and self.seen(totals.counts) <= given.rows(self.base(totals))

    def _allowed(self, limit: ShareLimit, base: int) -> int | None:
        return None if base < limit.exempt_under_rows else part_of(limit.share, base)


class MaxDeletes(Share):
    """Soft deletes, as a share of the live rows."""

    code = override = "max_deletes"
    verb = "soft-deletes"

    def seen(self, counts: Counts) -> int:
        return counts.soft_deletes


class MaxRejects(Share):
    """Rejected records, as a share of the records."""

    code = override = "max_rejects"
    verb = "rejects"
    noun = "records"

    def seen(self, counts: Counts) -> int:
        return counts.rejected

    def base(self, totals: Totals) -> int:
        return totals.counts.records


class MaxUpdates(Share):
    """Updates, as a share of the live rows."""

    code = override = "max_updates"
    verb = "updates"

    def seen(self, counts: Counts) -> int:
        return counts.updates


class LostColumn(Limit):
    """A field that nearly every stored row has, and no new record."""

    code = "lost_column"
    override = "allow_lost_columns"

    def trip(self, totals: Totals, rules: Rules, overrides: Overrides) -> Iterator[Guard]:
        for column, share in () if overrides.allow_lost_columns else totals.lost_columns:
            yield self.guard(
                f"no new record has {column}, {share:.0%} of the stored rows do",
                f"{rules.guards.lost_column.share:.0%} of the stored rows",
                "--allow-lost-columns",
            )


class Stop(Limit):
    """A rule of severity stop: its code is the rule's."""

    code = ""

    def trip(self, totals: Totals, rules: Rules, overrides: Overrides) -> Iterator[Guard]:
        del rules, overrides
        for code, rows in totals.stops:
            yield Guard(
                code=code,
                seen=f"{counted(rows, 'record')} {'breaks' if rows == 1 else 'break'} the rule {code}",
                limit="its severity is stop: not one may",
                override="change its severity in rules/checks.toml",
            )


GUARDS: Final[tuple[Limit, ...]] = (
    *(EmptySnapshot(), CountMismatch(), OldSnapshot(), UndoneSource()),
    *(MaxDeletes(), MaxRejects(), MaxUpdates(), LostColumn(), Stop()),
)
"""Gravest first."""


def part_of(share: float, base: int) -> int:
    """Whole rows of a share, rounded down: 29 % of 100 are 29, though 0.29 * 100 is a little less in floating point."""
    return math.floor(round(share * base, 6))
