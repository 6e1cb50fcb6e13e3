"""Pure: the totals of a run against the guards → those that it trips."""

from __future__ import annotations

from collections.abc import Sequence

from fleetfuel.model.plan import Counts, Guard
from fleetfuel.plan.guards import GUARDS, Allowance, Overrides, Share, Totals
from fleetfuel.rules.book import Rules

__all__ = ["Allowance", "Overrides", "Totals", "check_limits", "check_undo", "still_refused"]


def check_limits(totals: Totals, rules: Rules, overrides: Overrides) -> tuple[Guard, ...]:
    """The guards this run trips, gravest first; empty for a run that may go on."""
    return tuple(guard for limit in GUARDS for guard in limit.trip(totals, rules, overrides))


def check_undo(counts: Counts, live_before: int, rules: Rules, overrides: Overrides) -> tuple[Guard, ...]:
    """The guards that an undo trips: shares of deletions and updates, as for a file."""
    totals = _totals(counts, live_before)
    return tuple(
        guard for limit in GUARDS if isinstance(limit, Share) for guard in limit.trip(totals, rules, overrides)
    )


def still_refused(guards: Sequence[Guard], live_before: int, counts: Counts, overrides: Overrides) -> tuple[Guard, ...]:
    """Guards of a saved plan that the overrides given now do not let through."""
    totals, limits = _totals(counts, live_before), {limit.code: limit for limit in GUARDS}
    return tuple(
        guard
        for guard in guards
        if guard.code not in limits or not limits[guard.code].lets_through(guard, totals, overrides)
    )


def _totals(counts: Counts, live_before: int) -> Totals:
    return Totals(reading="changes", cuts=(), counts=counts, live_before=live_before, mark=None, stops=())
