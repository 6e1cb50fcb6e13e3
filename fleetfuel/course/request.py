"""What is asked of a run, and what came of it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleetfuel import errors
from fleetfuel.model.files import Reading
from fleetfuel.model.plan import Mode
from fleetfuel.plan.limits import Overrides
from fleetfuel.report.summary import Summary, as_object


def new_run_id() -> str:
    """The time of its start in UTC and six random digits: `20261126T022030Z-cbb9bc`."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the person at the keyboard, or cron, asked for."""

    mode: Mode
    apply: bool = False
    paths: tuple[Path, ...] = ()
    """The files of mode `file`."""
    reading: Reading | None = None
    """How a file is read; None = the snapshot as a snapshot, anything else as changes."""
    report: Path | None = None
    """Where the report goes; None = a folder of the run's name in the settings' reports folder."""
    wants_report: bool = True
    overrides: Overrides = field(default_factory=Overrides)
    skip_bad_files: bool = False
    strict: bool = False
    skip_unchanged: bool = False
    """Mode snapshot: if the snapshot is the one applied last, do not look whether the table still matches, either."""
    trusts_nothing: bool = False
    """Compare every row's `raw` with the file's, whatever its fingerprint says."""
    plan: Path | None = None
    """A report whose plan is applied, in place of a plan of its own."""
    undo: str | None = None
    """Mode undo: the run that is undone, or the beginning of its id, or `last`."""
    skip_conflicts: bool = False
    """Mode undo: rows written since stay as they are."""
    as_of: datetime | None = None
    """Dry runs: compare with the table as it was at this instant."""
    reseed: datetime | None = None
    """Mode changes: read again from this instant on, whatever the ledger says."""
    wait_seconds: float = 0
    run_id: str = field(default_factory=new_run_id)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)
    """What `time.monotonic` gave when it was asked for, in seconds."""

    def seconds(self) -> float:
        """Seconds since then."""
        return round(time.monotonic() - self.clock, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    summary: Summary
    error: errors.FleetfuelError | None
    """What gives the exit code, if the run was planned, and loaded as far as possible, but did not end well."""

    @property
    def run(self) -> dict[str, Any]:
        """The `--json` object."""
        return as_object(self.summary)

    @property
    def exit_code(self) -> int:
        return self.error.exit_code if self.error else 0
