"""The table as a plan sees it. Values only: no work, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from fleetfuel.model.files import Reading

if TYPE_CHECKING:
    import polars as pl


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
    """Stored times that lie in the future, and so count as none, in sentences."""
    open_rejects: pl.DataFrame
    """Unresolved rows of fuel.rejects: `reject_id`, `id`, `rule`, `source_key`."""


class Table(Protocol):
    """READER 2: fuel.records as it is now, or as it was at an instant."""

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

    def left_by(self, held: HeldList) -> pl.DataFrame:
        """The rows that the undone run of a list had written, as it left them: `undone.LEFT`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldList:
    """The records of a file that were applied and undone."""

    list_hash: str
    rules_digest: str
    reading: Reading
    undone_run: str
    undone_by: str

    @property
    def records(self) -> int:
        """How many elements the list had."""
        return int(self.list_hash.partition("-")[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Undone:
    """A run, with what is needed to undo it, from the ledger and the history."""

    run_id: str
    source: str
    written: pl.DataFrame
    """The rows that it wrote: `undone.WRITTEN`."""
    noted: pl.DataFrame
    """The rows of which it noted newer evidence: `undone.NOTED`."""
    resolved_rejects: tuple[int, ...]
    """Rejects that it resolved, and that open again."""
    marks: Mapping[str, Mapping[str, Any] | None]
    """Feed whose mark it moved, if that is still where it left it → what `fuel.ingest_state` held before."""
    held: tuple[Mapping[str, str], ...]
    """The lists of records that it applied."""
    undid: str | None
    """The run that it had undone, if it was an undo itself."""
    redone: tuple[Mapping[str, str], ...]
    """The lists of records that that run had applied."""
    reopened: tuple[int, ...]
    """Rejects that it had opened again itself."""
    live_before: int
    now: datetime
    mark: datetime | None
    watermark: datetime | None
