"""What the program says: its outcome on stdout, its complaints on stderr, as wide as the terminal."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from typing import Final

import click

from fleetfuel import errors

log = logging.getLogger("fleetfuel")

WIDEST: Final = 120


def width() -> int:
    return max(60, min(WIDEST, shutil.get_terminal_size((100, 24)).columns))


class Unprintable(errors.FleetfuelError):
    message = """The output cannot be written: {reason}.
    What the run did, it did: `fleetfuel runs last` shows it."""
    exit_code = 73


def write(text: str) -> None:
    """A run's outcome on stdout. Raises `Unprintable`, as a full disk must not make a committed run look like a bug."""
    try:
        click.echo(text, nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unprintable(reason=error.strerror or str(error)) from None


def close_stdout() -> None:
    """Nothing more is said: what is left in the buffer must not fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(error: errors.FleetfuelError) -> int:
    facts = {"error": type(error).__name__, "exit_code": error.exit_code}
    log.error("%s", error, extra={"facts": facts})
    return error.exit_code
