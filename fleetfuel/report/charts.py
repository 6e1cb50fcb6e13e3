"""Charts of a report as SVG: rows by day of fill, by department, by vehicle. Needs the extra `fleetfuel[page]`.

Each chart is drawn four times, for wide and narrow screens, light and dark: the page shows the one that fits.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from fleetfuel.printable import one_line
from fleetfuel.report.choice import Days, Places
from fleetfuel.report.saved import GROUPS, OTHER

COLOURS: Final[Mapping[str, Sequence[str]]] = {
    "light": ("#c2410c", "#1d6fb8", "#7a5cc0", "#15803d", "#6b7280"),
    "dark": ("#fb8c5a", "#6cb2f2", "#b79df0", "#5cc98a", "#9ca3af"),
}
"""A colour for each of `GROUPS` and `OTHER`. They differ in lightness, too, for colour-blind people."""

INK: Final = {"light": ("#3f4753", "#d7dbe0"), "dark": ("#b8c0cc", "#39414d")}
"""Text and lines."""

WIDTHS: Final = {"wide": 1080, "narrow": 361}
LABEL: Final = 40
"""Characters of a name next to its bar."""
HALVES: Final = {"wide": 516, "narrow": 361}
"""Pixels of a chart over the page's whole width (`WIDTHS`), and over one of two columns."""
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One chart in its four forms."""

    svgs: Mapping[tuple[str, str], str]
    """("wide" or "narrow", "light" or "dark") → SVG."""
    alt: str
    """What it shows, in a sentence."""


def are_available() -> bool:
    """Whether the extra is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("altair", "vl_convert"))


def draw_days(days: Days) -> Drawing:
    """A bar a day of fill time (a week, over more than a year), coloured by group."""
    import altair as alt

    unit = "week" if days.is_weekly else "day"
    length = timedelta(days=7 if days.is_weekly else 1)
    span = (days.last - days.first + length).days
    broad = length * (0.86 if span < 200 else 1)
    start = datetime.min.time()
    data = alt.InlineData(
        values=[
            {
                "from": datetime.combine(day, start).isoformat(),
                "until": (datetime.combine(day, start) + broad).isoformat(),
                "group": group,
                "low": top - rows,
                "top": top,
            }
            for day, group, rows, top in _stacked(days.rows).iter_rows()
        ]
    )

    def chart(size: str, mode: str) -> Any:
        ticks = 12 if size == "wide" else 4
        step = {"interval": "day", "step": max(span // ticks, 1)}
        every = {"interval": "month", "step": max(span // 30 // ticks, 1)} if span > 30 * ticks else step
        axis = alt.Axis(tickCount=every, format="%b %Y" if span > 300 else "%-d %b", grid=False, labelOverlap=True)
        return (
            alt.Chart(data)
            .mark_rect()
            .encode(
                x=alt.X("from:T", title=None, axis=axis),
                x2="until:T",
                y=alt.Y("low:Q", title=f"rows a {unit}", axis=alt.Axis(tickMinStep=1, tickCount=4, format=",d")),
                y2="top:Q",
                color=_colour(days.rows["group"], mode),
            )
            .properties(width=WIDTHS[size], height=190 if size == "wide" else 150)
        )

    day, most = days.busiest
    alt_text = (
        f"Rows by {unit} of fill, from {days.first} to {days.last}; most in the {unit} of {day}: {most:,}."
        if days.is_weekly
        else f"Rows by day of fill, from {days.first} to {days.last}; most on {day}: {most:,}."
    )
    return Drawing(svgs=dict(_forms(chart)), alt=alt_text)


def _stacked(rows: pl.DataFrame) -> pl.DataFrame:
    """`day`, `group`, `rows`, and `top`: where the bar of a group ends, on top of those before it."""
    rank = pl.col("group").replace_strict({name: rank for rank, name in enumerate((*GROUPS, OTHER))})
    ordered = rows.sort("day", rank)
    return ordered.select("day", "group", "rows", top=pl.col("rows").cum_sum().over("day"))


def draw_places(places: Places, what: str) -> Drawing:
    """A bar a department or vehicle, most hit first, coloured by group."""
    import altair as alt

    groups = [name for name in places.rows.columns if name not in ("name", "total")]
    # A character that XML does not know would end the program, not the drawing alone.
    labels = [one_line(name, LABEL) if name else "(none)" for name in places.rows["name"]]
    named = places.rows.with_columns(label=pl.Series(labels, dtype=pl.String))
    long = named.unpivot(groups, index="label", variable_name="group", value_name="rows").filter(pl.col("rows") > 0)
    data = alt.InlineData(
        values=[{"label": label, "group": group, "rows": rows} for label, group, rows in long.iter_rows()]
    )

    def chart(size: str, mode: str) -> Any:
        room = 150 if size == "wide" else 130
        return (
            alt.Chart(data)
            .mark_bar(height={"band": 0.72})
            .encode(
                y=alt.Y("label:N", title=None, sort=labels, axis=alt.Axis(labelLimit=room, ticks=False, domain=False)),
                x=alt.X("rows:Q", title=None, axis=alt.Axis(tickMinStep=1, tickCount=4, format=",d")),
                color=_colour(long["group"], mode, has_legend=False),
                order=alt.Order("rank:Q"),
            )
            .transform_calculate(rank=f"indexof({[*GROUPS, OTHER]!r}, datum.group)")
            .properties(width=HALVES[size], height={"step": 22})
        )

    first = named.row(0, named=True)
    alt_text = f"Rows by {what}, most first: {first['label']} {first['total']:,}."
    return Drawing(svgs=dict(_forms(chart)), alt=alt_text)


def _colour(present: pl.Series, mode: str, *, has_legend: bool = True) -> Any:
    import altair as alt

    names = [name for name in (*GROUPS, OTHER) if name in set(present)]
    colours = dict(zip((*GROUPS, OTHER), COLOURS[mode], strict=True))
    legend = alt.Legend(title=None, orient="top", symbolType="square") if has_legend else None
    return alt.Color("group:N", scale=alt.Scale(domain=names, range=[colours[name] for name in names]), legend=legend)


def _forms(chart: Any) -> Iterator[tuple[tuple[str, str], str]]:
    import vl_convert

    for size in WIDTHS:
        for mode, (ink, line) in INK.items():
            axis = {"labelColor": ink, "titleColor": ink, "gridColor": line, "tickColor": line, "domainColor": line}
            plain = chart(size, mode).configure(
                background="transparent",
                autosize={"type": "fit-x", "contains": "padding"},
                font=FONT,
                axis=alt_axis(axis),
                legend={"labelColor": ink, "labelFontSize": 12},
                view={"stroke": None},
            )
            yield (size, mode), vl_convert.vegalite_to_svg(plain.to_dict(validate=False), allowed_base_urls=[])


def alt_axis(colours: Mapping[str, str]) -> dict[str, Any]:
    """How axes look: thin lines, labels large enough to be read."""
    return {**colours, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelFont": FONT}
