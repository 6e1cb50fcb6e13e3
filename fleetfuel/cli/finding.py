"""What one check of doctor found, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from fleetfuel import errors
from fleetfuel.printable import sentence
from fleetfuel.report.words import wrapped

SKEW: Final = timedelta(seconds=60)
"""Clocks further apart than this are worth setting right; the store refuses signatures at 15 minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found."""

    name: str
    said: str
    next_step: str | None = None
    """What to do about it; None if there is nothing to do."""
    exit_code: int = 0
    """The exit code of a run that meets it; 0 = a run can do its work."""

    @property
    def state(self) -> Literal["works", "look", "fails"]:
        """look: a run works, but somebody should look."""
        return "fails" if self.exit_code else "look" if self.next_step else "works"


def worst(findings: Iterable[Finding]) -> int:
    """The exit code: what only a person can mend (78, 77) before what may pass by itself (69)."""
    return max((finding.exit_code for finding in findings), default=0)


def render_finding(finding: Finding, *, width: int) -> str:
    """Name, state and what was found; the next step beneath."""
    start = f"{finding.name:<14} {finding.state:<5}  "
    lines = wrapped(sentence(finding.said).replace("\n", " "), width, first=start)
    if finding.next_step:
        arrow = " " * len(start) + "→ "
        lines += wrapped(sentence(finding.next_step).replace("\n", " "), width, first=arrow)
    return "\n".join(lines)


def guarded(name: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of a check; an error ends the check and is a finding itself."""
    try:
        yield from look()
    except errors.FleetfuelError as error:
        yield failed(name, error)


def failed(name: str, error: errors.FleetfuelError) -> Finding:
    """An error as a finding."""
    said, _, advice = str(error).partition("\n")
    advice = " ".join(advice.split()) or "Correct it, then run doctor again."
    return Finding(name=name, said=said, next_step=advice, exit_code=error.exit_code)


def clock(whose: str, there: datetime, here: datetime) -> Finding:
    """How far this clock is from somebody else's."""
    apart = here - there
    if abs(apart) < SKEW:
        return Finding(name=f"{whose} clock", said=f"agrees with the {whose}'s")
    seconds = abs(apart).total_seconds()
    said = f"{seconds / 60:,.0f} minutes {'ahead of' if apart > timedelta() else 'behind'} the {whose}'s"
    return Finding(
        name=f"{whose} clock", said=said, next_step="Set the clocks right (NTP): ages and guards are judged by them."
    )
