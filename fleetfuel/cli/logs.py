"""Logs on stderr: sentences for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from fleetfuel.cli import progress
from fleetfuel.printable import printable, sentence

log = logging.getLogger("fleetfuel")


class _Current:
    """The run this process is about, once there is one."""

    run_id: str | None = None


def set_run(run_id: str) -> None:
    """Every line from now on is about this run."""
    _Current.run_id = run_id


def current_run() -> str | None:
    """The run this process is about; None before it began."""
    return _Current.run_id


def set_up(form: str, *, verbose: bool = False) -> None:
    """Log as `text` or `json`: warnings and errors, and with `verbose` the steps, too."""
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
    def format(self, record: logging.LogRecord) -> str:
        return LABELS.get(record.levelno, "") + sentence(record.getMessage())


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = getattr(record, "facts", {})
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "run_id": _Current.run_id,
            "message": " ".join(sentence(record.getMessage()).split()),
            **facts,
        }
        return printable(json.dumps(line, ensure_ascii=False, default=str))
