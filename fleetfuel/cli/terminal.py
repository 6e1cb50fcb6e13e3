"""What the program prints: its outcome on stdout, its errors on stderr, as wide as the terminal.

Both streams may be closed, full, or left by their reader. All of that is handled here, for everything that writes to
them: an outcome that cannot be written raises `Unprintable`, once; an error that cannot be written is dropped; a reader
who has gone is no fault.
"""

from __future__ import annotations

import io
import json
import locale
import logging
import os
import select
import shutil
import sys
from typing import Any, Final

import click

from fleetfuel import errors
from fleetfuel.printable import printable

log = logging.getLogger("fleetfuel")

WIDEST: Final = 120


class Unprintable(errors.FleetfuelError):
    message = """The output cannot be written: {reason}.
    {done}"""

    exit_code = 73


class _Done:
    """What this command has done so far, as a sentence: it is true even if the output cannot be written."""

    said: str = "Nothing was changed: repeat the command where its output can be written."


def note_done(sentence: str) -> None:
    """From now on, this sentence is printed if the output cannot be written."""
    _Done.said = sentence


def open_streams() -> None:
    """Make stdout and stderr streams that handle the case that nothing can be written.

    A closed one is opened in a way that cannot be written to, so that no file of the run gets its number.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest free number, which is this one
    sys.stdout = _stream(_Channel(1, is_outcome=True), sys.stdout)
    sys.stderr = _stream(_Channel(2, is_outcome=False), sys.stderr)


class _Channel(io.FileIO):
    """A file of which at most one write fails; later ones do nothing."""

    def __init__(self, number: int, *, is_outcome: bool) -> None:
        super().__init__(number, "wb", closefd=False)
        self._is_outcome = is_outcome
        self._is_silent = False

    def write(self, data: Any) -> int:
        if self._is_silent:
            return len(data)
        try:
            while (written := super().write(data)) is None:  # a terminal that somebody else made non-blocking
                select.select([], [self.fileno()], [], 1)
        except BrokenPipeError:
            self._is_silent = True
            return len(data)
        except OSError as error:
            self._is_silent = True
            if not self._is_outcome:
                return len(data)
            reason = "it is closed" if error.errno == 9 else error.strerror or str(error)
            raise Unprintable(reason=reason, done=_Done.said) from None
        return written


def _stream(channel: _Channel, replaced: io.TextIOWrapper | Any) -> io.TextIOWrapper:
    encoding = getattr(replaced, "encoding", None) or locale.getpreferredencoding(do_setlocale=False)
    is_terminal = channel.isatty() or not channel._is_outcome
    return io.TextIOWrapper(
        io.BufferedWriter(channel), encoding=encoding, errors="backslashreplace", line_buffering=is_terminal
    )


def write(text: str) -> None:
    """Write an outcome, or a part of one, to stdout. Raises `Unprintable` if it cannot be written."""
    click.echo(text, nl=False)
    sys.stdout.flush()


def write_json(found: Any) -> None:
    """Write an outcome as JSON on one line; a `found` that is a text is JSON already."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    if isinstance(found, str) and not is_unicode:
        found = json.loads(found)
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=not is_unicode)
    write(printable(text) + "\n")


def show(found: Any, text: str, *, as_json: bool) -> None:
    """Write an outcome, for people or for machines; foreign text in it is made printable."""
    if as_json:
        write_json(found)
    else:
        write(printable(text))


def complain(error: errors.FleetfuelError) -> int:
    """Log an error to stderr; returns its exit code."""
    facts = {"event": "end", "error": type(error).__name__, "exit_code": error.exit_code}
    log.error("%s", error, extra={"facts": facts})
    return error.exit_code


def width() -> int:
    """Columns to write in: those of the terminal, at least 60 and at most `WIDEST`."""
    return max(60, min(WIDEST, shutil.get_terminal_size((100, 24)).columns))
