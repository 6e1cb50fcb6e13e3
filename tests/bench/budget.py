"""What an hour may cost next to its floor: CPU of both in turns, in one run.

A machine's speed is nobody's business here: only ratios are held against a limit. Neighbours only ever add to CPU time,
so the least of each is what counts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

from .scenarios import measure_scenario
from .stage import Stage
from .table import aligned

HELD: Final[Mapping[str, float]] = {"help": 1.5, "quiet_hour": 1.3, "busy_hour": 1.5}
"""Scenario → how many times its floor's CPU it may take, the server's included. The floor of an hour with changes
judges a record; it neither decides nor reports nor writes, and computes no facts."""

QUICK: Final = 3
"""Times as many rounds for what takes a tenth of a second."""


def check_budget(stage: Stage, rounds: int) -> int:
    """Measure and print; the exit code: 1 if a ratio is beyond the limit."""
    rows = [("CPU seconds", "fleetfuel", "floor", "ratio", "at most", "")]
    is_kept = True
    for name, limit in HELD.items():
        result = measure_scenario(name, stage, 0, rounds * QUICK if name == "help" else rounds)
        own, floor = (min(run.whole_cpu for run in result.runs[who]) for who in ("fleetfuel", "floor"))
        is_kept &= own / floor <= limit
        verdict = "kept" if own / floor <= limit else "exceeded"
        rows.append((result.title, f"{own:.2f}", f"{floor:.2f}", f"{own / floor:.2f}", f"{limit:g}", verdict))
    print("\n".join(aligned(rows)))
    if not is_kept:
        print("An hour costs more than it may: `python -X importtime` and cProfile tell where.", file=sys.stderr)
    return 0 if is_kept else 1
