"""Whether the table follows the feed, by the ledger: fresh, late or failing, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from fleetfuel.report.words import ago

LATE: Final = timedelta(hours=2)
"""An hourly run that was last applied longer ago than this is late."""

EXIT_CODES: Final[Mapping[str, int]] = {"fresh": 0, "late": 1, "failing": 2}
"""What `fleetfuel status` ends with, as uptime checks read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The health of the imports."""

    state: Literal["fresh", "late", "failing"]
    said: str
    """One line, without the state."""
    next_step: str | None
    """What to look at; None if it is fresh."""
    last_applied_age_seconds: int | None
    """Seconds since a run of either feed was applied; None if none ever was."""
    source_age_seconds: int | None
    """Seconds since the export wrote what was applied last; None if nothing was."""

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.state]


def judge_health(rows: Sequence[Mapping[str, Any]], *, stale_after: timedelta) -> Health:
    """`rows` are those of reporting.v_ingest_health for the modes snapshot and changes.

    Failing: the newest run, or the last run of a mode that ran within `LATE`, was not applied. Late: none was applied
    within `LATE`, or the export has not written for `stale_after`.
    """
    applied = [row["last_applied_age_seconds"] for row in rows if row["last_applied_age_seconds"] is not None]
    written = [row["source_age_seconds"] for row in rows if row["source_age_seconds"] is not None]
    last_applied, source_age = min(applied, default=None), min(written, default=None)

    def health(state: Literal["fresh", "late", "failing"], said: str, next_step: str | None) -> Health:
        return Health(
            state=state,
            said=said,
            next_step=next_step,
            last_applied_age_seconds=last_applied,
            source_age_seconds=source_age,
        )

    newest = min((row["age_seconds"] for row in rows), default=0)
    failing = [
        row for row in rows if row["status"] != "applied" and row["age_seconds"] <= max(newest, LATE.total_seconds())
    ]
    if not rows:
        return health(
            "failing", "no run is in the ledger", "fleetfuel import --snapshot shows what the first would do."
        )
    stands = f"; applied last {_ago(last_applied)}" if last_applied is not None else "; none was ever applied"
    if failing:
        row = failing[0]
        was = "was refused" if row["status"] == "refused" else row["status"]
        said = f"the last {row['mode']} run {was} {_ago(row['age_seconds'])} (exit {row['exit_code']})"
        return health("failing", said + stands, f"fleetfuel runs {row['run_id']}")
    feeds = ", ".join(
        f"{row['mode']} applied {_ago(row['last_applied_age_seconds'])}"
        for row in rows
        if row["last_applied_age_seconds"] is not None
    )
    feed = f"; the export wrote {_ago(source_age)}" if source_age is not None else ""
    if last_applied is None or last_applied > LATE.total_seconds():
        hint = "Does the scheduler run? Its log says why not; `fleetfuel runs` lists the runs."
        return health("late", feeds + feed, hint)
    if source_age is not None and source_age > stale_after.total_seconds():
        return health("late", feeds + feed, "Does the export job run? What it wrote last is applied.")
    return health("fresh", feeds + feed, None)


def unknown_health(error: str) -> Health:
    """The health if the ledger cannot be read: failing. `error` is why, and in its further lines what to do."""
    said, _, hint = error.partition("\n")
    return Health(
        state="failing",
        said=said,
        next_step=" ".join(hint.split()) or None,
        last_applied_age_seconds=None,
        source_age_seconds=None,
    )


def _ago(seconds: float) -> str:
    return f"{ago(timedelta(seconds=seconds))} ago"
