"""One import, from what is asked to what came of it: a course that only looks, and one that writes."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from fleetfuel import errors
from fleetfuel.feed import client, deliver
from fleetfuel.model.files import Delivery, Reading, version_of
from fleetfuel.model.plan import Counts, Mode, Plan, Receipt
from fleetfuel.model.table import Table
from fleetfuel.packaged import packaged
from fleetfuel.plan.files import stalled_feed
from fleetfuel.plan.limits import Overrides, Totals, check_limits, still_refused
from fleetfuel.report import evidence
from fleetfuel.report.summary import Summary, as_object, read_summary, same_again, summarise
from fleetfuel.rules.book import Rules
from fleetfuel.settings import Settings
from fleetfuel.table import ledger, migrate
from fleetfuel.table.as_of import AsOf, read_standing_as_of
from fleetfuel.table.database import Database
from fleetfuel.table.standing import Standing, read_files, read_standing, read_untouched
from fleetfuel.table.state import Now

log = logging.getLogger("fleetfuel")

GRACE: Final = 10.0
"""Seconds that a run which has fetched its files waits for the lock at least."""

FILLS_A_RUN: Final = 5_000
"""Fills whose stored facts a run computes anew at most. The views compute the others when they are read."""

LONG_REPORT: Final = 100_000
"""Rows of a report from which on it pays to write it in a thread of its own."""

Apply = Callable[..., Receipt]
"""`pipeline.apply`."""


# --- what is asked, what came of it -------------------------------------------------------------------------------


def new_run_id() -> str:
    """When it began, and what tells it from another of that second."""
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
    """Snapshot mode: where the snapshot is the one applied last, do not even look whether the table still matches."""
    trusts_nothing: bool = False
    """Compare every row's `raw` with the file's, whatever its fingerprint says."""
    plan: Path | None = None
    """A report whose plan is applied, in place of a plan of its own."""
    undo: str | None = None
    """Mode undo: the run that is undone, or the beginning of its id, or `last`."""
    skip_conflicts: bool = False
    """Mode undo: rows written since stay as they are."""
    as_of: datetime | None = None
    """Dry runs: the table is taken as it stood then."""
    reseed: datetime | None = None
    """Changes mode: read again from this instant on, whatever the ledger says."""
    wait_seconds: float = 0
    run_id: str = field(default_factory=new_run_id)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)
    """What `time.monotonic` said when it was asked."""

    def seconds(self) -> float:
        """How long ago that was."""
        return round(time.monotonic() - self.clock, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    summary: Summary
    error: errors.FleetfuelError | None
    """What the exit code tells of, where the run did not end well but was planned and, as far as it goes, loaded."""

    @property
    def run(self) -> dict[str, Any]:
        """The `--json` object."""
        return as_object(self.summary)

    @property
    def exit_code(self) -> int:
        return self.error.exit_code if self.error else 0


class Refused(errors.FleetfuelError):
    message = """Refused by {guards}: nothing was loaded."""
    exit_code = 3


class RejectsInStrictRun(errors.FleetfuelError):
    message = """{rejected} records were set aside, and --strict does not accept that. The others were treated as usual.
    They are in rejects.parquet of the report; `fleetfuel rejects --open` lists those of applied runs."""
    exit_code = 65


# --- two courses: one only looks, the other writes ----------------------------------------------------------------


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
        """What came of the run if there is nothing to do; None where the files have to be read."""
        return None

    def open(self, connection: Database) -> Table:
        """The table, in a transaction for the plan."""
        connection.begin("repeatable read", read_only=True)
        return AsOf(connection, self.request.as_of) if self.request.as_of else Now(connection)

    def still_wanted(self, delivery: Delivery, _connection: Database) -> Delivery:
        """The delivery, without files that another run has read since they were asked for."""
        return delivery

    def finish(self, plan: Plan, _connection: Database, _apply: Apply) -> Outcome:
        """Leave the evidence, and apply the plan or not."""
        folder = _report_folder(self.request, self.settings, plan)
        summary = self.summarise(plan, folder)
        if folder:
            summary = evidence.write_report(plan, summary, folder)
        return Outcome(summary=summary, error=_refusal(plan) or self.conflicts(plan) or self.complain(plan))

    def conflicts(self, plan: Plan) -> errors.FleetfuelError | None:
        """Rows of an undone run that were written since, unless they are to stay."""
        undo = plan.undo
        if undo and undo.conflicts and not self.request.skip_conflicts:
            return errors.UndoConflicts(conflicts=undo.conflicts, run_id=undo.run_id)
        return None

    def summarise(self, plan: Plan, folder: Path | None) -> Summary:
        return summarise(plan, report=str(folder) if folder else None, seconds=self.request.seconds())

    def complain(self, plan: Plan) -> errors.FleetfuelError | None:
        bad = next((file for file in plan.files if file.status == "bad"), None)
        if bad:
            return errors.BadChangeFile(key=bad.key, reason=bad.reason, preceding=self.preceding)
        return _strict_complaint(self.request, plan.counts.rejected)


class Writing(Looking):
    """An applying run. The lock is a table lock that ends with each transaction: it is held while the ledger is read,
    let go of while files are fetched, and taken again for the transaction that reads the table and writes it.
    """

    preceding = "was applied"

    def begin(self, connection: Database) -> Standing:
        """Also the line that the run began, and what the last run left undone."""
        request = self.request
        migrate.require_current(connection, packaged("migrations"))
        connection.take_lock(wait_seconds=request.wait_seconds)
        standing = read_standing(connection, with_files=request.mode == "changes")
        source = _source_of(request, self.settings)
        ledger.begin_run(request.run_id, request.mode, source, request.started_at, connection)
        connection.commit()
        _copy_devices(connection)
        if standing.last_summary:
            _complete_report(read_summary(standing.last_summary))
        self._has_stale_facts = standing.has_stale_facts
        return standing

    def find_untouched(self, rules: Rules, standing: Standing, connection: Database) -> Outcome | None:
        """The hourly case: the snapshot in the bucket is the one applied last, and nobody has touched the table since.

        Its ETag and LastModified tell the first without a download; an aggregate over the table tells the second
        without reading the rows. Whatever alters a row, a load or an edit by hand, alters the aggregate.
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
        summary = same_again(applied, request.run_id, request.started_at, skips_proof=request.skip_unchanged)
        stalled = stalled_feed(listed.modified_at, request.started_at, rules)
        remarks = [*stalled, *summary.remarks]
        summary = msgspec.structs.replace(summary, remarks=remarks, seconds=request.seconds())
        ledger.record_untouched(summary, connection)
        connection.commit()
        if self._has_stale_facts:
            _refresh_facts(connection)
        return Outcome(summary=summary, error=_strict_complaint(request, summary.counts.rejected))

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
        folder = _report_folder(self.request, self.settings, plan) if _has_something_to_tell(plan) else None
        summary = self.summarise(plan, folder)
        refusal = _refusal(plan)
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
        with _evidence(plan, summary, folder) as written:
            receipt = apply(plan, summary, connection, evidence=written)
            summary = written()
        summary = msgspec.structs.replace(
            summary, applied=True, refreshed=receipt.refreshed, seconds=self.request.seconds()
        )
        if folder:
            _finish_report(summary, folder)
        if receipt.written or self._has_stale_facts:
            _refresh_facts(connection)
        return Outcome(summary=summary, error=self.complain(plan))


