"""The commands that look at what was: runs, rejects, history."""

from __future__ import annotations

import json
from typing import Any

import click

from fleetfuel.cli import terminal
from fleetfuel.settings import read_settings


@click.command("runs", short_help="Did it run, and what did it do?")
@click.argument("run_id", required=False, metavar="[ID]")
@click.option("--status", type=click.Choice(["applied", "refused", "failed", "began"]), help="Only runs that ended so.")
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of runs, or the run in full.")
def runs_command(run_id: str | None, *, status: str | None, last: int, as_json: bool) -> None:
    """Did it run, and what did it do? The ledger of runs that could write: applied, refused or failed,
    or begun and never ended.

    ID is a run's id, the beginning of one, or `last`.

    \b
    fleetfuel runs
    fleetfuel runs --status refused
    fleetfuel runs last
    fleetfuel runs 20260611T170502Z-3f9a1c
    """
    settings = read_settings()
    url = settings.require_database_url()
    from datetime import UTC, datetime

    from fleetfuel.report import ledger
    from fleetfuel.table import database

    with database.connect(url) as connection:
        connection.begin(read_only=True)
        if run_id:
            found = ledger.read_run(connection, run_id)
            _print(found, ledger.render_run(found, width=terminal.width()), as_json=as_json)
        else:
            runs = ledger.read_runs(connection, status=status, last=last)
            text = ledger.render_runs(runs, width=terminal.width(), now=datetime.now(UTC), status=status)
            _print(runs, text, as_json=as_json)


@click.command("rejects", short_help="Why was this record refused?")
@click.option("--open", "only_open", is_flag=True, help="Only those that no later run has resolved.")
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many.")
@click.option("--personal", is_flag=True, help="Show the whole record: driver, sender, message, unknown fields.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def rejects_command(*, only_open: bool, last: int, personal: bool, as_json: bool) -> None:
    """Why was this refused? The records that applied runs set aside, each with its rule, its file and its place in it.

    \b
    fleetfuel rejects --open
    """
    settings = read_settings()
    url = settings.require_database_url()
    from fleetfuel.report import ledger
    from fleetfuel.rules.book import load_rules
    from fleetfuel.table import database

    rules = load_rules(settings.rules)
    with database.connect(url) as connection:
        connection.begin(read_only=True)
        rejects, total = ledger.read_rejects(connection, rules, only_open=only_open, last=last, personal=personal)
    _print(rejects, ledger.render_rejects(rejects, total, width=terminal.width(), only_open=only_open), as_json=as_json)


@click.command("history", short_help="Who changed this, when, from which file?")
@click.argument("record", type=int, metavar="ID")
@click.option("--personal", is_flag=True, help="Show the values of driver, sender, message and unknown fields, too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def history_command(record: int, *, personal: bool, as_json: bool) -> None:
    """Who changed this, when, from which file? Every version of one record, edits by hand included.

    ID is the record's id in the feed and in the views.

    \b
    fleetfuel history 1042
    """
    settings = read_settings()
    url = settings.require_database_url()
    from fleetfuel.report import ledger
    from fleetfuel.rules.book import load_rules
    from fleetfuel.table import database

    rules = load_rules(settings.rules)
    with database.connect(url) as connection:
        connection.begin("repeatable read", read_only=True)
        history = ledger.read_history(connection, record, rules, personal=personal)
    _print(history, ledger.render_history(history, width=terminal.width()), as_json=as_json)


def _print(found: Any, text: str, *, as_json: bool) -> None:
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else text, nl=as_json)
