"""A run's result, typed: the object of `--json`, of `plan.json` and of the ledger.

Its JSON schema is `summary.schema.json` next to this file. A new field has a default, and no field changes its meaning:
so every older report can still be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from fleetfuel import __version__
from fleetfuel.model.files import Reading
from fleetfuel.model.plan import Counts, FileCount, Guard, Mode, Plan, RowSample, RuleCount, Sample
from fleetfuel.printable import sentence

FORMAT: Final = 2
"""Reports of format 1 have no number. A report with a greater number needs a later release."""


class FileLine(msgspec.Struct, frozen=True, kw_only=True):
    """What one file of a run says."""

    key: str
    at: datetime
    status: str
    """As in `FileCount`; but `planned` for a file that would be applied, in a run that is not applied."""
    counts: dict[str, int]
    """Names of `Counts` → records, without zeros."""
    reason: str | None = None
    """Why it could not be read."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The run as one value: first the keys that are promised to programs, then what the text shows besides."""

    run_id: str
    mode: Mode
    source: str
    applied: bool
    counts: Counts
    columns: dict[str, int]
    """Column → in how many updated rows it changed, most first."""
    rules: dict[str, RuleCount]
    guards: list[Guard]
    report: str | None
    """Folder of the report; None if none was written."""
    seconds: float | None
    read_as: Reading
    started_at: datetime
    source_at: datetime | None
    """When the newest file was true."""
    live_before: int
    refreshed: int | None
    """Rows whose bookkeeping alone was brought up to date; None before the run is applied."""
    samples: dict[str, list[Sample]]
    row_samples: dict[str, list[RowSample]] = {}
    """`soft_deletes`, `inserts` → two or three of those rows."""
    remarks: list[str]
    files: list[FileLine]
    watermark_before: datetime | None
    rules_digest: str
    version: str
    format: int = 1
    checksum: str | None = None
    """Of the report's files and of what this object says of the plan. The ledger's line of the run has it, too."""
    planned_by: str | None = None
    """The run that made the plan, if it is another."""
    applied_by: str | None = None
    """The run that applied the plan, if it is another."""
    mark_before: datetime | None = None
    """The mark when the plan was made."""
    undoes: str | None = None
    """The run that it undoes."""
    conflicts: int = 0
    """Rows of that run that were written since, and stay as they are."""
    role: str | None = None
    """The role that was logged in to the database; None in reports from before 1.0.0."""
    applied_role: str | None = None
    """The role that was logged in when another run applied the plan."""
    as_of: datetime | None = None
    """The instant whose table it was compared with; None = now."""
    to_apply: bool = False
    """Whether the run was to be applied. If so, and it is not `applied`, it was cut short or refused."""

    @property
    def has_changes(self) -> bool:
        """Whether the run changes, or changed, what a reader of the table sees."""
        counts = self.counts
        return bool(counts.inserts or counts.updates or counts.soft_deletes or counts.restores)


def summarise(
    plan: Plan, *, role: str | None = None, report: str | None = None, seconds: float | None = None
) -> Summary:
    """The summary of a plan, not applied yet."""
    return Summary(
        run_id=plan.run_id,
        mode=plan.mode,
        source=plan.source,
        applied=False,
        counts=plan.counts,
        columns=dict(plan.columns),
        rules=dict(plan.rules),
        guards=list(plan.guards),
        report=report,
        seconds=seconds,
        read_as=plan.reading,
        started_at=plan.started_at,
        source_at=plan.source_at,
        live_before=plan.live_before,
        refreshed=None,
        samples={name: list(shown) for name, shown in plan.samples.items()},
        row_samples={name: list(shown) for name, shown in plan.row_samples.items()},
        remarks=list(plan.remarks),
        files=[_file_line(file) for file in plan.files],
        watermark_before=plan.watermark_before,
        rules_digest=plan.rules_digest,
        version=__version__,
        format=FORMAT,
        checksum=plan.checksum,
        planned_by=plan.planned_by if plan.planned_by != plan.run_id else None,
        mark_before=plan.mark_before,
        role=role,
        undoes=plan.undo.run_id if plan.undo else None,
        conflicts=plan.undo.conflicts if plan.undo else 0,
        as_of=plan.as_of,
    )


def as_applied(summary: Summary, **said: Any) -> Summary:
    """The summary of the same plan, applied; `said`: further fields that are known by now."""
    files = [msgspec.structs.replace(file, status=status_of(file.status, applied=True)) for file in summary.files]
    return msgspec.structs.replace(summary, applied=True, files=files, **said)


def status_of(status: str, *, applied: bool) -> str:
    """A file's status in a run that is applied, or in one that is not: `planned` becomes `applied`, or the reverse."""
    then, now = ("planned", "applied") if applied else ("applied", "planned")
    return now if status == then else status


CARRIED: Final = ("records", "rejected", "stale", "superseded", "skipped")
"""Counts that stay true of a snapshot while neither it nor the table changes."""


def same_again(applied: Summary, run_id: str, started_at: datetime, role: str | None, *, skips_proof: bool) -> Summary:
    """The summary of a run that found the snapshot applied already, by the run with the summary `applied`."""
    counts = {name: getattr(applied.counts, name) for name in CARRIED}
    counts["unchanged"] = counts["records"] - counts["rejected"] - counts["stale"] - counts["superseded"]
    table = "the table was not looked at" if skips_proof else "nobody has touched the table since"
    return msgspec.structs.replace(
        applied,
        run_id=run_id,
        applied=True,
        counts=Counts(**counts),
        columns={},
        samples={},
        row_samples={},
        rules={code: found for code, found in applied.rules.items() if found.severity != "warn"},
        guards=[],
        report=None,
        started_at=started_at,
        refreshed=0,
        remarks=[f"the snapshot is the one that run {applied.run_id} applied, and {table}: nothing was downloaded"],
        version=__version__,
        format=FORMAT,
        checksum=None,
        planned_by=None,
        applied_by=None,
        role=role,
        applied_role=None,
    )


def _file_line(file: FileCount) -> FileLine:
    reason = file.reason and sentence(file.reason)
    status = status_of(file.status, applied=False)
    return FileLine(key=file.key, at=file.at, status=status, counts=dict(file.counts), reason=reason)


def as_json(summary: Summary) -> str:
    """One line of JSON."""
    return msgspec.json.encode(summary).decode()


def as_object(summary: Summary) -> dict[str, Any]:
    """The object that the JSON holds."""
    found: dict[str, Any] = msgspec.to_builtins(summary)
    return found


def read_summary(text: str | bytes) -> Summary:
    """A summary of this or any earlier release. Raises `ValueError` if it is none."""
    return msgspec.json.decode(text, type=Summary)


def schema() -> Mapping[str, Any]:
    """The JSON schema of a summary, the same on every Python: docstrings are indented before 3.13."""
    found = msgspec.json.schema(Summary)
    for each in found["$defs"].values():
        if "description" in each:
            each["description"] = " ".join(each["description"].split())
    return found
