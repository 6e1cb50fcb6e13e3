"""The report that a run leaves: whether, where, and when it is written."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from fleetfuel import errors
from fleetfuel.course.request import Request
from fleetfuel.model.plan import Plan
from fleetfuel.report import evidence
from fleetfuel.report.summary import Summary, as_applied
from fleetfuel.settings import Settings
from fleetfuel.side import start_work

log = logging.getLogger("fleetfuel")


LONG_REPORT: Final = 100_000
"""A report of at least so many rows is written in a thread of its own."""


def has_something_to_report(plan: Plan) -> bool:
    """Whether an applying run leaves a report. A dry run always does: it is what would be applied."""
    counts = plan.counts
    return bool(
        plan.diff.height or counts.rejected or counts.warned or plan.guards or any(file.reason for file in plan.files)
    )


def report_folder(request: Request, settings: Settings, plan: Plan) -> Path | None:
    """Where the report goes; None with `--no-report`."""
    return (request.report or settings.reports / plan.run_id) if request.wants_report else None


@contextmanager
def report_written(plan: Plan, summary: Summary, folder: Path | None) -> Iterator[Callable[[], Summary]]:
    """Write the report; a long one while the server is at work. What is yielded waits until it is written, and returns
    the summary with its checksum."""
    if folder and plan.diff.height >= LONG_REPORT:
        with start_work("fleetfuel-report", partial(evidence.write_report, plan, summary, folder)) as written:
            yield written
        return
    if folder:
        summary = evidence.write_report(plan, summary, folder)
    yield lambda: summary


def finish_report(summary: Summary, folder: Path) -> None:
    """Note in the report that the run is applied. It is committed: what goes wrong here cannot make it fail, and the
    next run completes the report."""
    try:
        evidence.finish_report(summary, folder)
    except OSError as error:
        log.warning("The run is applied, but its report in %s cannot say so: %s.", folder, error.strerror)


def complete_report(run: Summary) -> None:
    """Complete the report of the last applied run, if that run was cut short right after its commit."""
    if not run.report:
        return
    folder = Path(run.report)
    with contextlib.suppress(errors.SourceNotFound, errors.BadInput, OSError):
        saved = evidence.read_report(folder)
        if saved.run_id == (run.planned_by or run.run_id) and not saved.applied:
            done: dict[str, Any] = {"refreshed": run.refreshed}
            if run.planned_by:
                done |= {"applied_by": run.run_id, "applied_role": run.role}
            evidence.finish_report(as_applied(saved, **done), folder)
            log.warning("Run %s was cut short after its commit: it is applied, and its report says so now.", run.run_id)
