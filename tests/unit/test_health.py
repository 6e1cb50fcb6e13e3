"""Fresh, late or failing, from what the ledger says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fleetfuel.report.health import EXIT_CODES, judge_health

MINUTES, HOURS = 60, 3600


def mode(name: str, **changed: Any) -> dict[str, Any]:
    """A mode that was applied five minutes ago from an export of an hour ago."""
    row = {
        "mode": name,
        "run_id": f"{name}-run",
        "status": "applied",
        "exit_code": 0,
        "age_seconds": 5 * MINUTES,
        "last_applied_age_seconds": 5 * MINUTES,
        "source_age_seconds": HOURS,
    }
    return row | changed


REFUSED = {"status": "refused", "exit_code": 3}


@pytest.mark.parametrize(
    ("rows", "state", "said"),
    [
        ([], "failing", "no run is in the ledger"),
        ([mode("snapshot")], "fresh", "snapshot applied 5 minutes ago; the export wrote 60 minutes ago"),
        ([mode("snapshot"), mode("changes")], "fresh", "snapshot applied"),
        (
            [mode("snapshot", **REFUSED, last_applied_age_seconds=HOURS)],
            "failing",
            "was refused 5 minutes ago (exit 3)",
        ),
        ([mode("snapshot", **REFUSED, last_applied_age_seconds=None)], "failing", "none was ever applied"),
        ([mode("snapshot"), mode("changes", **REFUSED, age_seconds=20 * MINUTES)], "failing", "the last changes run"),
        ([mode("snapshot"), mode("changes", **REFUSED, age_seconds=30 * HOURS)], "fresh", "snapshot applied"),
        ([mode("snapshot", **REFUSED, age_seconds=30 * HOURS)], "failing", "refused"),
        ([mode("snapshot", last_applied_age_seconds=3 * HOURS, age_seconds=3 * HOURS)], "late", "3 hours ago"),
        ([mode("snapshot", source_age_seconds=170 * 24 * HOURS)], "late", "the export wrote 170 days ago"),
        ([mode("snapshot", source_age_seconds=4 * HOURS), mode("changes")], "fresh", "the export wrote 60 minutes ago"),
        ([mode("snapshot", source_age_seconds=None)], "fresh", "snapshot applied"),
    ],
)
def test_the_state_of_the_feed(rows: list[dict[str, Any]], state: str, said: str) -> None:
    found = judge_health(rows, stale_after=timedelta(hours=3))
    assert (found.state, found.exit_code) == (state, EXIT_CODES[state])
    assert said in found.said
    assert (found.next_step is None) == (state == "fresh")
    assert "\n" not in found.said
