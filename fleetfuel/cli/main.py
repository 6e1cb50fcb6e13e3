"""The command line: its group, and the one place where every error and every end arrives.

Heavy modules are imported by the command that needs them, so that help and a wrong option are answered at once.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Final, NoReturn

import click

from fleetfuel import __version__, errors
from fleetfuel.cli import doctor, grafana, import_, keep, logs, look, options, ping, plans, show, signals, terminal
from fleetfuel.settings import forget_foreign

log = logging.getLogger("fleetfuel")

USAGE: Final = 64
PANIC: Final = "PanicException"
"""How a library that is written in Rust says that it has a bug: no Exception, and of no module that can be imported."""
COMPLETION: Final = "_FLEETFUEL_COMPLETE"
_NO_SHELL: Final = f"{COMPLETION} is for a shell's completion: bash_source, zsh_source or fish_source."

GARBAGE: Final = 200_000
"""Objects made before Python looks for rings of garbage among them. What one run imports stays to its end: with its own
700, Python looks through that over and over, which was a tenth of an hour's CPU."""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings come from the environment or .env (see .env.example). `fleetfuel COMMAND --help` has examples.",
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="fleetfuel")
@click.pass_context
def cli(context: click.Context) -> None:
    """Keep a PostgreSQL fuel schema true to the fuel-record feed, and prove it.

    \b
    A first look         fleetfuel demo
    What works here?     fleetfuel doctor
    Every hour           fleetfuel migrate && fleetfuel import --snapshot --apply
    What would it do?    fleetfuel import --snapshot
    Do just that         fleetfuel apply reports/RUN
    Take that back       fleetfuel undo RUN
    Did it run?          fleetfuel runs
    Who changed that?    fleetfuel history 1042
    """
    if os.environ.get("NO_COLOR"):
        context.color = False
    if context.invoked_subcommand is None:
        terminal.write(context.get_help() + "\n")


cli.params += options.shared()
for command in (
    *(
        import_.import_command,
        plans.apply_command,
        plans.undo_command,
        keep.migrate_command,
        keep.prune_command,
        keep.demo_command,
        doctor.doctor_command,
    ),
    *(show.show_command, look.runs_command, look.rejects_command, look.history_command, look.status_command),
    grafana.grafana_command,
):
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command line; every error ends here as a sentence and an exit code."""
    gc.set_threshold(GARBAGE)
    terminal.open_streams()
    forget_foreign()
    warnings.simplefilter(
        "ignore"
    )  # what libraries say about themselves helps nobody here, whatever PYTHONWARNINGS says
    logs.set_up(os.environ.get("FLEETFUEL_LOG", "text"))
    sys.unraisablehook = signals.swallowed
    began = time.monotonic()
    try:
        code = _run()
    except errors.Interruption:  # while the run was ending
        code = terminal.complain(errors.Interrupted())
    signals.listen_no_more()
    logs.report_end(options.invoked(), code, time.monotonic() - began)
    ping.end(code, f"run {logs.current_run()}, exit {code}")
    if not code:
        gc.freeze()  # nothing is half done: no need to look through all that was imported for what has to be closed
    sys.exit(code)


def _run() -> int:
    signals.listen(_run.__code__)
    try:
        result = cli.main(prog_name="fleetfuel", standalone_mode=False)
        sys.stdout.flush()  # help and version are click's to print
        return result if isinstance(result, int) else 0
    except errors.FleetfuelError as error:
        return terminal.complain(signals.or_interrupted(error))
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        return terminal.complain(_usage(error))
    except (errors.Interruption, KeyboardInterrupt, click.Abort):
        return terminal.complain(errors.Interrupted())
    except SystemExit as done:
        if done.code == 1 and COMPLETION in os.environ:
            return terminal.complain(Usage(reason=_NO_SHELL, command="fleetfuel"))
        return done.code if isinstance(done.code, int) else 1
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != PANIC:
            raise
        if COMPLETION in os.environ and options.invoked() is None:
            return terminal.complain(Usage(reason=_NO_SHELL, command="fleetfuel"))
        log.debug("bug", exc_info=error)
        if os.environ.get("FLEETFUEL_DEBUG"):
            raise
        found = _limit(error) or errors.Bug(reason=f"{type(error).__name__}: {error} ({_where(error)})")
        return terminal.complain(signals.or_interrupted(found))


def _limit(error: BaseException | None) -> errors.FleetfuelError | None:
    """The error, if a limit of this process was met anywhere."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return errors.ConfigurationError(
                reason="This process may open too few files at a time.",
                next_step="Raise the limit (`ulimit -n 1024`, or LimitNOFILE= of the service), then try again.",
            )
        if isinstance(error, RuntimeError) and "start new thread" in str(error):
            return errors.ConfigurationError(
                reason="This process may start too few threads.",
                next_step="Raise the limit (`ulimit -u`, or TasksMax= of the service), then repeat the command.",
            )
        error = error.__cause__ or error.__context__
    return None


class Usage(errors.FleetfuelError):
    message = """{reason}
    `{command} --help` has the options, and examples."""
    exit_code = USAGE


def _usage(error: click.ClickException) -> Usage:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return Usage(reason=error.format_message(), command=context.command_path if context else "fleetfuel")


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
