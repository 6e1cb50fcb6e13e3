"""A report as one page to look at and to keep: no request to anywhere, no values of its own, read by anybody.

The template is `page/page.html.j2` (autoescaped); style and script are `page/page.css` and `page/page.js`, put into the
page and allowed by their hashes alone.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from fleetfuel.printable import counted
from fleetfuel.records.values import EAST_AFRICA
from fleetfuel.report import charts, choice, saved
from fleetfuel.report.saved import SavedReport
from fleetfuel.report.shown import HIDDEN, ShownRow, one_line, open_fields, shown_row, visible_text
from fleetfuel.report.words import FILE_WORDS, ago
from fleetfuel.rules.book import Rules

ROWS: Final = 2_000
"""Rows that a page holds at the most, unless more are asked for."""

SAMPLES: Final = 3
"""Rejected records and flags that are shown of each rule."""

TEMPLATES: Final = Path(__file__).parent / "page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page, and what is to be said of it."""

    text: str
    rows: int
    """Rows it holds."""
    of: int
    """Rows the report holds."""
    has_charts: bool


def render_page(
    report: SavedReport, rules: Rules, *, personal: bool = False, limit: int = ROWS, group: str | None = None
) -> Page:
    """The page of a report. Pure, but for the report's files and the template."""
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
    environment.filters |= {"n": _number, "line": _line, "moment": _moment}
    days = choice.count_days(report)
    departments, vehicles = (choice.count_places(report, column) for column in ("department", "plate"))
    text = environment.get_template("page.html.j2").render(
        run=report.run,
        style=style,
        script=script,
        policy=_policy(style, script),
        verdict=_verdict(report.run),
        facts=list(_facts(report.run)),
        guards=report.run["guards"],
        commands=list(_commands(report)),
        counts=_counts(report.run),
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
    """What the page may do: show itself. Styles and scripts only if they are these very texts."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    return (
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    ).format(*hashes)


# --- what happened ------------------------------------------------------------------------------------------------

DID: Final = {
    "soft_deletes": ("soft-delete", "soft-deleted"),
    "inserts": ("insert", "inserted"),
    "updates": ("update", "updated"),
    "restores": ("restore", "restored"),
}


def _verdict(run: Mapping[str, Any]) -> Mapping[str, str]:
    """A word, a headline and a sentence."""
    counts = run["counts"]
    done = [f"{words[bool(run['applied'])]} {counts[name]:,}" for name, words in DID.items() if counts[name]]
    what = _joined(done)
    if run["guards"] and not run["applied"]:
        said = f"It would {what}." if done else "It would change no row."
        return {"kind": "refused", "title": "Refused: nothing was loaded", "said": said}
    if not done:
        said = "The table holds what the feed says."
        return {"kind": "same", "title": "No changes" + ("" if run["applied"] else " (dry run)"), "said": said}
    if run["applied"]:
        return {"kind": "applied", "title": "Applied", "said": f"It {what}."}
    if run["to_apply"]:
        said = f"It was to {what}. Whether it did is said by: fleetfuel runs {run['run_id']}"
        return {"kind": "dry", "title": "Written before the load, which did not end", "said": said}
    return {"kind": "dry", "title": "Dry run: nothing was written", "said": f"It would {what}."}


def _joined(parts: Sequence[str]) -> str:
    if not parts:
        return ""
    records = [*parts[:-1], parts[-1] + " records"]
    return records[0] if len(records) == 1 else f"{', '.join(records[:-1])} and {records[-1]}"


def _facts(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who, when, from where, how old, with what."""
    mode = run["mode"] if run["mode"] != "file" else f"file, read as {run['read_as']}"
    yield "Run", f"{run['run_id']} ({mode})"
    yield "When", _moment(run["started_at"]) + (f", in {run['seconds']:,.1f} s" if run["seconds"] is not None else "")
    if run["role"]:
        yield "Who", f"{run['role']}, logged in to the database"
    yield "Source", str(run["source"])
    if run["source_at"]:
        age = _instant(run["started_at"]) - _instant(run["source_at"])
        yield "As of", f"{_moment(run['source_at'])}, {ago(age)} before the run"
    if run["as_of"]:
        yield "Table", f"as it stood at {_moment(run['as_of'])}"
    held = counted(run["counts"]["records"], "record")
    yield "It holds", held + (f" and {counted(run['counts']['skipped'], 'marker')}" if run["counts"]["skipped"] else "")
    yield "Table before", counted(run["live_before"], "live row")
    yield "Release", f"fleetfuel {run['version']}, rules {str(run['rules_digest'])[:12]}"
    if run["checksum"]:
        yield "Checksum", str(run["checksum"])
    for name, key in (("Plan of", "planned_by"), ("Applied by", "applied_by"), ("It undoes", "undoes")):
        if run[key]:
            who = f", logged in as {run['applied_role']}" if key == "applied_by" and run["applied_role"] else ""
            yield name, f"run {run[key]}{who}"
    if run["conflicts"]:
        yield "Conflicts", f"{counted(run['conflicts'], 'row')} written since, left as written"


def _commands(report: SavedReport) -> Iterator[tuple[str, str]]:
    """(what it is for, the command) that a person would type next; none if it is done, or if a rule has to change."""
    run = report.run
    options = _overrides(run["guards"])
    changes = any(run["counts"][name] for name in DID)
    if run["applied"] or run["as_of"] or options is None or not (changes or run["guards"]):
        return
    if not any(option.startswith("--as") for option in options):
        skips = ["--skip-conflicts"] if run["conflicts"] else []
        why = "If that is right, this lets it through, once, as it is here:" if run["guards"] else "To do exactly this:"
        yield why, " ".join(["fleetfuel apply", shlex.quote(str(report.folder)), *options, *skips])
    if run["guards"] and run["mode"] != "undo":
        yield "The feed may have moved on. To let through what it holds by then:", _import(run, options)


def _import(run: Mapping[str, Any], options: Sequence[str]) -> str:
    words = ["fleetfuel", "import"]
    if run["mode"] == "file":
        words += [word for file in run["files"] for word in ("--file", str(file["key"]))]
    else:
        words += [f"--{run['mode']}"]
    is_default = run["read_as"] == ("snapshot" if run["mode"] == "snapshot" else "changes")
    given = "" if is_default or any(option.startswith("--as") for option in options) else f"--as {run['read_as']}"
    return " ".join([*map(shlex.quote, words), *filter(None, [given]), "--apply", *options])


def _overrides(guards: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The options that let all of the guards through, each once, with its greatest number; None if a rule has to be
    changed instead."""
    options: dict[str, str] = {}
    for guard in guards:
        option = str(guard["override"]).partition(" (")[0]
        if not option.startswith("--"):
            return None
        name, _, number = option.partition(" ")
        if name not in options or (number.isdigit() and int(number) > int(options[name].partition(" ")[2])):
            options[name] = option
    return [*options.values()]


def _counts(run: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """(what, how many, detail), soft deletes first."""
    counts = run["counts"]
    absent, flagged = counts["soft_deletes_absent"], counts["soft_deletes_flagged"]
    detail = [f"{absent:,} gone from the snapshot"] * bool(absent) + [f"{flagged:,} marked deleted"] * bool(flagged)
    rows = [
        ("soft deletes", counts["soft_deletes"], ", ".join(detail)),
        ("inserts", counts["inserts"], ""),
        ("updates", counts["updates"], ""),
        ("restores", counts["restores"], ""),
        ("unchanged", counts["unchanged"], ""),
        ("stale", counts["stale"], "older than what the table holds: left alone"),
        ("superseded", counts["superseded"], "an older version of a record in the same feed"),
        ("rejected", counts["rejected"], "not loaded, kept whole in the report"),
        ("flagged", counts["warned"], "loaded, and worth a look"),
    ]
    always = ("soft deletes", "inserts", "updates", "unchanged", "rejected")
    return [row for row in rows if row[1] or row[0] in always]


# --- where --------------------------------------------------------------------------------------------------------


def _place(title: str, what: str, places: choice.Places, *, drawn: bool) -> Mapping[str, Any]:
    groups = [name for name in places.rows.columns if name not in ("name", "total")]
    return {
        "title": title,
        "what": what,
        "groups": groups,
        "rows": [
            (one_line(name) if name else f"(no {what})", numbers)
            for name, *numbers in places.rows.select("name", *groups, "total").iter_rows()
        ],
        "others": places.others,
        "chart": _pictures(charts.draw_places(places, what)) if drawn and places.rows.height else None,
    }


def _pictures(drawing: charts.Drawing) -> Mapping[str, Any]:
    """The forms of a chart as data that an image shows: what it holds cannot act on the page."""
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
    """A block a check that records fail and load all the same."""
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
                    "field": one_line(row["field"] or ""),
                    "value": one_line(row["value"] or "") if personal or row["field"] in visible else HIDDEN,
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


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _moment(text: str | None) -> str:
    """An instant in UTC, and what the clock says in East Africa."""
    if text is None:
        return "never"
    moment = _instant(text)
    return f"{moment:%Y-%m-%d %H:%M:%SZ} ({moment.astimezone(EAST_AFRICA):%H:%M} EAT)"


__all__ = ["ROWS", "Page", "ShownRow", "render_page"]
