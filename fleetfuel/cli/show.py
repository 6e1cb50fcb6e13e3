"""The command that shows a saved report: its summary, its rows, or a page to look at. Needs no database."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from fleetfuel import errors
from fleetfuel.cli import options, terminal

if TYPE_CHECKING:
    from fleetfuel.report.saved import SavedReport
    from fleetfuel.rules.book import Rules

ALL: Final = "all"


class Rows(click.ParamType[str]):
    """A group of rows by any of its names: `deletes`, `soft_delete`, `soft-deletes`."""

    name = "ACTION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        word = str(value).lower().replace("_", " ").replace("-", " ").strip()
        known = {"soft delete": "soft deletes", "delete": "soft deletes", "insert": "inserts", "update": "updates"}
        known |= {"restore": "restores", ALL: ALL}
        found = known.get(word.removesuffix("s")) or known.get(word)
        if not found:
            hint = "deletes, inserts, updates, restores, or nothing for all of them"
            self.fail(f"{value!r} is no kind of row. There are: {hint}; REPORT comes before --rows", param, ctx)
        return found


@click.command("show", cls=options.Command, short_help="A saved report: its summary, its rows, or a page to look at.")
@click.argument("path", type=click.Path(path_type=Path), metavar="REPORT")
@click.option(
    "--rows",
    "group",
    type=Rows(),
    is_flag=False,
    flag_value=ALL,
    help="Show the rows: all, or those of ACTION (deletes, inserts, updates, restores).",
)
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write one page to look at, to print, to keep.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser of this desktop.")
@click.option("--csv", "as_csv", is_flag=True, help="The rows as CSV, for a spreadsheet or a pipe.")
@click.option("--json", "as_json", is_flag=True, help="The saved JSON object; with --rows a JSON list, a row a line.")
@click.option("--limit", type=options.MANY, metavar="N", help="How many rows: 40 to read, 2,000 on a page, else all.")
@click.option("--personal", is_flag=True, help="Show the values of driver, sender, message and unknown fields, too.")
def show_command(
    path: Path, *, group: str | None, page: Path | None, opens: bool, as_csv: bool, as_json: bool, limit: int | None,
    personal: bool,
) -> None:  # fmt: skip
    """What a saved report holds. It needs no database, so an auditor can look at it anywhere.

    \b
    fleetfuel show reports/20260611T170502Z-3f9a1c
    fleetfuel show reports/20260611T170502Z-3f9a1c --rows deletes
    fleetfuel show reports/20260611T170502Z-3f9a1c --html page.html
    """
    wants_page, wants_rows = bool(page or opens), bool(group or as_csv)
    if as_csv and as_json:
        raise click.UsageError("--csv and --json contradict each other.")
    if wants_page and (as_csv or as_json):
        raise click.UsageError("A page is neither CSV nor JSON: ask for them one after the other.")
    if not (wants_page or wants_rows) and (limit or personal):
        raise click.UsageError("--limit and --personal go with --rows, --csv, --html or --open.")
    if not (wants_page or wants_rows):
        _summary(path, as_json=as_json)
        return
    from fleetfuel.report import saved
    from fleetfuel.rules.book import load_rules

    settings = options.settings()
    rules = load_rules(settings.rules)
    report = saved.read_saved(path, rules, settings.timezone)
    chosen = None if group in (None, ALL) else group
    if wants_page:
        _page(report, rules, page, chosen, limit, opens=opens, personal=personal)
    else:
        for text in _rows(report, rules, chosen, limit, as_csv=as_csv, as_json=as_json, personal=personal):
            terminal.write(text)


def _summary(path: Path, *, as_json: bool) -> None:
    from fleetfuel.report import evidence, summary
    from fleetfuel.report.text import render_summary

    run = evidence.read_report(path)
    terminal.show(summary.as_json(run), render_summary(run, width=terminal.width()), as_json=as_json)


def _rows(
    report: SavedReport,
    rules: Rules,
    group: str | None,
    limit: int | None,
    *,
    as_csv: bool,
    as_json: bool,
    personal: bool,
) -> Iterator[str]:
    from fleetfuel.report import rows

    if as_csv:
        return rows.csv_lines(report, rules, group=group, limit=limit, personal=personal)
    if as_json:
        return rows.json_lines(report, rules, group=group, limit=limit, personal=personal)
    return rows.render_rows(
        report, rules, group=group, limit=limit or rows.READ, width=terminal.width(), personal=personal
    )


def _demand_no_other_file(path: Path) -> None:
    """A page replaces a page and nothing else: not the report that it shows, nor an export. Raises `FileUnwritable`."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(100)
    if head and not head.lstrip().lower().startswith(b"<!doctype html"):
        raise errors.FileUnwritable(path=path, reason="it is there already, and is no page")


def _page(
    report: SavedReport,
    rules: Rules,
    path: Path | None,
    group: str | None,
    limit: int | None,
    *,
    opens: bool,
    personal: bool,
) -> None:
    from fleetfuel.report import html

    made = html.render_page(report, rules, personal=personal, limit=limit or html.ROWS, group=group)
    if path is None:
        path = Path(tempfile.mkdtemp(prefix="fleetfuel-")) / f"{report.run['run_id']}.html"
    try:
        _demand_no_other_file(path)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(made.text)
    except OSError as error:
        raise errors.FileUnwritable(path=path, reason=error.strerror or str(error)) from None
    part = f"{made.rows:,} of {made.of:,} rows" if made.rows < made.of else f"{made.rows:,} rows"
    terminal.note_done(f"The page is in {path}.")
    terminal.write(f"Page    {path} ({part})\n")
    if not made.has_charts:
        click.echo("No charts are drawn. To have them: pip install 'fleetfuel[page]'", err=True)
    import webbrowser

    if opens and not webbrowser.open(path.resolve().as_uri()):
        click.echo("No browser could be started here: open the file yourself.", err=True)
