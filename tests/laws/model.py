"""What the design says of order and deletion, written again in plain dictionaries. It knows nothing of fleetfuel."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

Record = dict[str, Any]

DAY = timedelta(hours=24)
OVERLAP = timedelta(minutes=15)


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
    messages: tuple[Message, ...]

    def time(self, now: datetime) -> datetime:
        """When it was true: as it claims, but not after it was written nor after now."""
        claims = [at for at in (self.claimed, self.written) if at is not None]
        plausible = [at for at in claims if at <= now + DAY]
        at = min(plausible[0] if plausible else claims[-1], now)
        return self.written if at - DAY <= self.written < at else at


@dataclass
class Row:
    record: Record | None
    own: datetime | None
    change_at: datetime | None = None
    is_deleted: bool = False
    is_absent: bool = False


@dataclass
class Model:
    """The table as it has to be."""

    rows: dict[int, Row] = field(default_factory=dict)
    mark: datetime | None = None

    def live(self) -> dict[int, Record | None]:
        return {key: row.record for key, row in sorted(self.rows.items()) if not row.is_deleted and not row.is_absent}

    def states(self) -> dict[int, tuple[bool, bool]]:
        return {key: (row.is_deleted, row.is_absent) for key, row in sorted(self.rows.items())}

    def read(self, exports: Sequence[Export], now: datetime, *, is_forced: bool = False) -> bool:
        """One run; whether it is let through."""
        if exports[0].kind == "changes":
            for export in sorted(exports, key=lambda each: (each.time(now), each.key)):
                self._changes(export, export.time(now), now)
            return True
        [export] = exports
        at = export.time(now)
        if self._mark(now) and at < self._mark(now) and not is_forced:  # type: ignore[operator]
            return False
        if export.is_whole:
            self._snapshot(export, at, now, is_forced=is_forced)
        else:
            self._changes(export, at, now)
        return True

    def _mark(self, now: datetime) -> datetime | None:
        return self.mark if self.mark and self.mark <= now else None

    def _snapshot(self, export: Export, at: datetime, now: datetime, *, is_forced: bool) -> None:
        said = {message.id: message for message in export.messages}
        for key in {*said, *self.rows}:
            message, row = said.get(key), self.rows.get(key)
            own = _own(message, at) if message else None
            if row is None:
                assert message
                self.rows[key] = Row(message.record, own, None, message.says_deleted)
                continue
            if row.change_at and row.change_at > at and not is_forced:
                row_own = _past(row.own, now)
                if not (message and own and row_own and own > row_own):
                    continue
            if is_forced and row.change_at and row.change_at > at:
                row.change_at = None
            if message is None:
                row.is_absent = True
            else:
                row.record, row.own = message.record, own
                row.is_deleted, row.is_absent = message.says_deleted, False
        self.mark = at

    def _changes(self, export: Export, at: datetime, now: datetime) -> None:
        mark = self._mark(now)
        for message in export.messages:
            own = _own(message, at)
            is_known = mark is not None and max(at, own or at) < mark - OVERLAP
            row = self.rows.get(message.id)
            if row is None:
                self.rows[message.id] = Row(message.record, own, at, message.says_deleted, is_known)
                continue
            row_own, row_change = _past(row.own, now), _past(row.change_at, now)
            if own and row_own and own != row_own:
                is_stale = own < row_own
            else:
                is_stale = row_change is not None and row_change > at
            if is_stale or is_known:
                continue
            row.own, row.change_at = own, max(at, row_change or at)
            row.is_deleted = message.says_deleted
            if message.record is not None:
                row.record = message.record
            if not message.is_delete:
                row.is_absent = False

    def copied(self) -> Model:
        return copy.deepcopy(self)


def _own(message: Message, at: datetime) -> datetime | None:
    """The record's own time, if it can be believed next to its file's; what tells of a deletion has none."""
    own = message.updated_at
    return own if own and not message.is_delete and own <= at + DAY else None


def _past(at: datetime | None, now: datetime) -> datetime | None:
    return at if at and at <= now else None
