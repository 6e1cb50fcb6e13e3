"""The courses that write: a run that plans and applies, and one that applies a saved plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from fleetfuel.course.complaints import refusal_of, strict_complaint
from fleetfuel.course.looking import Apply, Looking
from fleetfuel.course.reports import (
    complete_report,
    finish_report,
    has_something_to_report,
    report_folder,
    report_written,
)
from fleetfuel.course.request import Outcome, Request
from fleetfuel.course.upkeep import copy_devices, refresh_facts
from fleetfuel.feed import deliver
from fleetfuel.model.files import Delivery, version_of
from fleetfuel.model.plan import Counts, Plan
from fleetfuel.model.table import Table
from fleetfuel.plan.files import stalled_feed
from fleetfuel.plan.limits import Overrides, Totals, check_limits, still_refused
from fleetfuel.report import evidence
from fleetfuel.report.summary import Summary, as_applied, read_summary, same_again
from fleetfuel.rules.book import Rules
from fleetfuel.settings import Settings
from fleetfuel.table import ledger
from fleetfuel.table.database import Database
from fleetfuel.table.standing import Standing, read_files, read_standing, read_untouched
from fleetfuel.table.state import Now

GRACE: Final = 10.0
"""A run that has fetched its files waits at least so many seconds for the lock."""


class Writing(Looking):
    """An applying run. The lock is a table lock that ends with each transaction: it is held while the ledger is read,
    released while files are fetched, and taken again for the transaction that reads the table and writes it.
    """

    preceding = "were applied"

    def summarise(self, plan: Plan, folder: Path | None, connection: Database) -> Summary:
        """The summary of a run that is to be applied: its report is written before the load."""
        return msgspec.structs.replace(super().summarise(plan, folder, connection), to_apply=True)

    def begin(self, connection: Database) -> Standing:
        """Also write the ledger's line of the run, and complete what the last run left unfinished."""
        request = self.request
        connection.take_lock(wait_seconds=request.wait_seconds)
        standing = read_standing(connection, with_files=request.mode == "changes")
        source = _source_of(request, self.settings)
        ledger.begin_run(request.run_id, request.mode, source, request.started_at, connection)
        connection.commit()
        copy_devices(connection)
        if standing.last_summary:
            complete_report(read_summary(standing.last_summary))
        self._has_stale_facts = standing.has_stale_facts
        return standing

    def find_untouched(self, rules: Rules, standing: Standing, connection: Database) -> Outcome | None:
        """The hourly case: the snapshot in the bucket is the one applied last, and nobody has touched the table since.

        The first is known from its ETag and LastModified, without a download; the second from an aggregate over the
        table, without reading the rows. Every change of a row, by a load or by hand, changes the aggregate.
        """
        request = self.request
        mark = standing.marks.get("snapshot")
        if request.mode != "snapshot" or request.reading == "changes" or not mark:
            return None
        if mark["rules_digest"] != rules.digest or request.trusts_nothing or request.overrides.force_old_snapshot:
            return None
        if mark["modified_at"] is None:
            return None
        listed = deliver.look_at_snapshot(self.settings)
        applied_version = version_of(mark["key"], mark["etag"], mark["modified_at"])
        if version_of(listed.key, listed.etag, listed.modified_at) != applied_version:
            return None
        connection.take_lock("repeatable read", wait_seconds=max(request.wait_seconds, GRACE))
        found = read_untouched(connection, mark, skips_proof=request.skip_unchanged)
        applied = read_summary(found) if found else None
        if applied is None or (applied.mode, applied.read_as) != ("snapshot", "snapshot"):
            connection.rollback()
            return None
        if _needs_override(applied, rules, request.overrides):
            connection.rollback()
            return None
        summary = same_again(
            applied, request.run_id, request.started_at, connection.role, skips_proof=request.skip_unchanged
        )
        stalled = stalled_feed(listed.modified_at, request.started_at, rules)
        remarks = [*stalled, *summary.remarks]
        summary = msgspec.structs.replace(summary, remarks=remarks, seconds=request.seconds())
        ledger.record_untouched(summary, connection)
        connection.commit()
        if self._has_stale_facts:
            refresh_facts(connection)
        return Outcome(summary=summary, error=strict_complaint(request, summary.counts.rejected))

    def open(self, connection: Database) -> Table:
        connection.take_lock("repeatable read", wait_seconds=max(self.request.wait_seconds, GRACE))
        return Now(connection)

    def still_wanted(self, delivery: Delivery, connection: Database) -> Delivery:
        if self.request.mode != "changes" or self.request.reseed:
            return delivery
        read = read_files(connection)
        files = (
            file for file in delivery.files if version_of(file.key, file.etag, file.modified_at) not in read.versions
        )
        return replace(delivery, files=tuple(files))

    def finish(self, plan: Plan, connection: Database, apply: Apply) -> Outcome:
        folder = report_folder(self.request, self.settings, plan) if has_something_to_report(plan) else None
        summary = self.summarise(plan, folder, connection)
        refusal = refusal_of(plan)
        if refusal:
            if folder:
                summary = evidence.write_report(plan, summary, folder)
            ledger.record_refusal(plan, summary, connection)
            return Outcome(summary=summary, error=refusal)
        conflicts = self.conflicts(plan)
        if conflicts:
            if folder:
                evidence.write_report(plan, summary, folder)
            raise conflicts
        with report_written(plan, summary, folder) as written:
            receipt = apply(plan, summary, connection, evidence=written)
            summary = written()
        summary = as_applied(summary, refreshed=receipt.refreshed, seconds=self.request.seconds())
        if folder:
            finish_report(summary, folder)
        if receipt.written or self._has_stale_facts:
            refresh_facts(connection, plan)
        return Outcome(summary=summary, error=self.complain(plan))