class Approved(Writing):
    """A saved plan, applied: its report is the evidence, so that no other is written."""

    preceding = "was applied"

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
        summary = self.summarise(plan, folder)
        refusal = _refusal(plan)
        if refusal:
            ledger.record_refusal(plan, summary, connection)
            return Outcome(summary=summary, error=refusal)
        conflicts = self.conflicts(plan)
        if conflicts:
            raise conflicts
        receipt = apply(plan, summary, connection)
        done = {"applied": True, "refreshed": receipt.refreshed, "seconds": self.request.seconds()}
        _finish_report(msgspec.structs.replace(self.saved, applied_by=plan.run_id, **done), folder)
        if receipt.written or self._has_stale_facts:
            _refresh_facts(connection)
        return Outcome(summary=msgspec.structs.replace(summary, **done), error=self.complain(plan))


def choose(request: Request, settings: Settings, saved: tuple[Plan, Summary] | None) -> Looking:
    """The course that a request takes."""
    if saved:
        return Approved(replace(request, mode=saved[0].mode), settings, saved[1])
    if request.mode in ("snapshot", "changes"):
        client.get_ready()
    return Writing(request, settings) if request.apply else Looking(request, settings)


# --- what the courses share ---------------------------------------------------------------------------------------


def _needs_override(applied: Summary, rules: Rules, overrides: Overrides) -> bool:
    """Whether a snapshot that was let through once would not be again: that is for the whole run to say."""
    counts = applied.counts
    told = Counts(records=counts.records, rejected=counts.rejected)
    totals = Totals(reading="snapshot", cuts=(), counts=told, live_before=0, mark=None, stops=())
    return counts.records == counts.rejected or bool(check_limits(totals, rules, overrides))


