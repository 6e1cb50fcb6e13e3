"""A report as one page to look at and to keep. It loads nothing from anywhere, and shows only what the report holds.

The template is `page/page.html.j2` (autoescaped). The style `page/page.css` and the script `page/page.js` are put into
the page; its policy allows them by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from fleetfuel.printable import one_line
from fleetfuel.report import charts, choice, page_words, saved
from fleetfuel.report.saved import SavedReport
from fleetfuel.report.shown import HIDDEN, MOST, ShownRow, open_fields, shown_row, visible_text
from fleetfuel.report.words import FILE_WORDS
from fleetfuel.rules.book import Rules

ROWS: Final = 2_000
"""A page holds at most so many rows, unless another number is asked for."""

SAMPLES: Final = 3
"""At most so many rejected records, or flags, are shown of each rule."""

TEMPLATES: Final = Path(__file__).parent / "page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page, and what the command reports of it."""

    text: str
    rows: int
    """Rows it holds."""
    of: int
    """Rows the report holds."""
    has_charts: bool


def render_page(
    report: SavedReport, rules: Rules, *, personal: bool = False, limit: int = ROWS, group: str | None = None
) -> Page:
    """The page of a report. It reads only the report's files and the template."""
    import jinja2

    counts = choice.count_groups(report)
    rows = [
        shown_row(row, rules, personal=personal)
        for row in choice.choose_rows(report, group, limit).iter_rows(named=True)
    ]
    drawn = charts.are_available()
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"n": _number, "line": _line, "moment": page_words.local_moment}
    days = choice.count_days(report)
    departments, vehicles = (choice.count_places(report, column) for column in ("department", "plate"))
    text = environment.get_template("page.html.j2").render(
        run=report.run,
        style=style,
        script=script,
        policy=_policy(style, script),
        verdict=page_words.verdict(report.run),
        facts=list(page_words.facts(report.run)),
        guards=report.run["guards"],
        commands=list(page_words.commands(report)),
        counts=page_words.counted_rows(report.run),
        changes=counts,
        columns=report.run["columns"],
        days=days,
        days_chart=_pictures(charts.draw_days(days)) if drawn and days else None,
        places=[
            _place("Departments", "department", departments, drawn=drawn and bool(counts)),
            _place("Vehicles", "vehicle", vehicles, drawn=drawn and bool(counts)),
        ],
        rows=rows,
        fields=sorted({changed.field for row in rows for changed in row.changed}),
        rejects=list(_rejects(report, rules, personal=personal)),
        flags=list(_flags(report, rules, personal=personal)),
        remarks=report.run["remarks"],
        files=report.run["files"],
        file_words=FILE_WORDS,
        folder=report.folder,
        group=group,
        personal=personal,
        hidden=HIDDEN,
    )
    return Page(text=text, rows=len(rows), of=sum(counts.values()), has_charts=drawn)


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy: no style and no script but these texts, images from the page itself, no request."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    return (
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    ).format(*hashes)


# --- where --------------------------------------------------------------------------------------------------------


def _place(title: str, what: str, places: choice.Places, *, drawn: bool) -> Mapping[str, Any]:
    groups = [name for name in places.rows.columns if name not in ("name", "total")]
    return {
        "title": title,
        "what": what,
        "groups": groups,
        "rows": [
            (one_line(name, MOST) if name else f"(no {what})", numbers)
            for name, *numbers in places.rows.select("name", *groups, "total").iter_rows()
        ],
        "others": places.others,
        "chart": _pictures(charts.draw_places(places, what)) if drawn and places.rows.height else None,
    }


def _pictures(drawing: charts.Drawing) -> Mapping[str, Any]:
    """The forms of a chart as data URLs of images: so nothing in a chart can act on the page."""
    urls = {
        f"{size}_{mode}": "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
        for (size, mode), svg in drawing.svgs.items()
    }
    return {"alt": drawing.alt, **urls}


# --- what was rejected, and what was flagged ----------------------------------------------------------------------


def _rejects(report: SavedReport, rules: Rules, *, personal: bool) -> Iterator[Mapping[str, Any]]:
    """A block a rule: how many, why, a few of the records."""
    path = report.folder / "rejects.parquet"
    totals = saved.collected(report.rejects.group_by("rule").len().sort("len", "rule", descending=[True, False]), path)
    for rule, rows in totals.iter_rows():
        few = saved.collected(report.rejects.filter(pl.col("rule") == rule).head(SAMPLES), path)
        yield {
            "rule": rule,
            "rows": rows,
            "why": _why(rules, rule),
            "samples": [
                {
                    "id": row["id"],
                    "place": _place_of(row),
                    "reason": one_line(row["reason"] or "", 300),
                    "content": _content(row, rules, personal=personal),
                }
                for row in few.iter_rows(named=True)
            ],
        }


def _content(row: Mapping[str, Any], rules: Rules, *, personal: bool) -> str:
    text = visible_text(row["content"], rules, personal=personal)
    if text is None:
        return "(no readable record; --personal shows its text)" if not personal else "(no text)"
    return one_line(text, 600)


def _flags(report: SavedReport, rules: Rules, *, personal: bool) -> Iterator[Mapping[str, Any]]:
    """A block a check that flagged records: they fail it, and are loaded all the same."""
    path, visible = report.folder / "notices.parquet", open_fields(rules) | set(rules.fields) - rules.personal
    checks = report.notices.filter((pl.col("severity") == "warn") & pl.col("position").is_not_null())
    totals = saved.collected(checks.group_by("rule").len().sort("len", "rule", descending=[True, False]), path)
    for rule, rows in totals.iter_rows():
        few = saved.collected(checks.filter(pl.col("rule") == rule).head(SAMPLES), path)
        yield {
            "rule": rule,
            "rows": rows,
            "why": _why(rules, rule),
            "samples": [
                {
                    "id": row["id"],
                    "place": _place_of(row),
                    "field": one_line(row["field"] or "", MOST),
                    "value": one_line(row["value"] or "", MOST) if personal or row["field"] in visible else HIDDEN,
                }
                for row in few.iter_rows(named=True)
            ],
        }


def _why(rules: Rules, code: str) -> str:
    return next((check.why for check in rules.checks if check.code == code), "")


def _place_of(row: Mapping[str, Any]) -> str:
    where = one_line(row["source_key"] or "", 300)
    return where if row["position"] is None else f"{where}, position {row['position']:,}"


# --- words --------------------------------------------------------------------------------------------------------


def _number(number: int) -> str:
    return f"{number:,}"


def _line(text: object, most: int = 300) -> str:
    return one_line("" if text is None else str(text), most)


__all__ = ["ROWS", "Page", "ShownRow", "render_page"]
