"""The commands that look at what was: runs, rejects, history, status."""

from __future__ import annotations

import dataclasses
import sys

import click

from fleetfuel import errors
from fleetfuel.cli import options, terminal


@click.command("runs", cls=options.Command, short_help="Did it run, and what did it do?")
@click.argument("run_id", required=False, metavar="[ID]")
@click.option(
    "--status", type=click.Choice(["applied", "refused", "failed", "began"]), help="Only runs with this status."
)
@click.option("--last", type=options.MANY, default=20, show_default=True, metavar="N", help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of runs, or the run in full.")
def runs_command(run_id: str | None, *, status: str | None, last: int, as_json: bool) -> None:
    """Did it run, and what did it do? The ledger has every run that could write: applied, refused, failed,
    or begun and not ended. Dry runs are not in it.

    ID is a run's id, the beginning of one, or `last`.

    \b
    fleetfuel runs
    fleetfuel runs --status refused
    fleetfuel runs last
    fleetfuel runs 20260611T170502Z-3f9a1c
    """
    settings = options.settings()
    url = settings.require_database_url()
    from datetime import UTC, datetime

    from fleetfuel.report.runs import read_run, read_runs, render_run, render_runs
    from fleetfuel.table import database

    with database.connect(url) as connection:
        connection.begin(read_only=True)
        if run_id is not None:
            found = read_run(connection, run_id)
            terminal.show(found, render_run(found, width=terminal.width()), as_json=as_json)
        else:
            runs = read_runs(connection, status=status, last=last)
            text = render_runs(runs, width=terminal.width(), now=datetime.now(UTC), status=status)
            terminal.show(runs, text, as_json=as_json)


@click.command("rejects", cls=options.Command, short_help="Why was this record rejected?")
@click.option("--open", "only_open", is_flag=True, help="Only those that no later run has resolved.")
@click.option("--last", type=options.MANY, default=20, show_default=True, metavar="N", help="How many.")
@click.option("--personal", is_flag=True, help="Show the whole record: driver, sender, message, unknown fields.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def rejects_command(*, only_open: bool, last: int, personal: bool, as_json: bool) -> None:
    """Why was this record rejected? What applied runs rejected, each record with rule, file and position.

    \b
    fleetfuel rejects --open
    """
    settings = options.settings()
    url = settings.require_database_url()
    from fleetfuel.report.rejects import read_rejects, render_rejects
    from fleetfuel.rules.book import load_rules
    from fleetfuel.table import database

    rules = load_rules(settings.rules)
    with database.connect(url) as connection:
        connection.begin(read_only=True)
        rejects, total = read_rejects(connection, rules, only_open=only_open, last=last, personal=personal)
    terminal.show(rejects, render_rejects(rejects, total, width=terminal.width(), only_open=only_open), as_json=as_json)


@click.command("history", cls=options.Command, short_help="Who changed this, when, from which file?")
@click.argument("record", type=options.BIGINT, metavar="ID")
@click.option("--personal", is_flag=True, help="Show the values of driver, sender, message and unknown fields, too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def history_command(record: int, *, personal: bool, as_json: bool) -> None:
    """Who changed this, when, from which file? Every version of one record, edits by hand included.

    ID is the record's id in the feed and in the views.

    \b
    fleetfuel history 1042
    """
    settings = options.settings()
    url = settings.require_database_url()
    from fleetfuel.report.history import read_history, render_history
    from fleetfuel.rules.book import load_rules
    from fleetfuel.table import database

    rules = load_rules(settings.rules)
    with database.connect(url) as connection:
        connection.begin("repeatable read", read_only=True)
        history = read_history(connection, record, rules, personal=personal)
    terminal.show(history, render_history(history, width=terminal.width()), as_json=as_json)


@click.command("status", cls=options.Command, short_help="Fresh, late or failing, in one line.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status_command(*, as_json: bool) -> None:
    """Does the table follow the feed? One line and an exit code, for uptime checks.

    \b
    0  fresh     a run was applied within two hours, and the export has not stalled
    1  late      no run was applied for two hours, or the export has stalled
    2  failing   the last run was refused or failed, or the ledger cannot be read

    \b
    fleetfuel status
    """
    from datetime import timedelta

    from fleetfuel.report import health
    from fleetfuel.rules.book import load_rules
    from fleetfuel.table import database

    try:
        settings = options.settings()
        stale_after = timedelta(hours=load_rules(settings.rules).guards.stale_feed_hours)
        with database.connect(settings.require_database_url(), application_name="fleetfuel status") as connection:
            connection.begin(read_only=True)
            found = health.judge_health(connection.rows("read_health"), stale_after=stale_after)
    except errors.FleetfuelError as error:
        found = health.unknown_health(str(error))
    line = f"{found.state}: {found.said}" + (f" → {found.next_step}" if found.next_step else "")
    terminal.show(dataclasses.asdict(found) | {"exit_code": found.exit_code}, line + "\n", as_json=as_json)
    sys.exit(found.exit_code)
