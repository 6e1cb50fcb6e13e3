"""The command that reads the feed: what it asks for, and what it says."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from fleetfuel import errors
from fleetfuel.cli import options, ping, signals, terminal
from fleetfuel.printable import printable
from fleetfuel.settings import Settings


@click.command("import", cls=options.Command, short_help="Read the feed; show what would change, or do it.")
@click.option(
    "--snapshot", is_flag=True, help="Reconcile with the full snapshot in the bucket: what it lacks is soft-deleted."
)
@click.option("--changes", is_flag=True, help="Catch up with the change files since the watermark.")
@click.option(
    "--file",
    "files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="Read local files. May be repeated.",
)
@click.argument("more_files", nargs=-1, type=click.Path(path_type=Path), metavar="")
@click.option("--apply", is_flag=True, help="Write to the database. Without it: a dry run, which writes nothing.")
@click.option(
    "--as", "reading", type=click.Choice(["snapshot", "changes"]),
    help="How a file is read. As changes (the default for --file) it deletes nothing by absence.",
)  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path), help="Folder of the Parquet report.  [reports/<run id>/]")
@click.option("--no-report", is_flag=True, help="Leave no report.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the summary.")
@click.option("--quiet", is_flag=True, help="Print nothing if nothing changed and nothing was refused.")
@click.option("--detailed-exitcode", is_flag=True, help="A dry run exits 2 when it found changes.")
@click.option("--strict", is_flag=True, help="Exit 65 if any record was rejected.")
@click.option("--max-deletes", type=options.AllowanceType(), help="Let this many soft deletes through, once.")
@click.option("--max-rejects", type=options.AllowanceType(), help="Let this many rejected records through, once.")
@click.option("--max-updates", type=options.AllowanceType(), help="Let this many updates through, once.")
@click.option(
    "--force-old-snapshot",
    is_flag=True,
    help="The source was restored to this snapshot, older than the last one applied.",
)
@click.option("--allow-lost-columns", is_flag=True, help="Load, although a field that every record had is gone.")
@click.option("--allow-undone", is_flag=True, help="Load records that were applied and undone.")
@click.option(
    "--as-of",
    type=options.Instant(),
    metavar="INSTANT",
    help="Dry runs: compare with the table as it stood then.",
)
@click.option(
    "--skip-bad-files",
    is_flag=True,
    help="Changes: go on after a file that cannot be read; it is remembered, and the watermark moves on.",
)
@click.option("--deep", is_flag=True, help="Compare every row's raw with the file, trusting no fingerprint.")
@click.option(
    "--skip-unchanged",
    is_flag=True,
    help="Snapshot: take its ETag's word that nothing changed, the table's rows unseen.",
)
@click.option(
    "--reseed", type=options.Instant(), help="Changes: read again from this instant on (`all`: from the first file)."
)
@click.option("--wait", "wait_seconds", type=options.Seconds(), default=0, help="Wait for another run to end.")
@click.option("--embedded", is_flag=True, help="Use the PostgreSQL that comes along instead of DATABASE_URL.")
def import_command(**given: Any) -> None:
    """Read records from the bucket or a file, show what would change, and with --apply change it.

    \b
    fleetfuel import --snapshot                      what would the hourly job do now?
    fleetfuel import --snapshot --apply              the hourly job
    fleetfuel import --changes --apply               catch up with the deltas
    fleetfuel import --file tuesday.json             what would this file do?
    fleetfuel import --file tuesday.json --as snapshot
    """
    request = _request(given)
    settings = options.settings()
    with ExitStack() as stack:
        url = embedded(stack, settings) if given["embedded"] else settings.require_database_url(may_be_embedded=True)
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
    conclude(outcome, given)
    if given["detailed_exitcode"] and not outcome.summary.applied and outcome.summary.has_changes:
        sys.exit(2)


def conclude(outcome: Any, given: dict[str, Any]) -> None:
    """Say what came of a run; ends the program if it did not end well."""
    from fleetfuel.report.summary import as_json
    from fleetfuel.report.text import render_summary

    summary = outcome.summary

    if summary.applied:
        terminal.note_done("What the run did, it did: `fleetfuel runs last` shows it.")
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


def _request(given: dict[str, Any]) -> Any:
    paths = (*given["files"], *given["more_files"])
    if given["more_files"] and not given["files"]:
        raise click.UsageError(f"{given['more_files'][0]} is no option. A local file comes after --file.")
    modes = [
        name
        for name, is_given in (("snapshot", given["snapshot"]), ("changes", given["changes"]), ("file", paths))
        if is_given
    ]
    if len(modes) != 1:
        raise click.UsageError("Say what to read: --snapshot, --changes or --file PATH, one of them.")
    mode = modes[0]
    if given["reading"] == "snapshot" and mode == "changes":
        raise click.UsageError("Change files are never a complete snapshot: --as snapshot goes with --file.")
    if mode == "file" and given["reading"] == "snapshot" and len(paths) > 1:
        raise click.UsageError("A snapshot is one file: several would delete each other's records.")
    if mode != "changes" and (given["skip_bad_files"] or given["reseed"]):
        raise click.UsageError("--skip-bad-files and --reseed go with --changes.")
    if given["as_of"] and given["apply"]:
        raise click.UsageError("--as-of looks back: it goes with dry runs.")
    if given["no_report"] and given["report"]:
        raise click.UsageError("--report and --no-report contradict each other.")
    from fleetfuel.pipeline import Request
    from fleetfuel.plan.limits import Overrides

    return Request(
        mode=mode,  # type: ignore[arg-type]
        apply=given["apply"],
        paths=paths,
        reading=given["reading"],
        report=given["report"],
        wants_report=not given["no_report"],
        overrides=Overrides(
            max_deletes=given["max_deletes"],
            max_rejects=given["max_rejects"],
            max_updates=given["max_updates"],
            force_old_snapshot=given["force_old_snapshot"],
            allow_lost_columns=given["allow_lost_columns"],
            allow_undone=given["allow_undone"],
        ),
        as_of=given["as_of"],
        skip_bad_files=given["skip_bad_files"],
        strict=given["strict"],
        skip_unchanged=given["skip_unchanged"],
        trusts_nothing=given["deep"],
        reseed=given["reseed"],
        wait_seconds=given["wait_seconds"],
    )


def _next(run: Any) -> str | None:
    """The command a person would type after a dry run: the plan that was shown, or the run again."""
    if run.applied or run.guards or not run.has_changes or run.as_of:
        return None
    context = click.get_current_context()
    if run.report and context.parent and isinstance(context.parent.command, click.Group):
        known = {option.name for option in context.parent.command.commands["apply"].params}
        # A report of its own: a folder that was named for the plan is taken by now.
        own = {"report", "as_json", "quiet"}
        given = options.as_typed(context, without={name for name in context.params if name not in known} | own)
        return " ".join(["fleetfuel", "apply", shlex.quote(run.report), *given])
    given = options.as_typed(context, without=("report", "as_json", "detailed_exitcode", "quiet"))
    return " ".join(["fleetfuel", str(context.info_name), *options.arguments_as_typed(context), *given, "--apply"])


def embedded(stack: ExitStack, settings: Settings) -> str:
    """A migrated embedded database, kept between runs; said out loud."""
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