def _has_something_to_tell(plan: Plan) -> bool:
    """Whether an applying run leaves a report. A dry run always does: it is what would be applied."""
    counts = plan.counts
    return bool(
        plan.diff.height or counts.rejected or counts.warned or plan.guards or any(file.reason for file in plan.files)
    )


def _report_folder(request: Request, settings: Settings, plan: Plan) -> Path | None:
    return (request.report or settings.reports / plan.run_id) if request.wants_report else None


def _refusal(plan: Plan) -> Refused | None:
    return Refused(guards=", ".join(guard.code for guard in plan.guards)) if plan.guards else None


def _strict_complaint(request: Request, rejected: int) -> errors.FleetfuelError | None:
    return RejectsInStrictRun(rejected=rejected) if request.strict and rejected else None


@contextmanager
def _evidence(plan: Plan, summary: Summary, folder: Path | None) -> Iterator[Callable[[], Summary]]:
    """Write the report: a long one while the server is at work. What is yielded waits until it is there."""
    if folder and plan.diff.height >= LONG_REPORT:
        with ThreadPoolExecutor(1, "fleetfuel-report") as pool:
            yield pool.submit(evidence.write_report, plan, summary, folder).result
        return
    if folder:
        summary = evidence.write_report(plan, summary, folder)
    yield lambda: summary


def _finish_report(summary: Summary, folder: Path) -> None:
    """The run is committed: what goes wrong here cannot make it fail, and the next run makes up for it."""
    try:
        evidence.finish_report(summary, folder)
    except OSError as error:
        log.warning("The run is applied, but its report in %s cannot say so: %s.", folder, error.strerror)


def _refresh_facts(connection: Database) -> None:
    """Compute stored facts of fills anew. The run is committed: what goes wrong here cannot make it fail."""
    try:
        connection.begin()
        connection.execute("refresh_fill_facts", FILLS_A_RUN)
        connection.commit()
    except errors.Interrupted:
        raise
    except errors.FleetfuelError as error:
        reason = str(error).splitlines()[0]
        log.warning(
            "The run is applied, but facts of fills were not computed anew: %s The views do it meanwhile.", reason
        )


def _copy_devices(connection: Database) -> None:
    """Make the copy of the vehicles' devices anew. They are somebody else's: what is wrong with them stops no run."""
    try:
        connection.take_lock()
        found = connection.rows("copy_devices", False)[0]  # noqa: FBT003
        connection.commit()
    except errors.Interrupted:
        raise
    except errors.AnotherRun:  # which copies them itself
        return
    except errors.FleetfuelError as error:
        log.warning("The devices of vehicles were not read: %s", str(error).splitlines()[0])
        connection.rollback()
        return
    if found["is_broken"]:
        log.warning("%s", found["said"])


def _complete_report(run: Summary) -> None:
    """Complete the report of the last applied run, should that run have been cut short right after its commit."""
    if not run.report:
        return
    folder = Path(run.report)
    with contextlib.suppress(errors.SourceNotFound, errors.BadInput, OSError):
        saved = evidence.read_report(folder)
        if saved.run_id == (run.planned_by or run.run_id) and not saved.applied:
            done = {"applied": True, "refreshed": run.refreshed, "applied_by": run.run_id if run.planned_by else None}
            evidence.finish_report(msgspec.structs.replace(saved, **done), folder)
            log.warning(
                "Run %s was cut short behind its commit: it is applied, and its report says so now.", run.run_id
            )


def _source_of(request: Request, settings: Settings) -> str:
    if request.plan or request.undo:
        return str(request.plan) if request.plan else f"run {request.undo}"
    if request.mode == "file":
        return ", ".join(map(str, request.paths))
    return f"s3://{settings.bucket}/{settings.prefix}{'latest.json' if request.mode == 'snapshot' else 'changes/'}"
