"""What the program says: its outcome on stdout, its complaints on stderr, as wide as the terminal.

Both streams may be closed, full, or read by somebody who has seen enough. All of that is decided here, below whatever
writes to them: an outcome that cannot be written is `Unprintable`, once; a complaint that cannot be written is not
written; a reader who has gone is no fault.
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
    """What this command has done so far, as a sentence; it stands, whatever becomes of the output."""

    said: str = "Nothing was changed: repeat the command where its output can be written."


def note_done(sentence: str) -> None:
    """From now on this is what is said if the output cannot be written."""
    _Done.said = sentence


def open_streams() -> None:
    """Give stdout and stderr channels that know what to do if nothing can be written.

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
    """A file that fails once, in one way."""

    def __init__(self, number: int, *, is_outcome: bool) -> None:
        super().__init__(number, "wb", closefd=False)
        self._is_outcome = is_outcome
        self._is_silent = False

    def write(self, data: Any) -> int:
        if self._is_silent:
            return len(data)
        try:
            while (written := super().write(data)) is None:  # a terminal that somebody else made not wait
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
    """An outcome, or a part of one, on stdout; it is there, or `Unprintable` is raised."""
    click.echo(text, nl=False)
    sys.stdout.flush()


def write_json(found: Any) -> None:
    """An outcome as one JSON object on a line; a text is JSON already."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    if isinstance(found, str) and not is_unicode:
        found = json.loads(found)
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=not is_unicode)
    write(printable(text) + "\n")


def show(found: Any, text: str, *, as_json: bool) -> None:
    """An outcome, for people or for machines; foreign text in it obeys nobody."""
    if as_json:
        write_json(found)
    else:
        write(printable(text))


def complain(error: errors.FleetfuelError) -> int:
    """Say on stderr what went wrong; the exit code."""
    facts = {"event": "end", "error": type(error).__name__, "exit_code": error.exit_code}
    log.error("%s", error, extra={"facts": facts})
    return error.exit_code


def width() -> int:
    """Columns to write in: those of the terminal, within reason."""
    return max(60, min(WIDEST, shutil.get_terminal_size((100, 24)).columns))
