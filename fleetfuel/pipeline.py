"""THE ORDER of a run, written once: plan → evidence → apply. A dry run is a run that does not call `apply`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Final

import polars as pl

from fleetfuel import errors
from fleetfuel.course.choice import choose
from fleetfuel.course.request import Outcome, Request
from fleetfuel.feed import wanted
from fleetfuel.model.files import Delivery, Reading
from fleetfuel.model.plan import FileCount, Plan, Receipt
from fleetfuel.model.progress import Progress, silence
from fleetfuel.model.records import Cut
from fleetfuel.model.table import State, Table
from fleetfuel.packaged import packaged
from fleetfuel.plan import match, undo, words
from fleetfuel.plan.assemble import make_plan
from fleetfuel.plan.batch import Batch, join_batches, judge_records
from fleetfuel.plan.counts import count_decisions
from fleetfuel.plan.evidence import Mark
from fleetfuel.plan.files import cut_files, find_partial, put_in_order, read_markers
from fleetfuel.plan.run import Run
from fleetfuel.records import judge
from fleetfuel.records.places import FeedTexts
from fleetfuel.records.rows import INDEX, index_records
from fleetfuel.report import plan_file
from fleetfuel.report.summary import Summary, as_applied
from fleetfuel.rules.book import Rules, load_rules
from fleetfuel.rules.zone import in_feed_zone
from fleetfuel.settings import Settings
from fleetfuel.side import start_work
from fleetfuel.table import database, ledger, load, undone
from fleetfuel.table.database import Database
from fleetfuel.table.fitness import demand_fitting_schema
from fleetfuel.table.migrate import require_current
from fleetfuel.table.standing import Standing, read_marks

__all__ = ["Outcome", "Request", "Run", "apply", "plan_import", "plan_saved", "plan_undo", "record_failure", "run"]

log = logging.getLogger("fleetfuel")

ATTEMPTS: Final = 3
"""How often a run is planned if somebody else keeps writing the same rows."""

LONG_FILES: Final = 1 << 23
"""From this many bytes of files on, they are cut in a thread of their own."""


NOTHING: Final = Delivery(reading="changes", source="", files=())
"""The delivery of a run that fetches no file."""


# --- the stages ---------------------------------------------------------------------------------------------------


def plan_import(delivery: Delivery, table: Table, run: Run) -> Plan:
    """Decide what has to be written so that the table equals the delivery. Reads the database, writes nothing.

    Raises `BadInput` for a file that cannot be cut into records.
    """
    (cuts, bad), current = _cut_and_read_state(delivery, table, run)
    cuts = put_in_order(cuts, delivery.reading, current.now)
    mark = _mark(delivery, current, run)
    reading, partial, known, batch = _read(delivery, cuts, current, mark, run)
    texts = FeedTexts([cut.records for cut in cuts], batch.unwrapped)
    said = words.find_words(reading, batch, cuts, current)
    batch = replace(batch, accepted=batch.accepted.select("id"))  # `said` holds the rest until it is decided
    decisions = [words.compare_words(reading, said, texts, mark, table)]
    if reading == "snapshot" and cuts:
        decisions.append(words.find_gone(known, batch, texts, cuts[-1].file_at, current, mark, table))
    decided = count_decisions(chain.from_iterable(decisions))
    return make_plan(run, delivery, reading, partial, cuts, texts, bad, known, batch, decided, current, table)


def plan_undo(run_id: str, database: Database, run: Run) -> Plan:
    """Decide what has to be written so that the rows are what they were before a run. Writes nothing.

    Raises `SourceNotFound` for a run that the ledger does not hold, and `CannotUndo`.
    """
    return undo.plan_rows(undone.read_undone(database, run_id), run)


def plan_saved(plan: Plan, database: Database, rules: Rules) -> Plan:
    """A plan that was read from a report, if it still fits as a whole; its rows are checked when they are staged.

    Raises `PlanApplied`, and `PlanNoLongerFits` under other rules, or if a newer snapshot was applied since.
    """
    applied = database.rows("read_plan_run", plan.planned_by)
    if applied:
        raise errors.PlanApplied(plan=plan.planned_by, run_id=applied[0]["run_id"])
    if plan.as_of:
        raise errors.PlanNoLongerFits(plan=plan.planned_by, reason="it was made against an earlier state of the table")
    changed = sorted(dict(set(plan.rule_files.items()) ^ set(rules.file_digests.items())))
    if changed:
        raise errors.PlanNoLongerFits(
            plan=plan.planned_by, reason=f"it was made under other rules ({', '.join(changed)})"
        )
    mark = read_marks(database)["snapshot"]
    moved = mark["watermark"] is not None and mark["watermark"] != plan.mark_before
    if moved and (plan.source_at is None or mark["watermark"] > plan.source_at) and plan.mode != "undo":
        reason = f"run {mark['run_id']} has applied a snapshot of {mark['watermark']:%Y-%m-%d %H:%M:%SZ} since"
        raise errors.PlanNoLongerFits(plan=plan.planned_by, reason=reason)
    return plan


def apply(
    plan: Plan,
    summary: Summary,
    database: Database,
    progress: Progress = silence,
    evidence: Callable[[], Summary] | None = None,
) -> Receipt:
    """Write the plan in the open transaction, prove that it did just that, and commit.

    `evidence` is called before the commit. It returns the summary with the report's checksum, and raises if the report
    could not be written.
    """
    receipt = load.load_plan(plan, database, progress)
    ledger.record_applied(plan, as_applied(evidence() if evidence else summary), database)
    load.commit_plan(plan, database)
    return receipt


def run(request: Request, settings: Settings, database_url: str, progress: Progress = silence) -> Outcome:
    """Run what is asked: an import, an undo, or a saved plan. Raises the error that kept it from being planned, or that
    rolled it back; what else went wrong is in the outcome."""
    saved = plan_file.read_plan(request.plan, request.run_id, request.started_at) if request.plan else None
    course = choose(request, settings, saved)
    with database.connect(database_url, application_name=f"fleetfuel {request.run_id}") as connection:
        demand_fitting_schema(connection, packaged("migrations"))
        require_current(connection, packaged("migrations"))
        standing = course.begin(connection)
        rules = load_rules(settings.rules)
        settings = in_feed_zone(settings, rules.zone)
        _prove(rules, standing)
        untouched = course.find_untouched(rules, standing, connection)
        if untouched:
            return untouched
        about = _about(request, rules, progress)
        with _fetch(request, settings, standing, progress) as delivery:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    table = course.open(connection)
                    if saved:
                        plan = plan_saved(saved[0], connection, rules)
                    elif request.undo:
                        plan = plan_undo(request.undo, connection, about)
                    else:
                        plan = plan_import(course.still_wanted(delivery, connection), table, about)
                    return course.finish(plan, connection, partial(apply, progress=progress))
                except database.SerializationConflict as conflict:
                    if attempt == ATTEMPTS:
                        reason = conflict.facts["reason"]
                        raise errors.WriteConflict(reason=reason, attempts=ATTEMPTS) from conflict
                    log.warning("somebody else wrote the same rows; planning again (%s of %s)", attempt + 1, ATTEMPTS)
    raise AssertionError("unreachable")


# --- the parts of a stage ----------------------------------------------------------------------------------------


def _cut_and_read_state(
    delivery: Delivery, table: Table, run: Run
) -> tuple[tuple[tuple[Cut, ...], tuple[FileCount, ...]], State]:
    """Long files are cut while the server sends its rows."""
    if sum(file.size for file in delivery.files) < LONG_FILES:
        return cut_files(delivery, run), table.state()
    with start_work("fleetfuel-cut", partial(cut_files, delivery, run)) as cut:
        current = table.state()
        return cut(), current


def _mark(delivery: Delivery, current: State, run: Run) -> Mark:
    return Mark(
        at=current.mark,
        overlap=timedelta(minutes=run.rules.guards.overlap_minutes),
        is_forced=delivery.reading == "snapshot" and run.overrides.force_old_snapshot,
    )


def _read(
    delivery: Delivery, cuts: tuple[Cut, ...], current: State, mark: Mark, run: Run
) -> tuple[Reading, str | None, pl.DataFrame, Batch]:
    """How the delivery is read, why not as it was asked, the records that match, and the others. A snapshot that shows
    that it is not complete is read like a change file: it makes no row absent."""
    known, batch = _match(delivery.reading, cuts, current, mark, run)
    partial = find_partial(cuts, read_markers(cuts, batch.markers)) if delivery.reading == "snapshot" else None
    if partial is None:
        return delivery.reading, None, known, batch
    return "changes", partial, *_match("changes", cuts, current, mark, run)


def _match(reading: Reading, cuts: tuple[Cut, ...], current: State, mark: Mark, run: Run) -> tuple[pl.DataFrame, Batch]:
    """The records that the table holds as they stand (`INDEX` with `row`), and what the others say."""
    index = pl.concat([INDEX.to_frame(), *(index_records(cut, number) for number, cut in enumerate(cuts))])
    times = [cut.file_at for cut in cuts] if reading == "changes" else None
    if run.trusts_nothing or mark.is_forced:
        known, unknown = match.match_nothing(index)
    else:
        known, unknown = match.match_rows(index, current, mark, times)
    batch = judge_records(unknown, cuts, run)
    known, repeated = match.split_repeated(known, batch.accepted["id"], current)
    if repeated.height:
        batch = join_batches(batch, judge_records(repeated.select(INDEX.names()), cuts, run))
    return known, batch


def _about(request: Request, rules: Rules, progress: Progress) -> Run:
    return Run(
        run_id=request.run_id,
        mode=request.mode,
        started_at=request.started_at,
        zone=rules.zone,
        rules=rules,
        overrides=request.overrides,
        skip_bad_files=request.skip_bad_files,
        trusts_nothing=request.trusts_nothing,
        as_of=request.as_of,
        progress=progress,
    )


def _fetch(
    request: Request, settings: Settings, standing: Standing, progress: Progress
) -> AbstractContextManager[Delivery]:
    """The files that are wanted, readable inside the block. No transaction is open meanwhile."""
    if request.plan or request.undo:
        return nullcontext(NOTHING)
    if request.mode == "file":
        return wanted.open_local(request.paths, request.reading, settings, progress)
    if request.mode == "changes":
        return wanted.fetch_changes(standing.watermark, standing.read, request.reseed, settings, progress)
    return wanted.fetch_snapshot(request.reading, settings, progress)


def _prove(rules: Rules, standing: Standing) -> None:
    """Run the rules' examples, unless `migrate` has proved these very rules."""
    if any(standing.proven.get(file) != digest for file, digest in rules.file_digests.items()):
        judge.prove_rules(rules)


def record_failure(request: Request, database_url: str, error: errors.FleetfuelError) -> None:
    """Close the ledger's line of a run that began and failed. If that fails, too, nothing happens."""
    with contextlib.suppress(errors.FleetfuelError), database.connect(database_url) as connection:
        ledger.record_failure(request.run_id, error, connection)
