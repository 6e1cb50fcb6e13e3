"""Remove what is older than an age: report folders, overwritten versions, old rejects, lines of the ledger."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fleetfuel import errors
from fleetfuel.feed.keys import parse_instant
from fleetfuel.model.progress import Progress, silence
from fleetfuel.report import evidence
from fleetfuel.report.words import iso, wrapped
from fleetfuel.settings import Settings
from fleetfuel.table import standing
from fleetfuel.table.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What is old enough to be removed."""

    before: datetime
    """All of it ended before this instant."""
    folders: tuple[Path, ...]
    """Report folders, each with its plan.json."""
    bytes: int
    """Their size, in bytes."""
    versions: int
    """Rows of fuel.record_versions."""
    rejects: int
    """Rows of fuel.rejects: resolved, or not seen since, unless the last snapshot's file holds them."""
    runs: tuple[str, ...]
    """Run ids of fuel.ingest_runs."""
    files: tuple[dict[str, str], ...]
    """`key`, `etag` and `modified_at` of rows of fuel.ingest_files."""

    @property
    def is_empty(self) -> bool:
        return not (self.folders or self.versions or self.rejects or self.runs or self.files)


def plan_prune(database: Database, settings: Settings, before: datetime) -> PrunePlan:
    """Find what ended before an instant, in the open transaction. It removes nothing.

    Kept at any age: the last run, and the last of each status, of every mode; runs that set a feed's mark; files that
    `import --changes` would else take for new; open rejects of the last snapshot's file; folders without a report.
    """
    counts = database.rows("count_prunable", before)[0]
    folders = tuple(sorted(_old_reports(settings.reports, before)))
    return PrunePlan(
        before=before,
        folders=folders,
        bytes=sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()),
        versions=counts["versions"],
        rejects=counts["rejects"],
        runs=tuple(row["run_id"] for row in database.rows("read_prunable_runs", before)),
        files=tuple(_old_files(database, settings, before)),
    )


def apply_prune(plan: PrunePlan, database: Database, progress: Progress = silence) -> None:
    """Remove it: first the rows, in the open transaction, which is committed; then the folders.

    Raises `LoadMismatch` if the table has changed since; then nothing is removed. Raises `PermissionDenied` for a
    folder that cannot be removed.
    """
    done = {
        "versions": database.rows("prune_versions", plan.before)[0]["rows"],
        "rejects": database.rows("prune_rejects", plan.before)[0]["rows"],
        "runs": database.rows("prune_runs", json.dumps(plan.runs))[0]["rows"],
        "files": database.rows("prune_files", json.dumps(plan.files))[0]["rows"],
    }
    planned = {"versions": plan.versions, "rejects": plan.rejects, "runs": len(plan.runs), "files": len(plan.files)}
    if done != planned:
        raise errors.LoadMismatch(what="rows to prune", planned=planned, done=done)
    database.commit()
    for number, folder in enumerate(plan.folders, 1):
        progress("prune", number, len(plan.folders))
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise errors.PermissionDenied(
                what=f"Removing {folder}",
                reason=error.strerror,
                next_step="The database is pruned; give this user the right to the folder, then repeat the command.",
            ) from None


def _old_reports(reports: Path, before: datetime) -> Iterator[Path]:
    """Folders directly in `reports` whose plan.json is that of a run that began before the instant."""
    for plan in reports.glob(f"*/{evidence.PLAN}"):
        folder = plan.parent
        if folder.is_symlink():
            continue
        try:
            run = evidence.read_report(folder)
        except errors.FleetfuelError:
            continue
        if run.started_at < before:
            yield folder


def _old_files(database: Database, settings: Settings, before: datetime) -> Iterator[dict[str, str]]:
    """Files that `import --changes` does not look at again: the time in their name, and that of their writing, lie
    before the look-back."""
    mark = standing.read_marks(database)["changes"]
    if mark["watermark"] is None:
        return
    since = mark["watermark"] - timedelta(hours=settings.lookback_hours)
    for row in database.rows("read_prunable_files", before):
        written = row["modified_at"]
        if written >= since:
            continue
        if (parse_instant(row["key"], settings.timezone) or written) < since:
            yield {"key": row["key"], "etag": row["etag"], "modified_at": written.isoformat()}


def plan_object(plan: PrunePlan, *, applied: bool) -> dict[str, Any]:
    """What is old, or was removed, JSON-ready."""
    return {
        "applied": applied,
        "before": iso(plan.before),
        "folders": [str(folder) for folder in plan.folders],
        "bytes": plan.bytes,
        "versions": plan.versions,
        "rejects": plan.rejects,
        "runs": list(plan.runs),
        "files": list(plan.files),
    }


def render_plan(plan: PrunePlan, *, reports: Path, age: str, applied: bool, width: int) -> str:
    """What is old, or was removed, as text; `age` as it was given."""
    rows = [
        ("report folders", len(plan.folders), f"{plan.bytes / 1e6:,.1f} MB in {reports}"),
        ("overwritten versions", plan.versions, "for `fleetfuel history`"),
        ("rejected records", plan.rejects, "resolved, or not seen since"),
        ("runs", len(plan.runs), "the last of each mode stays"),
        ("files", len(plan.files), "those that --changes still looks at stay"),
    ]
    done = "removed" if applied else "nothing removed"
    lines = [f"fleetfuel prune · {done} · before {plan.before:%Y-%m-%d %H:%MZ}", ""]
    for name, number, note in rows:
        if number:
            lines += wrapped(f"  {name:<21}{number:>9,}  {note}", width, then=" " * 34)
    if plan.is_empty:
        lines.append(f"Nothing is older than {age}.")
    elif not applied:
        lines += ["", f"Next    fleetfuel prune --older-than {age} --apply"]
    return "\n".join(lines) + "\n"
