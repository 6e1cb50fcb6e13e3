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
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fleetfuel import __version__, errors
from fleetfuel.settings import Settings, read_settings

if TYPE_CHECKING:
    pass

USAGE, INTERRUPTED, BUG = 64, 130, 70
WIDEST = 120


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings come from the environment or .env (see .env.example). `fleetfuel COMMAND --help` has examples.",
)
@click.version_option(__version__, prog_name="fleetfuel")
def cli() -> None:
    """Keep a PostgreSQL fuel schema true to the fuel-record feed, and prove it.

    \b
    First look:      fleetfuel demo
    Every hour:      fleetfuel migrate && fleetfuel import --snapshot --apply
    What would it do fleetfuel import --snapshot
    """


# --- import -------------------------------------------------------------------------------------------------------


class AllowanceType(click.ParamType[Any]):
    name = "N|P%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from fleetfuel.limits import Allowance

        text = str(value).replace(",", "").strip()
        is_share = text.endswith("%")
        try:
            number = float(text.removesuffix("%")) if is_share else int(text)
        except ValueError:
            self.fail(f"{value!r} is neither a number of rows nor a share such as 25%", param, ctx)
        if number < 0 or (is_share and number > 100):
            self.fail(f"{value!r} is out of range", param, ctx)
        return Allowance(number=number, is_share=is_share)


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


@cli.command("import")
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
@click.option("--skip-bad-files", is_flag=True, help="Changes: go on behind a file that cannot be read.")
@click.option("--reseed", type=Instant(), help="Changes: read again from this instant on (`all`: from the first file).")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait for another run to end.",
)
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
        from fleetfuel import importer

        try:
            outcome = importer.run_import(request, settings, url)
        except errors.FleetfuelError as error:
            if request.apply and error.exit_code != 75:
                importer.record_failure(request, settings, url, error)
            raise
    from fleetfuel import summary

    if options["as_json"]:
        click.echo(json.dumps(outcome.run, ensure_ascii=False))
    else:
        click.echo(
            summary.render_summary(outcome.run, width=_width(), next_command=_next(options, outcome.run)), nl=False
        )
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
    from fleetfuel.limits import Overrides

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
        ),
        skip_bad_files=options["skip_bad_files"],
        strict=options["strict"],
        reseed=options["reseed"],
        wait_seconds=options["wait_seconds"],
    )


def _next(options: dict[str, Any], run: dict[str, Any]) -> str | None:
    """The command a person would type after a dry run."""
    from fleetfuel.summary import has_changes

    if options["apply"] or run["guards"] or not has_changes(run):
        return None
    words = ["fleetfuel", "import"]
    words += ["--snapshot"] if options["snapshot"] else ["--changes"] if options["changes"] else []
    words += [f"--file {path}" for path in (*options["files"], *options["more_files"])]
    words += [f"--as {options['reading']}"] if options["reading"] else []
    return " ".join([*words, "--apply"])


def _embedded(stack: ExitStack, settings: Settings) -> str:
    """A migrated embedded database, kept between runs; said out loud."""
    from fleetfuel import database, migrate
    from fleetfuel.embedded import postgres_server
    from fleetfuel.packaged import packaged
    from fleetfuel.rules import load_rules

    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "fleetfuel" / "postgres"
    click.echo(f"Using the embedded PostgreSQL, data in {data}", err=True)
    server = stack.enter_context(postgres_server(data))
    url = server.uri("postgres")
    with database.connect(url) as connection:
        rules = load_rules(settings.rules)
        migrate.apply_migrations(connection, migrate.plan_migrations(connection, packaged("migrations")), rules)
    return url


# --- migrate, show, demo ------------------------------------------------------------------------------------------


@cli.command("migrate")
@click.option("--status", is_flag=True, help="Show what is applied and what is pending; change nothing.")
@click.option("--wait", "wait_seconds", type=click.FloatRange(min=0), default=60, metavar="SECONDS", show_default=True,
              help="Wait for another run to end.")  # fmt: skip
def migrate_command(*, status: bool, wait_seconds: float) -> None:
    """Bring the fuel schema and the rules in the database up to this version. Twice changes nothing.

    \b
    fleetfuel migrate --status
    fleetfuel migrate
    """
    settings = read_settings()
    url = settings.require_database_url()
    from fleetfuel import database, migrate, validate
    from fleetfuel.packaged import packaged
    from fleetfuel.rules import load_rules

    with database.connect(url, application_name="fleetfuel migrate") as connection:
        plan = migrate.plan_migrations(connection, packaged("migrations"))
        if status:
            click.echo(migrate.render_status(plan))
            return
        rules = load_rules(settings.rules)
        validate.prove_rules(rules)
        click.echo(migrate.render_receipt(migrate.apply_migrations(connection, plan, rules, wait_seconds=wait_seconds)))


@cli.command("show")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the saved JSON object.")
def show_command(path: Path, *, as_json: bool) -> None:
    """Print the summary of a saved report; needs no database.

    \b
    fleetfuel show reports/20260611T170502Z-3f9a1c
    """
    from fleetfuel import report, summary

    run = report.read_report(path)
    click.echo(
        json.dumps(run, ensure_ascii=False) if as_json else summary.render_summary(run, width=_width()), nl=as_json
    )


@cli.command("demo")
@click.option("--keep", is_flag=True, help="Keep the demo's reports in the reports folder.")
def demo_command(*, keep: bool) -> None:
    """Everything on servers that come along, with a generated feed: migrate, dry run, apply, an hour later, again.

    \b
    fleetfuel demo
    """
    from fleetfuel.demo import run_demo

    run_demo(width=_width(), keep_reports=Path("reports") if keep else None, say=click.echo)


# --- the edge -----------------------------------------------------------------------------------------------------


def main() -> NoReturn:
    """Run the command line; every error ends here as a sentence and an exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        result = cli.main(standalone_mode=False)
        sys.stdout.flush()
        code = result if isinstance(result, int) else 0
    except errors.FleetfuelError as error:
        code = _complain(error)
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.UsageError as error:
        error.show(sys.stderr)
        code = USAGE
    except click.ClickException as error:
        error.show(sys.stderr)
        code = USAGE
    except (KeyboardInterrupt, click.Abort):
        code = _complain(errors.Interrupted())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 1
    except Exception as error:
        logging.getLogger("fleetfuel").debug("bug", exc_info=error)
        if os.environ.get("FLEETFUEL_DEBUG"):
            raise
        code = _complain(errors.Bug(reason=f"{type(error).__name__}: {error} ({_where(error)})"))
    sys.exit(code)


def _complain(error: errors.FleetfuelError) -> int:
    click.echo(f"fleetfuel: {error}", err=True)
    return error.exit_code


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise errors.Interrupted()


def _width() -> int:
    return max(60, min(WIDEST, shutil.get_terminal_size((100, 24)).columns))
