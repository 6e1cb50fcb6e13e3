"""Cost against size as a small SVG: one panel a scenario, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from .scenarios import Name, Result, sizes_of

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 330, 280, 52, 34, 74, 42
COLOURS: Final[dict[Name, str]] = {"fleetfuel": "#0b6e99", "floor": "#777777", "naive": "#c0392b"}
PANELS: Final = {"fresh": "Fresh load", "unchanged": "Unchanged", "changed": "1 % changed"}

Point = tuple[float, float]


def render_plot(results: Sequence[Result]) -> str:
    """An SVG document with a panel for each scenario that was measured at some size."""
    panels = {name: [*sizes_of(results, name)] for name in PANELS}
    shown = {name: found for name, found in panels.items() if found}
    sizes = sorted({each.records for found in shown.values() for each in found})
    walls = [each.median(name, "wall") for found in shown.values() for each in found for name in _measured(each)]
    if not walls:
        raise ValueError("nothing to plot: fresh, unchanged or changed has to be measured")
    floor = 10 ** math.floor(math.log10(min(walls)))
    ceiling = 10 ** math.ceil(math.log10(max(walls)))
    body = "".join(
        f'<g transform="translate({number * WIDTH},0)">{_panel(PANELS[name], found, sizes, floor, ceiling)}</g>'
        for number, (name, found) in enumerate(shown.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * len(shown)} {HEIGHT}" '
        'font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>{body}</svg>\n'
    )


def _panel(title: str, results: Sequence[Result], sizes: Sequence[int], floor: float, ceiling: float) -> str:
    def place(records: float, seconds: float) -> Point:
        across = _share(records, sizes[0], sizes[-1])
        up = _share(seconds, floor, ceiling)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<text x="{LEFT}" y="{TOP - 14}" font-size="13" font-weight="bold">{escape(title)}</text>']
    for exponent in range(round(math.log10(floor)), round(math.log10(ceiling)) + 1):
        _, y = place(sizes[0], 10**exponent)
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10**exponent:g} s</text>')
    for size in sizes:
        x, _ = place(size, floor)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}" stroke="#555555"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{_short(size)}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{bottom + 33}" text-anchor="middle">records</text>')
    parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}" stroke="#555555"/>')
    lines: list[tuple[float, Name, list[Point]]] = []
    for name in COLOURS:
        points = [place(each.records, each.median(name, "wall")) for each in results if name in _measured(each)]
        if points:
            lines.append((points[-1][1], name, points))
    lowest = -math.inf
    for y, name, points in sorted(lines):
        label = lowest = max(y, lowest + 13)
        path = " ".join(f"{x:.1f},{at:.1f}" for x, at in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        parts += (f'<circle cx="{x:.1f}" cy="{at:.1f}" r="3" fill="{COLOURS[name]}"/>' for x, at in points)
        parts.append(f'<text x="{points[-1][0] + 8:.1f}" y="{label + 4:.1f}" fill="{COLOURS[name]}">{name}</text>')
    return "".join(parts)


def _measured(result: Result) -> Iterator[Name]:
    yield from (name for name, runs in result.runs.items() if runs)


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if low == high else (math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low))


def _short(size: int) -> str:
    return f"{size / 1e6:g}M" if size >= 1_000_000 else f"{size / 1e3:g}k"
