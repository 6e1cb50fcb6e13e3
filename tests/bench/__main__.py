"""`python -m tests.bench`: what a run costs next to the least it could cost and next to what is usually written.

Contenders run in turn in one session, each as a whole process against a fresh copy of the same database; what counts
is their ratio. Needs Linux; the naive contenders need psycopg and are left out without it. 10m needs 60 GB of disk.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from .against import FIRST_WAVE, measure_against, render_pairs
from .budget import check_budget
from .findings import all_logs, measure_findings, render_findings
from .measure import ContenderFailed
from .plot import render_plot
from .scenarios import HOURLY, SIZED, Result, has_psycopg, measure_scenario
from .stage import SETTINGS, Stage, open_stage
from .table import as_object, render_results
from .targets import judge
from .trigger import measure_trigger
from .views import measure_views

GROUPS: Final = (*SIZED, "changes", "startup")

ON_REQUEST: Final = ("loaders",)
"""Measured only if asked for: it installs the loaders."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    results: list[Result] = []
    failure = None
    with open_stage(is_here=options.here) as stage:
        machine = _machine(stage)
        if options.what == "budget":
            return check_budget(stage, options.rounds or 5)
        if options.what == "trigger":
            _trigger(stage, options)
            return 0
        if options.what == "findings":
            with stage.database(stage.migrated) as uri:
                print(render_findings(*measure_findings(uri, all_logs())))
            return 0
        if options.what == "views" and options.against:
            for size in options.sizes:
                pairs = measure_against(stage, size, options.against, options.rounds or 3)
                print(render_pairs(size, options.against, pairs))
            return 0
        if options.what == "views":
            for size in options.sizes:
                print(measure_views(stage, size, options.rounds or 3).render())
            return 0
        try:
            for result in _results(stage, options):
                results.append(result)  # what was measured is reported though a later contender fails
        except ContenderFailed as failed:
            failure = failed
            print(f"Stopped: {failure}", file=sys.stderr)
    if results:
        _tell(machine, results, options)
    return 1 if failure else 0


def _tell(machine: Mapping[str, str], results: Sequence[Result], options: argparse.Namespace) -> None:
    verdicts = [*judge(results)]
    if options.plot and any(result.scenario in SIZED for result in results):
        options.plot.write_text(render_plot(results), encoding="utf-8")
    if options.json:
        print(json.dumps(as_object(machine, results, verdicts), ensure_ascii=False, indent=2))
    else:
        print(render_results(machine, results, verdicts))


def _results(stage: Stage, options: argparse.Namespace) -> Iterator[Result]:
    for size in options.sizes:
        rounds = options.rounds or (5 if size <= 20_000 else 3 if size <= 1_000_000 else 1)
        for name in SIZED:
            if name in options.only:
                yield measure_scenario(name, stage, size, rounds)
        if "loaders" in options.only:
            for name in ("loaders_first", "loaders_again"):
                yield measure_scenario(name, stage, size, rounds)
        if size != HOURLY:
            stage.forget(size)
    if "changes" in options.only:
        yield measure_scenario("changes", stage, options.files, options.rounds or 3)
    if "startup" in options.only:
        for name in ("help", "quiet_hour", "busy_hour"):
            yield measure_scenario(name, stage, 0, options.rounds or 7)


def _trigger(stage: Stage, options: argparse.Namespace) -> None:
    for size in options.sizes:
        cost = measure_trigger(stage, size, options.rounds or 5)
        print(json.dumps({**dataclasses.asdict(cost), "ratio": cost.ratio}) if options.json else cost.render())


def _machine(stage: Stage) -> dict[str, str]:
    """What the figures depend on."""
    memory = int(re.findall(r"\d+", Path("/proc/meminfo").read_text())[0]) / 2**20
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return {
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, load {load} at the start",
        "python": platform.python_version(),
        "postgresql": f"{stage.server.version} with {', '.join(f'{k}={v}' for k, v in SETTINGS.items())}",
        "naive": "json.load and psycopg executemany" if has_psycopg() else "not measured: psycopg is not installed",
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=["runs", "budget", "trigger", "views", "findings"],
        default="runs",
        help="or the cost of these alone; budget: an hour against its floor, exit 1 beyond it",
    )
    parser.add_argument(
        "--sizes", type=_sizes, help="numbers of records: 10k,100k,1m (the default; trigger: 100k), 10m"
    )
    parser.add_argument("--only", type=_groups, default=GROUPS, help=f"of {','.join((*GROUPS, *ON_REQUEST))}")
    parser.add_argument("--rounds", type=int, help="how often each contender runs (3 or more up to 1m, else 1)")
    parser.add_argument(
        "--here", action="store_true", help="run in this environment, not in one with what is installed"
    )
    parser.add_argument("--files", type=int, default=1_000, help="how many change files")
    parser.add_argument(
        "--against",
        nargs="?",
        const=FIRST_WAVE,
        metavar="COMMIT",
        help=f"views: next to those of this commit, in turn (needs git; {FIRST_WAVE} where none is named)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="write cost against size")
    options = parser.parse_args(arguments)
    options.sizes = options.sizes or ([100_000] if options.what == "trigger" else [10_000, 100_000, 1_000_000])
    return options


def _sizes(text: str) -> list[int]:
    sizes = []
    for each in text.lower().split(","):
        found = re.fullmatch(r"(\d+)([km]?)", each.strip())
        if found is None or not int(found[1]):
            raise argparse.ArgumentTypeError(f"{each!r} is no number of records; 10k and 1m are")
        sizes.append(int(found[1]) * {"": 1, "k": 1_000, "m": 1_000_000}[found[2]])
    return sorted(set(sizes))


def _groups(text: str) -> list[str]:
    groups = [each.strip() for each in text.split(",")]
    for each in groups:
        if each not in (*GROUPS, *ON_REQUEST):
            raise argparse.ArgumentTypeError(f"{each!r} is none of {', '.join((*GROUPS, *ON_REQUEST))}")
    return groups


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
