"""What is aimed at, and how far off it is. Met or missed is said, never asserted."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .scenarios import SIZED, Name, Result, sizes_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One target next to what was measured."""

    target: str
    limit: float
    measured: float
    at: str
    """The size it was measured at."""
    in_cpu: float | None = None
    """The same ratio in CPU, the server's included: for a machine with neighbours."""

    @property
    def is_met(self) -> bool:
        return self.measured <= self.limit

    @property
    def said(self) -> str:
        off = abs(self.measured / self.limit - 1)
        return f"met, {off:.0%} to spare" if self.is_met else f"missed by {off:.0%}"


AIMED_AT = 1_000_000
"""Records that most targets are meant for; smaller sizes are reported if it was not measured."""

LARGE = 10_000_000


def judge(results: Sequence[Result]) -> Iterator[Verdict]:
    """The targets that these results can say something about."""
    aimed = {name: _aimed(results, name) for name in SIZED}
    ratios: tuple[tuple[str, Name, float], ...] = (
        ("unchanged", "floor", 1.5),
        ("unchanged", "naive", 1 / 15),
        ("fresh", "floor", 1.25),
        ("fresh", "naive", 0.6),
        ("changed", "unchanged", 1.3),
    )
    for name, other, limit in ratios:
        if result := aimed[name]:
            yield from _ratio(result, name, other, limit)
    for name in SIZED:
        yield from _flatness(results, name)
    for name, limit, aim in (("1M", 600, AIMED_AT), ("10M", 1536, LARGE)):
        for result in results:
            if result.records == aim and result.scenario in aimed:
                yield Verdict(
                    target=f"memory without mapped files ≤ {limit:,} MiB at {name}, {result.scenario}",
                    limit=limit,
                    measured=result.median("fleetfuel", "peak_anonymous"),
                    at=_at(result),
                )
    for result in results:
        if result.scenario == "help":
            yield Verdict(
                target="fleetfuel --help ≤ 0.25 s of CPU", limit=0.25, measured=result.median("fleetfuel", "cpu"), at=""
            )
        if result.scenario in ("quiet_hour", "busy_hour"):
            yield from _ratio(result, result.title.split(",")[0], "floor", 1.3)


def _aimed(results: Sequence[Result], name: str) -> Result | None:
    """The result at the size aimed at, else at the largest below it."""
    return next((each for each in reversed([*sizes_of(results, name)]) if each.records <= AIMED_AT), None)


OTHERS: Mapping[Name, str] = {"floor": "its floor", "naive": "the naive upsert", "unchanged": "unchanged"}


def _ratio(result: Result, name: str, other: Name, limit: float) -> Iterator[Verdict]:
    if ratios := result.ratios(other):
        yield Verdict(
            target=f"{name} ≤ {limit:.3g} × {OTHERS[other]}",
            limit=limit,
            measured=statistics.median(ratios),
            in_cpu=statistics.median(result.ratios(other, "whole_cpu")),
            at=_at(result),
        )


def _flatness(results: Sequence[Result], name: str) -> Iterator[Verdict]:
    by_size = {each.records: each for each in sizes_of(results, name)}
    if AIMED_AT in by_size and LARGE in by_size:
        small, large = (by_size[size].median("fleetfuel", "wall") / size for size in (AIMED_AT, LARGE))
        yield Verdict(
            target=f"time a record at 10M ≤ 1.2 × that at 1M, {name}", limit=1.2, measured=large / small, at="10M"
        )


def _at(result: Result) -> str:
    meant = f" (meant for {AIMED_AT:,})" if result.scenario in SIZED and result.records < AIMED_AT else ""
    return f"{result.records:,}{meant}"
