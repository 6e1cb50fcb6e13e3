"""The commands: options, exit codes, the only stdout, the only catch.

Heavy modules are imported by the command that needs them, so that help and a refused option answer at once.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import click

from fleetfuel import __version__, errors, logs
from fleetfuel.settings import Settings, read_settings

log = logging.getLogger("fleetfuel")

USAGE, INTERRUPTED, BUG = 64, 130, 70
WIDEST = 120


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings come from the environment or .env (see .env.example). `fleetfuel COMMAND --help` has examples.",
)
@click.version_option(__version__, prog_name="fleetfuel")
@click.option("-v", "--verbose", is_flag=True, help="Log each step to stderr, not warnings and errors alone.")
@click.pass_context
def cli(context: click.Context, *, verbose: bool) -> None:
    """Keep a PostgreSQL fuel schema true to the fuel-record feed, and prove it.

    \b
    A first look         fleetfuel demo
    What works here?     fleetfuel doctor
    Every hour           fleetfuel migrate && fleetfuel import --snapshot --apply
    What would it do?    fleetfuel import --snapshot
    Did it run?          fleetfuel runs
    Who changed that?    fleetfuel history 1042
    """
    with suppress(errors.ConfigurationError):
        logs.set_up(read_settings().log, verbose=verbose)
    if os.environ.get("NO_COLOR"):
        context.color = False


# --- import -------------------------------------------------------------------------------------------------------


class AllowanceType(click.ParamType[Any]):
    name = "N|P%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from fleetfuel.plan.limits import Allowance

        text = str(value).replace(",", "").strip()
        is_share = text.endswith("%")
        try:
            number = float(text.removesuffix("%")) if is_share else int(text)
        except ValueError:
            self.fail(f"{value!r} is neither a number of rows nor a share such as 25%", param, ctx)
        if number < 0 or (is_share and number > 100):
            self.fail(f"{value!r} is out of range", param, ctx)
        return Allowance(number=number, is_share=is_share)


class Seconds(click.ParamType[float]):
    name = "SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1
        if not 0 <= seconds < float("inf"):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


class Age(click.ParamType[Any]):
    name = "AGE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from datetime import timedelta

        number, unit = str(value)[:-1], str(value)[-1:]
        days = {"d": 1, "w": 7, "y": 365}.get(unit, 0) * int(number) if number.isdigit() else 0
        if not 1 <= days <= 36_500:
            self.fail(f"{value!r} is no age of a day or more; 90d, 12w and 2y are", param, ctx)
        return timedelta(days=days)


class Instant(click.ParamType[Any]):
    name = "INSTANT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from datetime import UTC, datetime

        if value == "all":
            return datetime.min.replace(tzinfo=UTC)
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no instant; 2026-06-11T17:00Z is one", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=read_settings().timezone)


@cli.command("import", short_help="Read the feed; show what would change, or do it.")
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
@click.option("--detailed-exitcode", is_flag=True, help="A dry run exits 2 when it found changes.")
@click.option("--strict", is_flag=True, help="Exit 65 when any record was set aside.")
@click.option("--max-deletes", type=AllowanceType(), help="Let this many soft deletes through, once.")
@click.option("--max-rejects", type=AllowanceType(), help="Let this many rejected records through, once.")
@click.option("--max-updates", type=AllowanceType(), help="Let this many updates through, once.")
@click.option("--force-old-snapshot", is_flag=True, help="Read a snapshot older than the one applied last.")
@click.option("--allow-lost-columns", is_flag=True, help="Load, although a field that every record had is gone.")
@click.option("--skip-bad-files", is_flag=True, help="Changes: go on behind a file that cannot be read.")
@click.option(
    "--skip-unchanged",
    is_flag=True,
    help="Snapshot: take its ETag's word that nothing changed, the table's rows unseen.",
)
@click.option("--reseed", type=Instant(), help="Changes: read again from this instant on (`all`: from the first file).")
@click.option("--wait", "wait_seconds", type=Seconds(), default=0, help="Wait for another run to end.")
@click.option("--embedded", is_flag=True, help="Use the PostgreSQL that comes along instead of DATABASE_URL.")
def import_command(**options: Any) -> None:
    """Read records from the bucket or a file, show what would change, and with --apply change it.

    \b
    fleetfuel import --snapshot                      what would the hourly job do now?
    fleetfuel import --snapshot --apply              the hourly job
    fleetfuel import --changes --apply               catch up with the deltas
    fleetfuel import --file tuesday.json             what would this file do?
    fleetfuel import --file tuesday.json --as snapshot
    """
    request = _request(options)
    settings = read_settings()
    with ExitStack() as stack:
        url = _embedded(stack, settings) if options["embedded"] else settings.require_database_url()
        from fleetfuel import importer, progress

        try:
            with progress.shown() as shown:
                outcome = importer.run_import(request, settings, url, shown)
        except errors.FleetfuelError as error:
            if request.apply and error.exit_code != 75 and not _interrupted.is_set():
                importer.record_failure(request, settings, url, error)
            raise
    from fleetfuel.report import summary

    if options["as_json"]:
        _write_out(json.dumps(outcome.run, ensure_ascii=False) + "\n")
    else:
        _write_out(summary.render_summary(outcome.run, width=_width(), next_command=_next(options, outcome.run)))
    if outcome.error:
        _complain(outcome.error)
        sys.exit(outcome.exit_code)
    if options["detailed_exitcode"] and not request.apply and summary.has_changes(outcome.run):
        sys.exit(2)


def _request(options: dict[str, Any]) -> Any:
    paths = (*options["files"], *options["more_files"])
    if options["more_files"] and not options["files"]:
        raise click.UsageError(f"{options['more_files'][0]} is no option. A local file goes behind --file.")
    modes = [
        name
        for name, given in (("snapshot", options["snapshot"]), ("changes", options["changes"]), ("file", paths))
        if given
    ]
    if len(modes) != 1:
        raise click.UsageError("Say what to read: --snapshot, --changes or --file PATH, one of them.")
    mode = modes[0]
    if options["reading"] == "snapshot" and mode == "changes":
        raise click.UsageError("Change files are never a complete snapshot: --as snapshot goes with --file.")
    if mode == "file" and options["reading"] == "snapshot" and len(paths) > 1:
        raise click.UsageError("A snapshot is one file: several would delete each other's records.")
    if mode != "changes" and (options["skip_bad_files"] or options["reseed"]):
        raise click.UsageError("--skip-bad-files and --reseed go with --changes.")
    if options["no_report"] and options["report"]:
        raise click.UsageError("--report and --no-report contradict each other.")
    from fleetfuel.importer import Request
    from fleetfuel.plan.limits import Overrides

    return Request(
        mode=mode,  # type: ignore[arg-type]
        apply=options["apply"],
        paths=paths,
        reading=options["reading"],
        report=options["report"],
        wants_report=not options["no_report"],
        overrides=Overrides(
            max_deletes=options["max_deletes"],
            max_rejects=options["max_rejects"],
            max_updates=options["max_updates"],
            force_old_snapshot=options["force_old_snapshot"],
            allow_lost_columns=options["allow_lost_columns"],
        ),
        skip_bad_files=options["skip_bad_files"],
        strict=options["strict"],
        skip_unchanged=options["skip_unchanged"],
        reseed=options["reseed"],
        wait_seconds=options["wait_seconds"],
    )


def _next(options: dict[str, Any], run: dict[str, Any]) -> str | None:
    """The command a person would type after a dry run."""
    from fleetfuel.report.summary import has_changes

    if options["apply"] or run["guards"] or not has_changes(run):
        return None
    words = ["fleetfuel", "import"]
    words += ["--snapshot"] if options["snapshot"] else ["--changes"] if options["changes"] else []
    words += [f"--file {path}" for path in (*options["files"], *options["more_files"])]
    words += [f"--as {options['reading']}"] if options["reading"] else []
    return " ".join([*words, "--apply"])


def _embedded(stack: ExitStack, settings: Settings) -> str:
    """A migrated embedded database, kept between runs; said out loud."""
    from fleetfuel.packaged import packaged
    from fleetfuel.rules.book import load_rules
    from fleetfuel.sandbox.postgres import postgres_server
    from fleetfuel.table import database, migrate

    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
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


# --- migrate, show ------------------------------------------------------------------------------------------------


@cli.command("migrate", short_help="Bring schema and rules up to date.")
@click.option("--status", is_flag=True, help="Show what is applied and what is pending; change nothing.")
@click.option(
    "--wait", "wait_seconds", type=Seconds(), default=60, show_default=True, help="Wait for another run to end."
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


@cli.command("show", short_help="The summary of a saved report.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the saved JSON object.")
def show_command(path: Path, *, as_json: bool) -> None:
    """Print the summary of a saved report; needs no database.

    \b
    fleetfuel show reports/20260611T170502Z-3f9a1c
    """
    from fleetfuel.report import evidence, summary

    run = evidence.read_report(path)
    click.echo(
        json.dumps(run, ensure_ascii=False) if as_json else summary.render_summary(run, width=_width()), nl=as_json
    )


# --- what was: runs, rejects, history -----------------------------------------------------------------------------


@cli.command("runs", short_help="Did it run, and what did it do?")
@click.argument("run_id", required=False, metavar="[ID]")
@click.option("--status", type=click.Choice(["applied", "refused", "failed"]), help="Only runs that ended so.")
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of runs, or the run in full.")
def runs_command(run_id: str | None, *, status: str | None, last: int, as_json: bool) -> None:
    """Did it run, and what did it do? The ledger of runs that could write: applied, refused or failed.

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
            _print(found, ledger.render_run(found, width=_width()), as_json=as_json)
        else:
            runs = ledger.read_runs(connection, status=status, last=last)
            text = ledger.render_runs(runs, width=_width(), now=datetime.now(UTC), status=status)
            _print(runs, text, as_json=as_json)


