"""From a file to rows: what cutting, reading and judging hand on. Values only: no work, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from fleetfuel.model.files import SourceFile

if TYPE_CHECKING:
    import polars as pl

    from fleetfuel.records.texts import Records

TimeOrigin = Literal["metadata", "key", "modification time"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cut:
    """One file cut into the exact texts of its records."""

    file: SourceFile
    file_at: datetime
    """When the file was true: its metadata's export time, else its key's instant, else its modification time; UTC."""
    claims: tuple[tuple[TimeOrigin, datetime], ...]
    """What the file says of its time, UTC, the first to be believed first; its modification time is the last."""
    metadata: str
    """The file's metadata as JSON text, verbatim; `null` if it has none."""
    partial: str | None = None
    """What in the file shows that it is not complete (`has_more: true`); None if nothing does."""
    declared: tuple[int, ...]
    """How many records the file announces, in its metadata or next to its list: each number once."""
    records: Records
    """The elements of the file's list, in file order; an index is a record's position."""
    is_recovered: bool
    """Whether the file's JSON is broken, and its elements were found by their brackets."""
    remarks: tuple[str, ...] = ()
    """What was noticed of the file while it was cut, in sentences."""

    @property
    def at(self) -> datetime:
        """Where the file stands among the files of the feed: its key's instant, else its modification time."""
        return self.file.key_at or self.file.modified_at


Place = tuple[int, int]
"""The number of a file, and a record's position in it."""


class Unwrapped(NamedTuple):
    """What a change message says of a record (`{"op": …, "row": {…}}`)."""

    text: bytes
    """The record's own text; the message's if it carries no record."""
    fingerprint: int
    """Of that text and the id that the message names."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Records read into columns."""

    typed: pl.DataFrame
    """One row a record that can be stored and keyed: `rows.TYPED`."""
    rejected: pl.DataFrame
    """One row a record that cannot: `rows.REJECTED`."""
    legible_ids: Sequence[int]
    """Ids that rejected records name: those rows are in the feed."""
    markers: Sequence[Place]
    """Where there are elements that are no records: `{}`, `{"success": true}`, `{"message": …, "error": …}`."""
    unwrapped: Mapping[Place, Unwrapped]
    """The records that lie inside messages."""
    unknown_fields: Mapping[str, tuple[int, str]]
    """Field the rules do not know → how many records have it, and one value as JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """What validation says of rows: accepted and rejected are disjoint and together all of them."""

    accepted: pl.DataFrame
    """The rows of `Rows.typed` that load, with `warned`."""
    rejected: pl.DataFrame
    """`rows.REJECTED`: the records that a rule rejects."""
    notices: pl.DataFrame
    """`judge.NOTICES`: one row a record and rule it breaks, whatever the rule's severity."""
