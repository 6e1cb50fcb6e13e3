"""The results as text and as JSON."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from .scenarios import SIZED, Result, sizes_of
from .targets import Verdict


def render_results(machine: Mapping[str, str], results: Sequence[Result], verdicts: Iterable[Verdict]) -> str:
    """Everything, for a person."""
    lines = [f"{name}: {value}" for name, value in machine.items()]
    for result in results:
        rounds = len(result.runs["fleetfuel"])
        lines += ["", f"{result.title} · {rounds} round{'' if rounds == 1 else 's'}, medians"]
        lines += aligned([HEADER, *_rows(result)])
    if memory := [*memory_a_record(results)]:
        lines += ["", "Memory a record, maps apart: what the client takes more of, by what there is more"]
        lines += aligned(
            [
                ("", "from", "to", "bytes"),
                *((name, f"{small:,}", f"{large:,}", f"{spent:,.0f}") for name, small, large, spent in memory),
            ]
        )
    judged = [*verdicts]
    if judged:
        lines += ["", "Targets"]
        lines += aligned(
            [
                ("target", "measured", "", "in CPU", "records"),
                *(
                    (
                        each.target,
                        f"{each.measured:.3g}",
                        each.said,
                        "" if each.in_cpu is None else f"{each.in_cpu:.3g}",
                        each.at,
                    )
                    for each in judged
                ),
            ]
        )
    return "\n".join(lines)


def memory_a_record(results: Sequence[Result]) -> Iterator[tuple[str, int, int, float]]:
    """Scenario, records of two sizes next to each other, and bytes: what a size that nobody measured would take."""
    for name in SIZED:
        for small, large in pairwise(sizes_of(results, name)):
            before, after = (each.median("fleetfuel", "peak_anonymous") for each in (small, large))
            yield name, small.records, large.records, (after - before) * 2**20 / (large.records - small.records)


HEADER = (
    "",
    "wall s",
    "per s",
    "CPU s",
    "server CPU s",
    "peak MiB",
    "without maps",
    "fleetfuel ÷ it, wall",
    "CPU, server's too",
)


def _rows(result: Result) -> Iterator[tuple[str, ...]]:
    for name, runs in result.runs.items():
        if not runs:
            continue
        wall = result.median(name, "wall")
        yield (
            name,
            f"{wall:.2f}",
            f"{result.records / wall:,.0f}" if result.records else "",
            f"{result.median(name, 'cpu'):.2f}",
            f"{result.median(name, 'server_cpu'):.2f}",
            f"{result.median(name, 'peak_rss'):,.0f}",
            f"{result.median(name, 'peak_anonymous'):,.0f}",
            "" if name == "fleetfuel" else spread(result.ratios(name)),
            "" if name == "fleetfuel" else spread(result.ratios(name, "whole_cpu")),
        )


def spread(ratios: Sequence[float]) -> str:
    """Median (least–most)."""
    middle = f"{statistics.median(ratios):.3g}"
    return middle if len(ratios) == 1 else f"{middle} ({min(ratios):.3g}–{max(ratios):.3g})"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, numbers to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if at == 0 or (not cell[:1].isdigit() and row is not rows[0]) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def as_object(machine: Mapping[str, str], results: Sequence[Result], verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """Everything, for a program."""
    return {
        "machine": dict(machine),
        "results": [
            {
                "scenario": result.scenario,
                "title": result.title,
                "records": result.records,
                "runs": {
                    name: [
                        {field: value for field, value in dataclasses.asdict(run).items() if field != "stdout"}
                        for run in runs
                    ]
                    for name, runs in result.runs.items()
                },
                "ratios": {
                    name: {what: result.ratios(name, what) for what in ("wall", "whole_cpu")}
                    for name in result.runs
                    if name != "fleetfuel"
                },
            }
            for result in results
        ],
        "memory": [
            dict(zip(("scenario", "from", "to", "bytes"), each, strict=True)) for each in memory_a_record(results)
        ],
        "targets": [
            {**dataclasses.asdict(verdict), "is_met": verdict.is_met, "said": verdict.said} for verdict in verdicts
        ],
    }
