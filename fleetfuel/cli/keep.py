"""The commands around the runs: migrate, prune, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fleetfuel.cli import options, terminal


@click.command("migrate", cls=options.Command, short_help="Bring schema and rules up to date.")
@click.option("--status", is_flag=True, help="Show what is applied and what is pending; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--wait",
    "wait_seconds",
    type=options.Seconds(),
    default=60,
    show_default=True,
    help="Wait for another run to end.",
)
def migrate_command(*, status: bool, as_json: bool, wait_seconds: float) -> None:
    """Bring the fuel schema and the rules in the database up to this version. Twice changes nothing.

    \b
    fleetfuel migrate --status
    fleetfuel migrate
    """
    settings = options.settings()
    url = settings.require_database_url()
    from fleetfuel.cli import progress
    from fleetfuel.packaged import packaged
    from fleetfuel.records import judge
    from fleetfuel.report import migrations
    from fleetfuel.rules.book import load_rules
    from fleetfuel.table import database, migrate

    with database.connect(url, application_name="fleetfuel migrate") as connection:
        plan = migrate.plan_migrations(connection, packaged("migrations"))
        if status:
            terminal.show(migrations.status_object(plan), migrations.render_status(plan) + "\n", as_json=as_json)
            return
        rules = load_rules(settings.rules)
        judge.prove_rules(rules)
        with progress.shown() as shown:
            receipt = migrate.apply_migrations(connection, plan, rules, wait_seconds=wait_seconds, progress=shown)
    terminal.note_done("What was applied stays applied: `fleetfuel migrate --status` shows it.")
    terminal.show(migrations.receipt_object(receipt), migrations.render_receipt(receipt) + "\n", as_json=as_json)


@click.command("prune", cls=options.Command, short_help="Remove old evidence.")
@click.option("--older-than", "age", type=options.Age(), required=True, help="90d, 12w or 2y; at least one day.")
@click.option("--apply", is_flag=True, help="Remove it. Without this option: only show what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--wait", "wait_seconds", type=options.Seconds(), default=0, help="Wait for another run to end.")
def prune_command(*, age: Any, apply: bool, as_json: bool, wait_seconds: float) -> None:
    """Remove old evidence: report folders, overwritten versions, rejects, runs and files of the ledger.

    Kept at any age: records, open rejects of the last snapshot, the last runs of each mode, and the files that
    --changes would else take for new. It needs a login that may delete in the schema fuel, such as its owner.

    \b
    fleetfuel prune --older-than 90d
    fleetfuel prune --older-than 90d --apply
    """
    settings = options.settings()
    url = settings.require_database_url()
    from datetime import UTC, datetime

    from fleetfuel.cli import progress
    from fleetfuel.packaged import packaged
    from fleetfuel.report import prune
    from fleetfuel.table import database, fitness, migrate

    with database.connect(url, application_name="fleetfuel prune") as connection, progress.shown() as shown:
        fitness.demand_fitting_schema(connection, packaged("migrations"))
        migrate.require_current(connection, packaged("migrations"))
        if apply:
            connection.take_lock("repeatable read", wait_seconds=wait_seconds)
        else:
            connection.begin("repeatable read", read_only=True)
        plan = prune.plan_prune(connection, settings, datetime.now(UTC) - age)
        if apply:
            prune.apply_prune(plan, connection, shown)
            terminal.note_done(f"What was older than {age.days}d is removed.")
    text = prune.render_plan(plan, reports=settings.reports, age=f"{age.days}d", applied=apply, width=terminal.width())
    terminal.show(prune.plan_object(plan, applied=apply), text, as_json=as_json)


@click.command("demo", cls=options.Command, short_help="The whole job, on servers that come along.")
@click.option("--keep", is_flag=True, help="Keep the demo's reports in the reports folder.")
def demo_command(*, keep: bool) -> None:
    """Everything on servers that come along, with a generated feed: migrate, dry run, apply, an hour later, again.

    \b
    fleetfuel demo
    """
    from fleetfuel.sandbox.demo import run_demo

    run_demo(
        width=terminal.width(),
        keep_reports=Path("reports") if keep else None,
        say=lambda text: terminal.write(text + "\n"),
    )
