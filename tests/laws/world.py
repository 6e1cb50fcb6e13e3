"""A source table that lives, an exporter that errs, clocks that jump, an operator who replays: histories to draw."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from hypothesis import strategies as st

from .model import Export, Message, Record

IDS: Final = (1, 2, 3)
FUTURE: Final = datetime(2046, 1, 1, 0, 0, 7, tzinfo=UTC)
PAST: Final = datetime(2001, 1, 1, 0, 0, 7, tzinfo=UTC)
SKEWS: Final = (0, 0, 180, -180, 11, -11)
"""Minutes by which a clock is wrong."""
LONG_AGO: Final = timedelta(hours=100)
"""Before the end of a history it began: longer than it can last."""

Step = tuple[Any, ...]

_ids = st.sampled_from(IDS)
_amounts = st.integers(0, 2)
_source = st.one_of(
    st.tuples(st.just("write"), _ids, _amounts, st.sampled_from(["stamped", "stamped", "plain", "2046", "2001"])),
    st.tuples(st.sampled_from(["soft delete", "drop", "tell", "tell with row"]), _ids),
    st.tuples(st.just("undo"), st.integers(1, 4)),
)
_clocks = st.one_of(
    st.tuples(st.sampled_from(["source clock", "exporter clock"]), st.sampled_from(SKEWS)),
    st.tuples(st.just("store clock"), st.sampled_from(["honest", "honest", "2046", "2001"])),
    st.tuples(st.just("claims"), st.sampled_from([True, True, False])),
)
_exports = st.tuples(
    st.sampled_from(["snapshot", "snapshot", "changes", "changes"]),
    st.sampled_from(["whole", "whole", "whole", "has_more", "error", "silently short"]),
)
_reads = st.one_of(
    st.tuples(st.just("read snapshot"), st.integers(0, 1), st.sampled_from([False, False, False, True])),
    st.tuples(st.just("read changes"), st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True)),
)
_hand = st.tuples(st.just("hand"), _ids, st.sampled_from(["amount", "deleted", "absent"]))
_hours = st.tuples(st.just("pass"), st.sampled_from([5, 10, 20, 60, 60, 200]))

histories = st.lists(
    st.one_of(_source, _source, _hours, _exports, _exports, _reads, _reads, _reads, _clocks, _hand), max_size=22
)


@dataclass
class World:
    """Runs the steps of one history; yields what somebody does to the table."""

    began: datetime
    rows: dict[int, tuple[Record, datetime | None]] = field(default_factory=dict)
    """The source: id → record, and its updated_at."""
    backups: list[dict[int, tuple[Record, datetime | None]]] = field(default_factory=list)
    reported: list[Message | int] = field(default_factory=list)
    """What the next change file has to tell: deletions, and ids that changed."""
    snapshots: list[Export] = field(default_factory=list)
    changes: list[Export] = field(default_factory=list)
    minutes: int = 0
    events: int = 0
    source_clock: int = 0
    exporter_clock: int = 0
    store_clock: str = "honest"
    claims: bool = True

    @property
    def now(self) -> datetime:
        return self.began + timedelta(minutes=self.minutes)

    def live(self) -> dict[int, Record]:
        """What the source holds."""
        return {key: row for key, (row, _) in sorted(self.rows.items()) if not row.get("deleted_at")}

    def run(self, steps: Sequence[Step]) -> Iterator[Step]:
        """("read", exports, forced) and ("hand", id, what), in order."""
        for step in steps:
            kind, *given = step
            self.minutes += 1
            if kind in ("snapshot", "changes"):
                self.export(kind, given[0])
            elif kind == "read snapshot" and self.snapshots:
                yield "read", [self.snapshots[-1 - given[0] % len(self.snapshots)]], given[1]
            elif kind == "read changes" and self.changes:
                chosen = {len(self.changes) - 1 - back % len(self.changes) for back in given[0]}
                yield "read", [self.changes[number] for number in sorted(chosen)], False
            elif kind == "hand":
                yield step
            else:
                self._live_on(kind, *given)

    def _live_on(self, kind: str, *given: Any) -> None:
        self.events += 1
        if kind == "pass":
            self.minutes += given[0]
        elif kind == "source clock":
            self.source_clock = given[0]
        elif kind == "exporter clock":
            self.exporter_clock = given[0]
        elif kind == "store clock":
            self.store_clock = given[0]
        elif kind == "claims":
            self.claims = given[0]
        elif kind == "undo":
            if self.backups:
                self.rows = dict(self.backups[-min(given[0], len(self.backups))])
        elif kind in ("write", "soft delete", "drop", "tell", "tell with row"):
            self.backups.append(dict(self.rows))
            self._edit(kind, *given)

    def _edit(self, kind: str, key: int, amount: int = 0, stamp: str = "stamped") -> None:
        if kind == "write":
            at = {"stamped": self._stamp(), "2046": FUTURE, "2001": PAST, "plain": None}[stamp]
            own = {"updated_at": f"{at:%Y-%m-%d %H:%M:%S}"} if at else {}
            self.rows[key] = ({"id": key, "amount": amount, **own}, at)
            self.reported.append(key)
        elif kind == "soft delete" and key in self.rows:
            row, at = self.rows[key]
            self.rows[key] = ({**row, "deleted_at": f"{self.now:%Y-%m-%d %H:%M:%S}"}, at)
            self.reported.append(key)
        elif kind != "soft delete":
            record, at = self.rows.pop(key, (None, None))
            if kind != "drop":
                reported = record if kind == "tell with row" else None
                self.reported.append(Message(id=key, record=reported, updated_at=at, is_delete=True))

    def _stamp(self) -> datetime:
        """What the source's clock shows: never a whole minute, so that it is no file's time."""
        return self.now + timedelta(minutes=self.source_clock, seconds=7)

    def export(self, kind: Literal["snapshot", "changes"], lie: str) -> Export:
        messages = [Message(id=key, record=row, updated_at=at) for key, (row, at) in self.rows.items()]
        if kind == "changes":
            held = {message.id: message for message in messages}
            messages = [
                held[each] if isinstance(each, int) else each
                for each in self.reported
                if not isinstance(each, int) or each in held
            ]
            self.reported = []
        if lie != "whole":
            messages = messages[:1]
        written = {"honest": self.now, "2046": FUTURE, "2001": PAST}[self.store_clock]
        files = self.snapshots if kind == "snapshot" else self.changes
        export = Export(
            kind=kind,
            key=f"{kind} {len(files):03}",
            claimed=self.now + timedelta(minutes=self.exporter_clock) if self.claims else None,
            written=written,
            is_whole=lie not in ("has_more", "error"),
            messages=tuple(messages),
        )
        files.append(export)
        return export


def content_of(export: Export) -> bytes:
    """The file, as an exporter writes it."""
    metadata: dict[str, Any] = {}
    if export.claimed:
        metadata["exported_at"] = export.claimed.isoformat()
    records: list[Any] = [_written(message) for message in export.messages]
    if not export.is_whole and len(records) % 2:
        metadata["has_more"] = True
    elif not export.is_whole:
        records.append({"message": "timeout", "error": {"code": "E"}})
    return json.dumps({"metadata": metadata, "records": records}).encode()


def _written(message: Message) -> Any:
    if not message.is_delete:
        return message.record
    return {"op": "delete", "id": message.id} | ({"row": message.record} if message.record else {})
