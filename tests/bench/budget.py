"""What an hour may cost next to its floor: CPU of both in turns, in one run.

A machine's speed is nobody's business here: only ratios are held against a limit. Neighbours only ever add to CPU time,
so the least of each is what counts.
"""

from __future__ import annotations

import sys
from typing import Final

from .scenarios import measure_scenario
from .stage import Stage
from .table import aligned

HELD: Final = ("help", "quiet_hour", "busy_hour")
"""Scenarios that are held to `LIMIT`."""

LIMIT: Final = 1.5
"""Times the floor's CPU, the server's included."""


def check_budget(stage: Stage, rounds: int) -> int:
    """Measure and print; the exit code: 1 where a ratio is beyond the limit."""
    rows = [("CPU seconds", "fleetfuel", "floor", "ratio", f"at most {LIMIT:g}")]
    is_kept = True
    for name in HELD:
        result = measure_scenario(name, stage, 0, rounds)
        own, floor = (min(run.whole_cpu for run in result.runs[who]) for who in ("fleetfuel", "floor"))
        is_kept &= own / floor <= LIMIT
        verdict = "kept" if own / floor <= LIMIT else "exceeded"
        rows.append((result.title, f"{own:.2f}", f"{floor:.2f}", f"{own / floor:.2f}", verdict))
    print("\n".join(aligned(rows)))
    if not is_kept:
        print("An hour costs more than it may: `python -X importtime` and cProfile tell where.", file=sys.stderr)
    return 0 if is_kept else 1
