"""Logs on stderr: sentences for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from fleetfuel.cli import progress
from fleetfuel.printable import printable, sentence

log = logging.getLogger("fleetfuel")


class _Current:
    """The run of this process, once there is one, and what its end reports."""

    run_id: str | None = None
    form: str = "text"
    facts: Mapping[str, Any] = {}
    has_reported_end: bool = False


def set_run(run_id: str) -> None:
    """Every line from now on names this run."""
    _Current.run_id = run_id


def current_run() -> str | None:
    """The id of the run of this process; None before it began."""
    return _Current.run_id


def note_end(**facts: Any) -> None:
    """What the event of the end reports besides the exit code."""
    _Current.facts = facts


def report_end(command: str | None, exit_code: int, seconds: float) -> None:
    """Log one event for the end of a command, if logs are JSON. An error that was logged is that event already."""
    if _Current.form != "json" or command is None or _Current.has_reported_end:
        return
    level = logging.INFO if exit_code in (0, 2) else logging.ERROR
    facts = {"event": "end", "command": command, "exit_code": exit_code, "seconds": round(seconds, 3), **_Current.facts}
    record = log.makeRecord(
        log.name, level, "", 0, "%s ended with %s", (command, exit_code), None, extra={"facts": facts}
    )
    for handler in logging.getLogger().handlers:
        handler.handle(record)


def set_up(form: str, *, verbose: bool = False) -> None:
    """Log as `text` or `json`: warnings and errors, and with `verbose` the steps, too."""
    _Current.form = form
    root = logging.getLogger()
    handler = _Handler()
    handler.setFormatter(_Json() if form == "json" else _Text())
    root.handlers[:] = [handler]  # at once: an interruption finds either the old one or the new one
    root.setLevel(logging.WARNING)
    log.setLevel(logging.INFO if verbose else logging.WARNING)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            progress.clear()
            print(self.format(record), file=sys.stderr, flush=True)  # noqa: T201
        except Exception:  # a log that cannot be written must not end the run
            self.handleError(record)


LABELS: Final = {logging.ERROR: "fleetfuel: ", logging.CRITICAL: "fleetfuel: ", logging.WARNING: "warning: "}


class _Text(logging.Formatter):
    """Sentences. If stderr is no terminal, each begins with the time and the run."""

    def format(self, record: logging.LogRecord) -> str:
        text = LABELS.get(record.levelno, "") + sentence(record.getMessage())
        if sys.stderr.isatty():
            return text
        return " ".join(filter(None, [_instant(record, "seconds"), _Current.run_id, text]))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = getattr(record, "facts", {})
        _Current.has_reported_end = _Current.has_reported_end or facts.get("event") == "end"
        line = {
            "at": _instant(record, "milliseconds"),
            "level": record.levelname.lower(),
            "run_id": _Current.run_id,
            "message": " ".join(sentence(record.getMessage()).split()),
            **facts,
        }
        return printable(json.dumps(line, ensure_ascii=False, default=str))


def _instant(record: logging.LogRecord, precision: str) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec=precision).replace("+00:00", "Z")