@cli.command("rejects", short_help="Why was this record refused?")
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
    _print(rejects, ledger.render_rejects(rejects, total, width=_width(), only_open=only_open), as_json=as_json)


@cli.command("history", short_help="Who changed this, when, from which file?")
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
    _print(history, ledger.render_history(history, width=_width()), as_json=as_json)


def _print(found: Any, text: str, *, as_json: bool) -> None:
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else text, nl=as_json)


# --- what is: doctor; what goes: prune ----------------------------------------------------------------------------


@cli.command("doctor", short_help="What works, what does not, and what to do.")
@click.option("--quick", is_flag=True, help="Ask nothing of the bucket: for a health check every few minutes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor_command(*, quick: bool, as_json: bool) -> None:
    """What works, what does not, and the next step: settings, rules, database, bucket, clocks, disks.

    \b
    works   as it should
    look    a run works, and yet somebody should know: the feed is late
    fails   a run does not work; the exit code says the worst of them

    \b
    fleetfuel doctor
    fleetfuel doctor --quick
    """
    from fleetfuel.cli import doctor

    findings = []
    for finding in doctor.examine(quick=quick):
        findings.append(finding)
        if not as_json:
            click.echo(_coloured(doctor.render_finding(finding, width=_width()), finding.state))
    code = doctor.worst(findings)
    if as_json:
        checks = [
            {
                "name": each.name,
                "state": each.state,
                "said": each.said,
                "next_step": each.next_step,
                "exit_code": each.exit_code,
            }
            for each in findings
        ]
        click.echo(json.dumps({"checks": checks, "exit_code": code}, ensure_ascii=False))
    sys.exit(code)


def _coloured(text: str, state: str) -> str:
    colour = {"works": "green", "look": "yellow", "fails": "red"}[state]
    return text.replace(f" {state} ", f" {click.style(state, fg=colour)} ", 1)


@cli.command("prune", short_help="Remove old evidence.")
@click.option("--older-than", "age", type=Age(), required=True, help="90d, 12w or 2y; a day at the least.")
@click.option("--apply", is_flag=True, help="Remove it. Without it: only say what would go.")
@click.option("--wait", "wait_seconds", type=Seconds(), default=0, help="Wait for another run to end.")
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
            connection.take_lock(wait_seconds=wait_seconds)
        connection.begin("repeatable read", read_only=not apply)
        plan = prune.plan_prune(connection, settings, datetime.now(UTC) - age)
        if apply:
            prune.apply_prune(plan, connection)
    click.echo(
        prune.render_plan(plan, reports=settings.reports, age=f"{age.days}d", applied=apply, width=_width()), nl=False
    )


# --- demo ---------------------------------------------------------------------------------------------------------


@cli.command("demo", short_help="The whole job, on servers that come along.")
@click.option("--keep", is_flag=True, help="Keep the demo's reports in the reports folder.")
def demo_command(*, keep: bool) -> None:
    """Everything on servers that come along, with a generated feed: migrate, dry run, apply, an hour later, again.

    \b
    fleetfuel demo
    """
    from fleetfuel.sandbox.demo import run_demo

    run_demo(width=_width(), keep_reports=Path("reports") if keep else None, say=click.echo)


# --- the edge -----------------------------------------------------------------------------------------------------


def main() -> NoReturn:
    """Run the command line; every error ends here as a sentence and an exit code."""
    logs.set_up(os.environ.get("FLEETFUEL_LOG", "text"))
    sys.unraisablehook = _swallowed
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(each, _interrupt)
    try:
        code = _run()
    except errors.Interruption:  # while the run was ending
        code = _complain(errors.Interrupted())
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.exit(code)


def _run() -> int:
    try:
        result = cli.main(prog_name="fleetfuel", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except Unprintable as error:
        _close_stdout()
        return _complain(error)
    except errors.FleetfuelError as error:
        return _complain(_or_interrupted(error))
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        return _complain(_usage(error))
    except (errors.Interruption, KeyboardInterrupt, click.Abort):
        return _complain(errors.Interrupted())
    except BrokenPipeError:
        _close_stdout()
        return 0
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    except Exception as error:
        log.debug("bug", exc_info=error)
        if os.environ.get("FLEETFUEL_DEBUG"):
            raise
        return _complain(_or_interrupted(errors.Bug(reason=f"{type(error).__name__}: {error} ({_where(error)})")))


class Unprintable(errors.FleetfuelError):
    """The output cannot be written: {reason}.
    What the run did, it did: `fleetfuel runs last` shows it."""

    exit_code = 73


def _write_out(text: str) -> None:
    """A run's outcome on stdout. Raises `Unprintable`, as a full disk must not make a committed run look like a bug."""
    try:
        click.echo(text, nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unprintable(reason=error.strerror or str(error)) from None


def _close_stdout() -> None:
    """Nothing more is said: what is left in the buffer must not fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Usage(errors.FleetfuelError):
    """{reason}
    `{command} --help` has the options, and examples."""

    exit_code = USAGE


def _usage(error: click.ClickException) -> Usage:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return Usage(reason=error.format_message(), command=context.command_path if context else "fleetfuel")


def _complain(error: errors.FleetfuelError) -> int:
    facts = {"error": type(error).__name__, "exit_code": error.exit_code}
    log.error("%s", error, extra={"facts": facts})
    return error.exit_code


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"


_interrupted: Final = threading.Event()


COMPILED: Final = frozenset({"polars", "pandera"})
"""Packages whose compiled code calls Python and panics, or goes on, where that raises."""


def _interrupt(_signal: int, frame: FrameType | None) -> None:
    """Raise `Interruption`, where it does not fall into compiled code's hands; else try again in an instant."""
    _interrupted.set()
    while frame:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in COMPILED:
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            return
        frame = frame.f_back
    raise errors.Interruption


def _swallowed(unraisable: sys.UnraisableHookArgs) -> None:
    """Of an interruption that a compiled library swallowed, or of what it left half made, Python says nothing."""
    if not _interrupted.is_set():
        sys.__unraisablehook__(unraisable)


def _or_interrupted(error: errors.FleetfuelError) -> errors.FleetfuelError:
    """Libraries may swallow an interruption and stumble over what they then lack: that is no failure of its own."""
    if _interrupted.is_set() and not isinstance(error, errors.CommitUnknown):
        return errors.Interrupted()
    return error


def _width() -> int:
    return max(60, min(WIDEST, shutil.get_terminal_size((100, 24)).columns))
