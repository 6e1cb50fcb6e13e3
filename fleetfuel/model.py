"""The frozen values that travel from stage to stage. No work, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import polars as pl

    from fleetfuel.records.fills import FillNames
    from fleetfuel.records.places import Texts
    from fleetfuel.records.texts import Records

Reading = Literal["snapshot", "changes"]
"""How a file is read: a snapshot is complete, so what it lacks is absent; changes say nothing of what they lack."""

Mode = Literal["snapshot", "changes", "file", "undo"]
"""What a run reads: the bucket's snapshot, its change files, local files; or the history, to undo a run."""

Severity = Literal["warn", "reject", "stop"]

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and how much there is: `fetch` in bytes, all others in records."""


def silence(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceFile:
    """One file of the feed, fetched: its bytes stay readable until the delivery is closed."""

    key: str
    """Bucket key, or the path as it was given."""
    etag: str
    """What tells one version of the key from another: the store's ETag, or a hash of a local file's content."""
    size: int
    """Bytes, as parsed (after gzip)."""
    modified_at: datetime
    """LastModified or mtime, UTC."""
    key_at: datetime | None
    """The instant the key's name holds, UTC; None where it holds none."""
    content: memoryview
    """The file's bytes: a view on a memory map."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delivery:
    """What a reader brought: files in time order, read in one way."""

    reading: Reading
    source: str
    """Where it came from, as a person would write it: `s3://fuel/fuel_records/latest.json`, `last-tuesday.json`."""
    files: tuple[SourceFile, ...]
    """In the order they apply."""
    unreadable: tuple[UnreadableFile, ...] = ()
    """Files of changes that were wanted and could not be had, in the order they would apply."""
    notices: tuple[str, ...] = ()
    """What the reader noticed, in sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One object of the bucket, as a listing names it; (`key`, `etag`) is one version of one file."""

    key: str
    etag: str
    """Never empty: made from size and time where the store gives none."""
    size: int
    """Bytes, as stored (before gzip)."""
    modified_at: datetime
    """LastModified, UTC."""
    key_at: datetime | None
    """The instant the key's name holds, UTC; None where it holds none."""

    @property
    def at(self) -> datetime:
        """Where the file stands in time: the key's instant, else LastModified."""
        return self.key_at or self.modified_at


Version = tuple[str, str, datetime]
"""Key, ETag and LastModified, in whole seconds: one version of a file."""


