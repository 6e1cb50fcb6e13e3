"""One import, from its request to its exit code: lock, fetch, plan, leave evidence, load."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from fleetfuel import errors, logs, pipeline
from fleetfuel.feed import client, deliver, local, parcel
from fleetfuel.feed.gaps import describe_gaps
from fleetfuel.model import Delivery, Plan, Reading
from fleetfuel.plan.limits import Overrides
from fleetfuel.progress import Progress, silence
from fleetfuel.records import judge
from fleetfuel.report import evidence, summary
from fleetfuel.rules.book import Rules, load_rules
from fleetfuel.settings import Settings
from fleetfuel.table import database, load, state
from fleetfuel.untouched import find_untouched

log = logging.getLogger("fleetfuel")

ATTEMPTS: Final = 3
"""How often a run is planned where somebody else keeps writing the same rows."""


FILLS_REFRESHED: Final = 5_000
"""Fills whose stored facts a run computes anew at most. The views compute the others when they are read."""


LONG: Final = 100_000
"""Rows of a report from which on it pays to write it in a thread of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the person at the keyboard, or cron, asked for."""

    mode: Literal["snapshot", "changes", "file"]
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
    reseed: datetime | None = None
    """Changes mode: read again from this instant on, whatever the ledger says."""
    wait_seconds: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    run: dict[str, Any]
    """The `--json` object."""
    error: errors.FleetfuelError | None
    """What the exit code tells of, where the run did not end well but was planned and, as far as it goes, loaded."""

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


def run_import(request: Request, settings: Settings, database_url: str, progress: Progress = silence) -> Outcome:
    """Run one import. Raises every error that keeps it from being planned, or rolls it back."""
    started = time.monotonic()
    if request.mode != "file":
        client.get_ready()
    rules = load_rules(settings.rules)
    now = datetime.now(UTC)
    run = pipeline.Run(
        run_id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
        mode=request.mode,
        started_at=now,
        zone=settings.timezone,
        rules=rules,
        overrides=request.overrides,
        skip_bad_files=request.skip_bad_files,
        progress=progress,
    )
    logs.set_run(run.run_id)
    has_stale_facts = False
    with database.connect(database_url, application_name=f"fleetfuel {run.run_id}") as connection:
        if request.apply:
            connection.take_lock(wait_seconds=request.wait_seconds)
            has_stale_facts = _catch_up(connection)
            _copy_devices(connection)
        _prove(rules, connection)
        if request.mode == "snapshot" and request.apply and request.reading != "changes":
            untouched = find_untouched(settings, connection, run, skips_proof=request.skip_unchanged)
            if untouched:
                untouched["seconds"] = _since(started)
                load.record_untouched(untouched, rules.digest, connection)
                if has_stale_facts:
                    _refresh_facts(connection)
                return Outcome(run=untouched, error=_strict_complaint(request, untouched["counts"]["rejected"]))
        with _fetched(request, settings, connection, progress) as delivery:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return _plan_and_apply(
                        request, settings, delivery, connection, run, started, has_stale_facts=has_stale_facts
                    )
                except database.SerializationConflict as conflict:
                    if attempt == ATTEMPTS:
                        reason = conflict.facts["reason"]
                        raise errors.WriteConflict(reason=reason, attempts=ATTEMPTS) from conflict
                    log.warning("somebody else wrote the same rows; planning again (%s of %s)", attempt + 1, ATTEMPTS)
    raise AssertionError("unreachable")


def _plan_and_apply(
    request: Request,
    settings: Settings,
    delivery: Delivery,
    connection: database.Database,
    run: pipeline.Run,
    started: float,
    *,
    has_stale_facts: bool,
) -> Outcome:
    connection.begin("repeatable read", read_only=not request.apply)
    plan = pipeline.plan_run(delivery, connection, run)
    folder = _report_folder(request, settings, plan)
    shown = summary.plan_object(plan, applied=False, report=str(folder) if folder else None, seconds=_since(started))
    if folder and (plan.guards or not request.apply):
        evidence.write_report(plan, shown, folder)
    if plan.guards:
        refusal = Refused(guards=", ".join(guard.code for guard in plan.guards))
        if request.apply:
            load.record_refusal(plan, shown, _refusals(plan), connection)
        return Outcome(run=shown, error=refusal)
    if request.apply:
        with _evidence(plan, shown, folder) as written:
            receipt = pipeline.apply_plan(plan, shown, connection, run.progress, written)
        shown |= {"applied": True, "refreshed": receipt.refreshed, "seconds": _since(started)}
        if folder:
            _finish_report(shown, folder)
        if receipt.written or has_stale_facts:
            _refresh_facts(connection)
    return Outcome(run=shown, error=_complaint(request, plan))


@contextmanager
def _evidence(plan: Plan, shown: dict[str, Any], folder: Path | None) -> Iterator[Callable[[], None]]:
    """Write the report: a long one while the server is at work. What is yielded waits until it is there."""
    if folder and plan.diff.height >= LONG:
        with ThreadPoolExecutor(1, "fleetfuel-report") as pool:
            yield pool.submit(evidence.write_report, plan, shown, folder).result
        return
    if folder:
        evidence.write_report(plan, shown, folder)
    yield lambda: None


def _finish_report(run: dict[str, Any], folder: Path) -> None:
    """The run is committed: what goes wrong here cannot make it fail, and the next run makes up for it."""
    try:
        evidence.finish_report(run, folder)
    except OSError as error:
        log.warning("The run is applied, but its report in %s cannot say so: %s.", folder, error.strerror)


def _prove(rules: Rules, connection: database.Database) -> None:
    """Run the rules' examples, unless `migrate` has proved these very rules."""
    connection.begin(read_only=True)
    proven = state.read_rules_state(connection)
    connection.rollback()
    if any(proven.get(file) != digest for file, digest in rules.file_digests.items()):
        judge.prove_rules(rules)


