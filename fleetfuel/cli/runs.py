"""What the commands that run have in common: the run itself, its options, and what is printed at the end."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click

from fleetfuel import errors
from fleetfuel.cli import options, ping, signals, terminal
from fleetfuel.printable import printable
from fleetfuel.settings import Settings

# --- options ------------------------------------------------------------------------------------------------------

applies = click.option(
    "--apply", is_flag=True, help="Write to the database. Without it: a dry run, which writes nothing."
)
report = click.option(
    "--report", type=click.Path(path_type=Path), help="Folder of the Parquet report.  [reports/<run id>/]"
)
no_report = click.option("--no-report", is_flag=True, help="Leave no report.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the summary.")
strict = click.option("--strict", is_flag=True, help="Exit 65 if any record was rejected.")
max_deletes = click.option(
    "--max-deletes", type=options.AllowanceType(), help="Let this many soft deletes through, once."
)
max_rejects = click.option(
    "--max-rejects", type=options.AllowanceType(), help="Let this many rejected records through, once."
)
max_updates = click.option("--max-updates", type=options.AllowanceType(), help="Let this many updates through, once.")
force_old_snapshot = click.option(
    "--force-old-snapshot",
    is_flag=True,
    help="The source was restored to this snapshot, older than the last one applied.",
)
allow_lost_columns = click.option(
    "--allow-lost-columns", is_flag=True, help="Load, although a field that every record had is gone."
)
allow_undone = click.option("--allow-undone", is_flag=True, help="Load records that were applied and undone.")
wait = click.option("--wait", "wait_seconds", type=options.Seconds(), default=0, help="Wait for another run to end.")
embedded = click.option("--embedded", is_flag=True, help="Use the PostgreSQL that comes along instead of DATABASE_URL.")


def overriding(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that let a guarded run through, in the order of its help."""
    for option in (allow_undone, allow_lost_columns, force_old_snapshot, max_updates, max_rejects, max_deletes):
        command = option(command)
    return command


OVERRIDES: Final = (
    *("max_deletes", "max_rejects", "max_updates"),
    *("force_old_snapshot", "allow_lost_columns", "allow_undone"),
)


def overrides(given: Mapping[str, Any]) -> Any:
    """The given options that let a guarded run through, as `Overrides`."""
    from fleetfuel.plan.limits import Overrides

    return Overrides(**{name: given[name] for name in OVERRIDES if name in given})


def demand_one_report(given: Mapping[str, Any]) -> None:
    """Raises `UsageError` for --report together with --no-report."""
    if given["no_report"] and given["report"]:
        raise click.UsageError("--report and --no-report contradict each other.")


# --- the run ------------------------------------------------------------------------------------------------------


def run_request(request: Any, given: Mapping[str, Any]) -> Any:
    """Run what is asked, and print the outcome. Ends the program if the run did not end well."""
    settings = options.settings()
    with ExitStack() as stack:
        url = _embedded(stack, settings) if given["embedded"] else settings.require_database_url(may_be_embedded=True)
        from fleetfuel import pipeline
        from fleetfuel.cli import logs, progress

        logs.set_run(request.run_id)
        if request.apply:
            ping.begin(settings.ping_url, f"run {request.run_id}, {request.mode}")
        try:
            with progress.shown() as shown:
                outcome = pipeline.run(request, settings, url, shown)
        except errors.FleetfuelError as error:
            if not signals.interrupted.is_set():
                pipeline.record_failure(request, url, error)
            raise
    _conclude(outcome, given)
    return outcome


def _conclude(outcome: Any, given: Mapping[str, Any]) -> None:
    """Print the outcome of a run. Ends the program if it did not end well."""
    from fleetfuel.report.summary import as_json
    from fleetfuel.report.text import render_summary

    summary = outcome.summary

    if summary.applied:
        terminal.note_done("The run is applied all the same: `fleetfuel runs last` shows it.")
    elif summary.report:
        terminal.note_done(f"Nothing was loaded; `fleetfuel show {shlex.quote(summary.report)}` shows the outcome.")
    counts = {name: number for name, number in dataclasses.asdict(summary.counts).items() if number}
    from fleetfuel.cli import logs

    logs.note_end(mode=summary.mode, applied=summary.applied, counts=counts)
    is_news = summary.has_changes or summary.guards or outcome.error
    if given.get("quiet") and not is_news:
        pass
    elif given["as_json"]:
        terminal.write_json(as_json(summary))
    else:
        terminal.write(printable(render_summary(summary, width=terminal.width(), next_command=_next(summary))))
    if outcome.error:
        terminal.complain(outcome.error)
        sys.exit(outcome.exit_code)


def _next(run: Any) -> str | None:
    """The command that somebody would type after a dry run: to apply the plan that was shown, or the run again."""
    if run.applied or run.guards or not run.has_changes or run.as_of:
        return None
    context = click.get_current_context()
    if run.report and context.parent and isinstance(context.parent.command, click.Group):
        known = {option.name for option in context.parent.command.commands["apply"].params}
        # Without --report: the folder that it named holds the plan by now.
        own = {"report", "as_json", "quiet"}
        given = options.as_typed(context, without={name for name in context.params if name not in known} | own)
        return " ".join(["fleetfuel", "apply", shlex.quote(run.report), *given])
    given = options.as_typed(context, without=("report", "as_json", "detailed_exitcode", "quiet"))
    return " ".join(["fleetfuel", str(context.info_name), *options.arguments_as_typed(context), *given, "--apply"])


def _embedded(stack: ExitStack, settings: Settings) -> str:
    """The URL of a migrated embedded database, kept between runs. Prints on stderr where its data lies."""
    from fleetfuel.packaged import packaged
    from fleetfuel.rules.book import load_rules
    from fleetfuel.sandbox.postgres import postgres_server
    from fleetfuel.table import database, migrate

    try:
        home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    except RuntimeError:  # no HOME, and no entry for this user
        raise errors.ConfigurationError(
            reason="There is no home folder to keep the embedded PostgreSQL's data in.",
            next_step="Let XDG_DATA_HOME name a folder.",
        ) from None
    if os.geteuid() == 0 and "XDG_DATA_HOME" not in os.environ:
        home = Path("/var/lib")  # PostgreSQL does not run as root, and its user may not enter root's home
    data = home / "fleetfuel" / "postgres"
    click.echo(f"Using the embedded PostgreSQL, data in {data}", err=True)
    server = stack.enter_context(postgres_server(data))
    url = server.uri("postgres")
    with database.connect(url) as connection:
        rules = load_rules(settings.rules)
        migrate.apply_migrations(connection, migrate.plan_migrations(connection, packaged("migrations")), rules)
    return url