def version_of(key: str, etag: str, modified_at: datetime) -> Version:
    """Listings know fractions of a second that other answers of the same store do not."""
    return key, etag, modified_at.replace(microsecond=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRead:
    """What runs have read of the change files."""

    versions: frozenset[Version] = frozenset()
    """Of each file the version that was read last."""
    unread: frozenset[str] = frozenset()
    """Keys of files that could not be had when they were looked at last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeListing:
    """The change files of the bucket, none of them fetched. What a listing lacks is not thereby gone."""

    files: tuple[Listed, ...]
    """Sorted by (`at`, `key`)."""
    notices: tuple[str, ...]
    """What the listing noticed, in sentences: keys without an instant, objects that are no change files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableFile:
    """One file that was listed or named and could not be had."""

    key: str
    etag: str
    at: datetime
    """Where the file stands in time, like `Listed.at`."""
    modified_at: datetime
    """LastModified or mtime, UTC."""
    reason: str
    """Completes the sentence "KEY cannot be read: …", without a full stop."""
    is_lasting: bool
    """True: this version of the file is bad, and fetching it again cannot help. False: the store failed for now."""


# --- from file to rows --------------------------------------------------------------------------------------------


TimeOrigin = Literal["metadata", "key", "modification time"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cut:
    """One file cut into the exact texts of its records."""

    file: SourceFile
    file_at: datetime
    """When the file was true: its metadata's export time, else its key's instant, else its modification time; UTC."""
    file_at_from: TimeOrigin
    claims: tuple[tuple[TimeOrigin, datetime], ...]
    """What the file says of its time, UTC, the first to be believed first; its modification time is the last."""
    metadata: str
    """The file's metadata as JSON text, verbatim; `null` where it has none."""
    partial: str | None = None
    """What the file says of itself that shows it is not complete (`has_more`), as it stands there."""
    declared: int | None
    """How many records the metadata announces."""
    records: Records
    """The elements of the file's list, in file order; an index is a record's position."""
    is_recovered: bool
    """Whether the file's JSON is broken and its elements were told apart by their brackets."""
    remarks: tuple[str, ...] = ()
    """What the framing noticed of the file, in sentences."""

    @property
    def at(self) -> datetime:
        """Where the file stands among the files of the feed: its key's instant, else its modification time."""
        return self.file.key_at or self.file.modified_at


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


Place = tuple[int, int]
"""The number of a file, and a record's position in it."""


class Unwrapped(NamedTuple):
    """What a change message says of a record (`{"op": …, "row": {…}}`)."""

    text: bytes
    """The record's own text; the message's where it carries no record."""
    fingerprint: int
    """Of that text and the id that the message names."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Records read into columns."""

    typed: pl.DataFrame
    """One row a record that can be stored and keyed: `rows.TYPED`."""
    refused: pl.DataFrame
    """One row a record that cannot: `rows.REFUSED`."""
    legible_ids: Sequence[int]
    """Ids that refused records name: those rows are in the feed."""
    markers: Sequence[Place]
    """Where there are elements that are no records: `{}`, `{"success": true}`, `{"message": …, "error": …}`."""
    unwrapped: Mapping[Place, Unwrapped]
    """The records that the list holds messages around."""
    unknown_fields: Mapping[str, tuple[int, str]]
    """Field the rules do not know → how many records have it, and one value as JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """What validation says of rows: accepted and rejected are disjoint and together all of them."""

    accepted: pl.DataFrame
    """The rows of `Rows.typed` that load, with `warned`."""
    rejected: pl.DataFrame
    """`rows.REFUSED`: the records set aside by a rule."""
    notices: pl.DataFrame
    """`validate.NOTICES`: one row a record and rule it breaks, whatever the rule's severity."""


# --- the table as it stands ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """What a plan needs to know of the database."""

    rows: pl.DataFrame
    """Every row of fuel.records: `id`, `fingerprint` (a number or null), `change_at`, `is_live`, `is_present`."""
    now: datetime
    """The database's clock: no file is newer."""
    mark: datetime | None
    """File time of the last applied snapshot, which spoke of every row; None before the first."""
    watermark: datetime | None
    """Time of the newest change file applied."""
    disbelieved: tuple[str, ...]
    """Stored times that are yet to come, and so count as none, in sentences."""
    open_rejects: pl.DataFrame
    """Unresolved rows of fuel.rejects: `reject_id`, `id`, `rule`, `source_key`."""


class Table(Protocol):
    """READER 2: fuel.records as it stands, or as it stood."""

    def state(self) -> State: ...

    def details(self, ids: Iterable[int]) -> pl.DataFrame:
        """The rows with these ids in full: `state.DETAILS`."""
        ...

    def unknown_spellings(self, spellings: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
        """(field, spelling) of those that the database's normalisers do not know."""
        ...

    def column_shares(self) -> Mapping[str, float]:
        """Column → the share of live rows that have it."""
        ...

    def held_lists(self) -> tuple[HeldList, ...]:
        """Lists of records that were undone, and are held."""
        ...


# --- the plan -----------------------------------------------------------------------------------------------------


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
    """The option that lets exactly this through once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Diff:
    """What has to be written so that the table equals the delivery, one row a table row: see `diff.batches`."""

    inserts: pl.DataFrame
    """Rows that are simply new: `diff.INSERTS`. A first load holds millions."""
    others: pl.DataFrame
    """All others: `diff.WRITES`."""

    @property
    def height(self) -> int:
        return self.inserts.height + self.others.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """What an undo does next to the rows."""

    run_id: str
    """The run that it undoes."""
    reopened: tuple[int, ...]
    """`reject_id`s that the run had resolved: open again."""
    marks: Mapping[str, Mapping[str, Any] | None]
    """Feed whose mark goes back → where it stood before the run; None = nowhere."""
    held: tuple[Mapping[str, str], ...]
    """The lists of records that the run had applied: `list_hash`, `rules_digest`, `reading`."""
    releases: str | None
    """The undo that is undone: what it holds is held no longer."""
    redone: tuple[Mapping[str, str], ...]
    """The lists of records that stand again, if it undoes an undo."""
    conflicts: int
    """Rows written since, which stay as they are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Undone:
    """A run as its undoing needs it, from the ledger and the history."""

    run_id: str
    source: str
    written: pl.DataFrame
    """The rows that it wrote: `state.WRITTEN`."""
    noted: pl.DataFrame
    """The rows of which it noted newer evidence: `state.NOTED`."""
    resolved_rejects: tuple[int, ...]
    """Rejects that it resolved, and that open again."""
    marks: Mapping[str, Mapping[str, Any] | None]
    """Feed whose mark it moved, and that still stands where it left it → where that stood before."""
    held: tuple[Mapping[str, str], ...]
    """The lists of records that it applied."""
    undid: str | None
    """The run that it had undone itself."""
    redone: tuple[Mapping[str, str], ...]
    """The lists of records that that run had applied."""
    reopened: tuple[int, ...]
    """Rejects that it had opened again itself."""
    live_before: int
    now: datetime
    mark: datetime | None
    watermark: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldList:
    """The records of a file that were applied and undone."""

    list_hash: str
    rules_digest: str
    reading: Reading
    undone_run: str
    undone_by: str


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
    """What the reader and the framing noticed, in sentences: shown, and kept in plan.json."""
    mark_before: datetime | None
    """Where the snapshots stood when it was made."""
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
    """The instant of the table that it was made against; None = as it stands."""

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
