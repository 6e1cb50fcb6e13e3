"""The commands that keep house: migrate, prune, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fleetfuel.cli import options, terminal
from fleetfuel.settings import read_settings


@click.command("migrate", short_help="Bring schema and rules up to date.")
@click.option("--status", is_flag=True, help="Show what is applied and what is pending; change nothing.")
@click.option(
    "--wait", "wait_seconds", type=options.Seconds(), default=60, show_default=True, help="Wait for another run to end."
)
def migrate_command(*, status: bool, wait_seconds: float) -> None:
    """Bring the fuel schema and the rules in the database up to this version. Twice changes nothing.

    \b
    fleetfuel migrate --status
    fleetfuel migrate
    """
    settings = read_settings()
    url = settings.require_database_url()
    from fleetfuel.packaged import packaged
    from fleetfuel.records import judge
    from fleetfuel.rules.book import load_rules
    from fleetfuel.table import database, migrate

    with database.connect(url, application_name="fleetfuel migrate") as connection:
        plan = migrate.plan_migrations(connection, packaged("migrations"))
        if status:
            click.echo(migrate.render_status(plan))
            return
        rules = load_rules(settings.rules)
        judge.prove_rules(rules)
        click.echo(migrate.render_receipt(migrate.apply_migrations(connection, plan, rules, wait_seconds=wait_seconds)))


@click.command("prune", short_help="Remove old evidence.")
@click.option("--older-than", "age", type=options.Age(), required=True, help="90d, 12w or 2y; a day at the least.")
@click.option("--apply", is_flag=True, help="Remove it. Without it: only say what would go.")
@click.option("--wait", "wait_seconds", type=options.Seconds(), default=0, help="Wait for another run to end.")
def prune_command(*, age: Any, apply: bool, wait_seconds: float) -> None:
    """Remove old evidence: report folders, overwritten versions, resolved rejects, old runs and files of the ledger.

    Kept whatever their age: records, open rejects, the last runs of each mode, and the files that changes mode would
    otherwise take for new. Needs a login that may delete in the schema fuel, such as its owner.

    \b
    fleetfuel prune --older-than 90d
    fleetfuel prune --older-than 90d --apply
    """
    settings = read_settings()
    url = settings.require_database_url()
    from datetime import UTC, datetime

    from fleetfuel.table import database, prune

    with database.connect(url, application_name="fleetfuel prune") as connection:
        if apply:
            connection.take_lock("repeatable read", wait_seconds=wait_seconds)
        else:
            connection.begin("repeatable read", read_only=True)
        plan = prune.plan_prune(connection, settings, datetime.now(UTC) - age)
        if apply:
            prune.apply_prune(plan, connection)
    click.echo(
        prune.render_plan(plan, reports=settings.reports, age=f"{age.days}d", applied=apply, width=terminal.width()),
        nl=False,
    )


@click.command("demo", short_help="The whole job, on servers that come along.")
@click.option("--keep", is_flag=True, help="Keep the demo's reports in the reports folder.")
def demo_command(*, keep: bool) -> None:
    """Everything on servers that come along, with a generated feed: migrate, dry run, apply, an hour later, again.

    \b
    fleetfuel demo
    """
    from fleetfuel.sandbox.demo import run_demo

    run_demo(width=terminal.width(), keep_reports=Path("reports") if keep else None, say=click.echo)
