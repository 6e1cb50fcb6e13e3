"""What the design says of order and deletion, written again in plain dictionaries. It knows nothing of fleetfuel."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

Record = dict[str, Any]

DAY = timedelta(hours=24)
OVERLAP = timedelta(minutes=15)
FUTURE = datetime(2046, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a file says of one id: a record, or that it is deleted, with or without the record as it was."""

    id: int
    record: Record | None
    updated_at: datetime | None = None
    is_delete: bool = False

    @property
    def says_deleted(self) -> bool:
        return self.is_delete or bool(self.record and self.record.get("deleted_at"))


@dataclass(frozen=True, kw_only=True)
class Export:
    """One file of the feed: when it says it was made, when it was written, and what it says of which ids."""

    kind: Literal["snapshot", "changes"]
    key: str
    claimed: datetime | None
    written: datetime
    is_whole: bool = True
    miscounts: bool = False
    """Whether it announces another number of records than it holds."""
    messages: tuple[Message, ...]


@dataclass
class Row:
    record: Record | None
    own: datetime | None
    change_at: datetime | None = None
    is_deleted: bool = False
    is_absent: bool = False


@dataclass
class Model:
    """The table as it has to be. Each of its decisions is a method, so that a test can break one at a time."""

    rows: dict[int, Row] = field(default_factory=dict)
    mark: datetime | None = None

    def live(self) -> dict[int, Record | None]:
        return {key: row.record for key, row in sorted(self.rows.items()) if not row.is_deleted and not row.is_absent}

    def states(self) -> dict[int, tuple[bool, bool]]:
        return {key: (row.is_deleted, row.is_absent) for key, row in sorted(self.rows.items())}

    def read(self, exports: Sequence[Export], now: datetime, *, is_forced: bool = False) -> list[str]:
        """One run; the guards that refuse it."""
        if exports[0].kind == "changes":
            for export in self.in_order(exports, now):
                self._changes(export, self.time(export, now), now)
            return []
        [export] = exports
        at, mark = self.time(export, now), self.past(self.mark, now)
        is_old = mark is not None and at < mark and not is_forced
        if export.miscounts or is_old:
            return ["count_mismatch"] * export.miscounts + ["old_snapshot"] * is_old
        if export.is_whole:
            self._snapshot(export, at, now, is_forced=is_forced)
        else:
            self._changes(export, at, now)
        return []

    def edit(self, key: int, what: str) -> bool:
        """What somebody does to a row by hand; whether there is one to do it to."""
        row = self.rows.get(key)
        if row is None or row.record is None:
            return False
        if what == "amount":
            row.record = {**row.record, "amount": 99}
        row.is_deleted |= what == "deleted"
        row.is_absent |= what == "absent"
        row.change_at = FUTURE if what == "2046" else row.change_at
        return True

    def _snapshot(self, export: Export, at: datetime, now: datetime, *, is_forced: bool) -> None:
        said = {message.id: message for message in export.messages}
        for key in {*said, *self.rows}:
            message, row = said.get(key), self.rows.get(key)
            own = self.own(message, at) if message else None
            if row is None:
                assert message
                self.rows[key] = Row(message.record, own, None, message.says_deleted)
                continue
            if not is_forced and not self.snapshot_knows(
                own, self.past(row.own, now), self.past(row.change_at, now), at
            ):
                continue
            if is_forced:
                row.change_at = self.after_a_restore(row.change_at, at)
            if message is None:
                row.is_absent = True
            else:
                row.record, row.own = message.record, own
                row.is_deleted, row.is_absent = message.says_deleted, False
        self.mark = at

    def _changes(self, export: Export, at: datetime, now: datetime) -> None:
        mark = self.past(self.mark, now)
        for message in export.messages:
            own = self.own(message, at)
            is_known = mark is not None and self.mark_knows(own, at, mark)
            row = self.rows.get(message.id)
            if row is None:
                self.rows[message.id] = Row(message.record, own, at, message.says_deleted, is_known)
                continue
            row_own, row_change = self.past(row.own, now), self.past(row.change_at, now)
            if is_known or self.is_older(own, row_own, row_change, at):
                continue
            row.own, row.change_at = own, self.newest(row_change, at)
            row.is_deleted = message.says_deleted
            if message.record is not None:
                row.record = message.record
            if not message.is_delete:
                row.is_absent = False

    # --- the decisions ------------------------------------------------------------------------------------------

    def time(self, export: Export, now: datetime) -> datetime:
        """When a file was true: as it claims, but not after it was written nor after now."""
        claims = [at for at in (export.claimed, export.written) if at is not None]
        plausible = [at for at in claims if at <= now + DAY]
        at = min(plausible[0] if plausible else claims[-1], now)
        return export.written if at - DAY <= export.written < at else at

    def in_order(self, exports: Sequence[Export], now: datetime) -> list[Export]:
        return sorted(exports, key=lambda each: (self.time(each, now), each.key))

    def own(self, message: Message, at: datetime) -> datetime | None:
        """The record's own time, if it can be believed next to its file's; what tells of a deletion has none."""
        own = message.updated_at
        return own if own and not message.is_delete and own <= at + DAY else None

    def past(self, at: datetime | None, now: datetime) -> datetime | None:
        """Stored evidence later than now counts as none."""
        return at if at and at <= now else None

    def snapshot_knows(
        self, own: datetime | None, row_own: datetime | None, change_at: datetime | None, at: datetime
    ) -> bool:
        """Whether a snapshot's word (or, without an own time, its silence) counts for a row."""
        return not (change_at and change_at > at) or bool(own and row_own and own > row_own)

    def after_a_restore(self, change_at: datetime | None, at: datetime) -> datetime | None:
        """What is left of a row's evidence when the source was restored."""
        return None if change_at and change_at > at else change_at

    def mark_knows(self, own: datetime | None, at: datetime, mark: datetime) -> bool:
        """(c): the file's time, and the record's own if it has one, lie before the mark by more than the overlap."""
        return max(at, own or at) < mark - OVERLAP

    def is_older(
        self, own: datetime | None, row_own: datetime | None, row_change: datetime | None, at: datetime
    ) -> bool:
        """(a) by own times; (b) else, or if they are equal, by the file's."""
        if own and row_own and own != row_own:
            return own < row_own
        return row_change is not None and row_change > at

    def newest(self, row_change: datetime | None, at: datetime) -> datetime:
        return max(at, row_change or at)

    def copied(self) -> Model:
        return copy.deepcopy(self)
