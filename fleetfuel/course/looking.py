"""The course that only looks: a dry run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fleetfuel import errors
from fleetfuel.course.complaints import refusal_of, strict_complaint
from fleetfuel.course.reports import report_folder
from fleetfuel.course.request import Outcome, Request
from fleetfuel.model.files import Delivery
from fleetfuel.model.plan import Plan, Receipt
from fleetfuel.model.table import Table
from fleetfuel.report import evidence
from fleetfuel.report.summary import Summary, summarise
from fleetfuel.rules.book import Rules
from fleetfuel.settings import Settings
from fleetfuel.table.as_of import AsOf, read_standing_as_of
from fleetfuel.table.database import Database
from fleetfuel.table.standing import Standing, read_standing
from fleetfuel.table.state import Now

Apply = Callable[..., Receipt]
"""`pipeline.apply`."""


class Looking:
    """A dry run: it takes no lock, leaves a report, and writes nothing to the database."""

    preceding = "would be applied"

    def __init__(self, request: Request, settings: Settings) -> None:
        self.request = request
        self.settings = settings

    def begin(self, connection: Database) -> Standing:
        """What the run has to know before it fetches anything."""
        connection.begin(read_only=True)
        if self.request.as_of:
            standing = read_standing_as_of(connection, self.request.as_of)
        else:
            standing = read_standing(connection, with_files=self.request.mode == "changes")
        connection.rollback()
        return standing

    def find_untouched(self, _rules: Rules, _standing: Standing, _connection: Database) -> Outcome | None:
        """What came of the run if there is nothing to do; None if the files have to be read."""
        return None

    def open(self, connection: Database) -> Table:
        """The table, in a transaction for the plan."""
        connection.begin("repeatable read", read_only=True)
        return AsOf(connection, self.request.as_of) if self.request.as_of else Now(connection)

    def still_wanted(self, delivery: Delivery, _connection: Database) -> Delivery:
        """The delivery, without files that another run has read since they were asked for."""
        return delivery

    def finish(self, plan: Plan, connection: Database, _apply: Apply) -> Outcome:
        """Leave the evidence, and apply the plan or not."""
        folder = report_folder(self.request, self.settings, plan)
        summary = self.summarise(plan, folder, connection)
        if folder:
            summary = evidence.write_report(plan, summary, folder)
        return Outcome(summary=summary, error=refusal_of(plan) or self.conflicts(plan) or self.complain(plan))

    def conflicts(self, plan: Plan) -> errors.FleetfuelError | None:
        """Rows of an undone run that were written since, unless they are to stay."""
        undo = plan.undo
        if undo and undo.conflicts and not self.request.skip_conflicts:
            return errors.UndoConflicts(conflicts=undo.conflicts, run_id=undo.run_id)
        return None

    def summarise(self, plan: Plan, folder: Path | None, connection: Database) -> Summary:
        report = str(folder) if folder else None
        return summarise(plan, role=connection.role, report=report, seconds=self.request.seconds())

    def complain(self, plan: Plan) -> errors.FleetfuelError | None:
        """The error of a run that did what it could: a bad change file stopped it, or `--strict` records were
        rejected."""
        bad = next((file for file in plan.files if file.status == "bad"), None)
        if bad:
            return errors.BadChangeFile(key=bad.key, reason=bad.reason, preceding=self.preceding)
        return strict_complaint(self.request, plan.counts.rejected)
