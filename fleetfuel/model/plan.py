"""A run, decided: the plan and its parts. Values only: no work, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from fleetfuel.model.files import Reading

if TYPE_CHECKING:
    import polars as pl

    from fleetfuel.records.fills import FillNames
    from fleetfuel.records.places import Texts

Mode = Literal["snapshot", "changes", "file", "undo"]
"""What a run reads: the bucket's snapshot, its change files, local files; or the history, to undo a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a plan says of one file that it was made from."""

    key: str
    etag: str
    size: int
    """Bytes, as parsed."""
    modified_at: datetime
    at: datetime
    """Where the file stands among the files of the feed: `Cut.at`."""
    file_at: datetime
    """When the file was true: `Cut.file_at`."""
    metadata: str
    """The file's metadata as JSON text that PostgreSQL can store."""
    list_hash: str
    """Over its records in any order, metadata apart; seeded with the rules."""
    records: int
    """Elements of its list, markers among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a run does, in records. `records` is the sum of all but `soft_deletes`, `soft_deletes_absent`, `warned`,
    `skipped`; `soft_deletes` = flagged + absent."""

    records: int = 0
    inserts: int = 0
    updates: int = 0
    soft_deletes: int = 0
    soft_deletes_flagged: int = 0
    soft_deletes_absent: int = 0
    restores: int = 0
    unchanged: int = 0
    stale: int = 0
    superseded: int = 0
    rejected: int = 0
    warned: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCount:
    """What one file of a run says, in records."""

    key: str
    at: datetime
    """Where the file stands in time: its key's instant, else its modification time."""
    status: Literal["applied", "empty", "quarantined", "unread", "bad"]
    """empty: nothing but markers. quarantined: skipped, as asked. unread: skipped because the store failed, and tried
    again by the next run. bad: the run stopped before it."""
    counts: Mapping[str, int]
    """Names of `Counts` → records; those that are zero are left out."""
    reason: str | None = None
    """Why it could not be read."""
    etag: str
    modified_at: datetime
    is_lasting: bool = True
    """Whether reading this version again cannot help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A limit that the run exceeds: nothing is loaded."""

    code: str
    seen: str
    """What the run would do, with its number."""
    limit: str
    override: str
    """What lets exactly this through once: an option, or another step."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Diff:
    """What has to be written so that the table equals the delivery, one row a table row: see `writes.batches`."""

    inserts: pl.DataFrame
    """Rows that are simply new: `writes.INSERTS`. A first load holds millions."""
    others: pl.DataFrame
    """All others: `writes.WRITES`."""

    @property
    def height(self) -> int:
        return self.inserts.height + self.others.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """What an undo does apart from writing rows."""

    run_id: str
    """The run that it undoes."""
    reopened: tuple[int, ...]
    """`reject_id`s that the run had resolved: open again."""
    marks: Mapping[str, Mapping[str, Any] | None]
    """Feed whose mark goes back → what `fuel.ingest_state` held before the run; None = nothing."""
    held: tuple[Mapping[str, str], ...]
    """The lists of records that the run had applied: `list_hash`, `rules_digest`, `reading`."""
    releases: str | None
    """The undo that this one undoes: the lists it holds are no longer held."""
    redone: tuple[Mapping[str, str], ...]
    """The lists of records that are applied again, if it undoes an undo."""
    conflicts: int
    """Rows written since, which stay as they are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """A run, decided. The summary, the report and the load are all made from this value, and from nothing else."""

    run_id: str
    mode: Mode
    reading: Reading
    source: str
    started_at: datetime
    origins: tuple[Origin, ...]
    """The files it was made from, in the order they apply: what `file` in `diff` and `rejected` counts."""
    texts: Texts
    """The texts of the records that `diff` and `rejected` name."""
    diff: Diff
    rejected: pl.DataFrame
    notices: pl.DataFrame
    counts: Counts
    columns: Mapping[str, int]
    """Column → in how many updated rows it changed, most first."""
    samples: Mapping[str, Sequence[Sample]]
    """Column → two or three changed values to show; never of a personal column."""
    row_samples: Mapping[str, Sequence[RowSample]]
    """`soft_deletes`, `inserts` → two or three of those rows to show."""
    fill_names: FillNames
    """What the feed calls the fields that say which fill a record is of."""
    rules: Mapping[str, RuleCount]
    """Rule code → its severity and how many records broke it."""
    resolved_rejects: Sequence[int]
    """`reject_id`s whose record is accepted by this run."""
    files: tuple[FileCount, ...]
    """The files of the run in time order, those that could not be read among them."""
    guards: tuple[Guard, ...]
    live_before: int
    """Live rows in the table before the run."""
    watermark_before: datetime | None
    rules_digest: str
    remarks: tuple[str, ...]
    """What was noticed of the feed, in sentences: shown, and kept in plan.json."""
    mark_before: datetime | None
    """The mark when it was made; None before the first snapshot."""
    keys: tuple[str | None, ...]
    """Where versions of rows come from: what `file` in `diff` and `rejected` counts. Keys of `origins`, unless it is
    made from the history."""
    rule_files: Mapping[str, str]
    """File of `rules/` → digest of what it said when the plan was made."""
    planned_by: str
    """The run that made it: `run_id`, unless a saved plan is applied."""
    checksum: str | None = None
    """Of the report that it was read from."""
    undo: Undo | None = None
    as_of: datetime | None = None
    """The instant whose table it was made against; None = now."""

    @property
    def source_at(self) -> datetime | None:
        """When its newest file was true; None for a run without files."""
        return max((origin.file_at for origin in self.origins), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One changed value, as JSON text, and which fill it is of."""

    before: str
    after: str
    plate: str
    day: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSample:
    """One row that comes or goes, and which fill it is of, as reported."""

    id: int
    plate: str
    day: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCount:
    severity: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was written and committed."""

    written: int
    """Rows of fuel.records written."""
    refreshed: int
    """Rows whose bookkeeping alone was brought up to date: fingerprints, marks of absence on deleted rows."""