class Approved(Writing):
    """A saved plan, applied: its report is the evidence, so no other report is written."""

    def __init__(self, request: Request, settings: Settings, saved: Summary) -> None:
        super().__init__(request, settings)
        self.saved = saved

    def find_untouched(self, _rules: Rules, _before: Standing, _connection: Database) -> Outcome | None:
        return None

    def finish(self, plan: Plan, connection: Database, apply: Apply) -> Outcome:
        assert self.request.plan
        folder = self.request.plan if self.request.plan.is_dir() else self.request.plan.parent
        guards = still_refused(plan.guards, plan.live_before, plan.counts, self.request.overrides)
        plan = replace(plan, guards=guards)
        summary = self.summarise(plan, folder, connection)
        refusal = refusal_of(plan)
        if refusal:
            ledger.record_refusal(plan, summary, connection)
            return Outcome(summary=summary, error=refusal)
        conflicts = self.conflicts(plan)
        if conflicts:
            raise conflicts
        receipt = apply(plan, summary, connection)
        done = {"refreshed": receipt.refreshed, "seconds": self.request.seconds()}
        finish_report(as_applied(self.saved, applied_by=plan.run_id, applied_role=summary.role, **done), folder)
        if receipt.written or self._has_stale_facts:
            refresh_facts(connection, plan)
        return Outcome(summary=as_applied(summary, **done), error=self.complain(plan))


def _needs_override(applied: Summary, rules: Rules, overrides: Overrides) -> bool:
    """Whether the snapshot passed the guards only by an option that is not given now: then the whole run decides."""
    counts = applied.counts
    reported = Counts(records=counts.records, rejected=counts.rejected)
    totals = Totals(reading="snapshot", cuts=(), counts=reported, live_before=0, mark=None, stops=())
    return counts.records == counts.rejected or bool(check_limits(totals, rules, overrides))


def _source_of(request: Request, settings: Settings) -> str:
    if request.plan or request.undo:
        return str(request.plan) if request.plan else f"run {request.undo}"
    if request.mode == "file":
        return ", ".join(map(str, request.paths))
    return f"s3://{settings.bucket}/{settings.prefix}{'latest.json' if request.mode == 'snapshot' else 'changes/'}"