def _refresh_facts(connection: database.Database) -> None:
    """Compute stored facts of fills anew. The run is committed: what goes wrong here cannot make it fail."""
    try:
        connection.begin()
        connection.execute("refresh_fill_facts", FILLS_REFRESHED)
        connection.commit()
    except errors.Interrupted:
        raise
    except errors.FleetfuelError as error:
        reason = str(error).splitlines()[0]
        log.warning(
            "The run is applied, but facts of fills were not computed anew: %s The views do it meanwhile.", reason
        )


def _copy_devices(connection: database.Database) -> None:
    """Make the copy of the vehicles' devices anew. They are somebody else's: what is wrong with them stops no run."""
    try:
        connection.begin()
        found = connection.rows("copy_devices", False)[0]  # noqa: FBT003
        connection.commit()
    except errors.Interrupted:
        raise
    except errors.FleetfuelError as error:
        log.warning("The devices of vehicles were not read: %s", str(error).splitlines()[0])
        connection.rollback()
        return
    if found["is_broken"]:
        log.warning("%s", found["said"])


def _catch_up(connection: database.Database) -> bool:
    """Complete the report of the last applied run, should that run have been cut short right behind its commit.

    Says whether stored facts of fills are stale: the same statement tells.
    """
    connection.begin(read_only=True)
    run, has_stale_facts = state.read_last_summary(connection)
    connection.rollback()
    if run.get("report"):
        folder = Path(run["report"])
        with contextlib.suppress(errors.SourceNotFound, errors.BadInput, OSError):
            saved = evidence.read_report(folder)
            if saved["run_id"] == run["run_id"] and not saved.get("applied"):
                evidence.finish_report(run, folder)
                log.warning(
                    "Run %s was cut short behind its commit: it is applied, and its report says so now.", run["run_id"]
                )
    return has_stale_facts


def _complaint(request: Request, plan: Plan) -> errors.FleetfuelError | None:
    bad = next((file for file in plan.files if file.status == "bad"), None)
    if bad:
        done = "was applied" if request.apply else "would be applied"
        return errors.BadChangeFile(key=bad.key, reason=bad.reason, preceding=done)
    return _strict_complaint(request, plan.counts.rejected)


def _strict_complaint(request: Request, rejected: int) -> errors.FleetfuelError | None:
    return RejectsInStrictRun(rejected=rejected) if request.strict and rejected else None


def _report_folder(request: Request, settings: Settings, plan: Plan) -> Path | None:
    """Where the report goes: a dry run or a refusal always leaves one, an applied run that has something to tell."""
    if not request.wants_report:
        return None
    counts = plan.counts
    tells = plan.diff.height or counts.rejected or counts.warned or plan.guards or any(f.reason for f in plan.files)
    if request.apply and not tells:
        return None
    return request.report or settings.reports / plan.run_id


def _refusals(plan: Plan) -> str:
    return "; ".join(f"{guard.code}: {guard.seen}, limit {guard.limit}" for guard in plan.guards)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


# --- what to read -------------------------------------------------------------------------------------------------


def _fetched(
    request: Request, settings: Settings, connection: database.Database, progress: Progress
) -> AbstractContextManager[Delivery]:
    def arrived(done: int, total: int) -> None:
        progress("fetch", done, total)

    if request.mode == "file":
        reading = request.reading or "changes"
        return local.open_files(request.paths, reading=reading, timezone=settings.timezone, progress=arrived)
    if request.mode == "changes":
        return _fetched_changes(request, settings, connection, arrived)
    return _read_as(deliver.fetch_snapshot(settings, arrived), request.reading or "snapshot")


@contextmanager
def _read_as(fetched: AbstractContextManager[Delivery], reading: Reading) -> Iterator[Delivery]:
    with fetched as delivery:
        yield replace(delivery, reading=reading)


@contextmanager
def _fetched_changes(
    request: Request, settings: Settings, connection: database.Database, arrived: parcel.Progress
) -> Iterator[Delivery]:
    """The change files that no run has read: all since the watermark, late and overwritten ones in the look-back."""
    connection.begin("read committed", read_only=True)
    watermark = state.read_watermark(connection)
    read = state.read_files(connection) if request.reseed is None else frozenset()
    connection.rollback()
    since = request.reseed or (watermark - timedelta(hours=settings.lookback_hours) if watermark else None)
    listing = deliver.list_changes(settings, since)
    wanted = [
        file
        for file in listing.files
        if (file.key, file.etag) not in read and (request.reseed is None or file.at >= request.reseed)
    ]
    times = [file.at for file in wanted] + ([watermark] if watermark else [])
    notices = (*listing.notices, *describe_gaps(_from(watermark, times)))
    with deliver.fetch_changes(settings, wanted, arrived) as delivery:
        yield replace(delivery, notices=(*notices, *delivery.notices))


def _from(watermark: datetime | None, times: list[datetime]) -> list[datetime]:
    """Times from the watermark on: what lies before it was looked at when it was new."""
    return [at for at in times if watermark is None or at >= watermark]


def record_failure(request: Request, settings: Settings, database_url: str, error: errors.FleetfuelError) -> None:
    """Leave a line in the ledger for an applying run that failed; where even that cannot be done, nothing."""
    with contextlib.suppress(errors.FleetfuelError), database.connect(database_url) as connection:
        load.record_failure(request.mode, _source_of(request, settings), error, connection, logs.current_run())


def _source_of(request: Request, settings: Settings) -> str:
    if request.mode == "file":
        return ", ".join(map(str, request.paths))
    return f"s3://{settings.bucket}/{settings.prefix}{'latest.json' if request.mode == 'snapshot' else 'changes/'}"
