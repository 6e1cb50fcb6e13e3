"""A source table that lives, an exporter that errs, clocks that jump, an operator who replays: histories to draw."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from hypothesis import strategies as st

from .model import Export, Message, Record

IDS: Final = (1, 2, 3, 4, 5, 6, 7, 8)
FUTURE: Final = datetime(2046, 1, 1, 0, 0, 7, tzinfo=UTC)
PAST: Final = datetime(2001, 1, 1, 0, 0, 7, tzinfo=UTC)
SKEWS: Final = (0, 180, 180, -180, 11, -11)
"""Minutes by which a clock is wrong."""
LONG_AGO: Final = timedelta(hours=100)
"""Before the end of a history it began: longer than it can last."""

Step = tuple[Any, ...]

_ids = st.sampled_from([1, 2, 3])
_amounts = st.integers(0, 3)
_stamps = st.sampled_from(["stamped", "stamped", "stamped", "plain", "plain", "as before", "earlier", "2046", "2001"])
_edits = st.one_of(
    st.tuples(st.just("write"), _ids, _amounts, _stamps),
    st.tuples(st.just("write"), _ids, _amounts, _stamps),
    st.tuples(st.sampled_from(["soft delete", "drop", "tell", "tell with row"]), _ids),
    st.tuples(st.just("undo"), st.integers(1, 4)),
)
_clocks = st.one_of(
    st.tuples(st.sampled_from(["source clock", "exporter clock"]), st.sampled_from(SKEWS)),
    st.tuples(st.just("store clock"), st.sampled_from(["honest", "honest", "2046", "2001"])),
    st.tuples(st.just("claims"), st.sampled_from([True, True, False])),
)
_changes = st.one_of(
    *[st.tuples(st.just("changes"), st.sampled_from(["whole", "whole", "whole", "error"]))] * 3,
    st.tuples(st.sampled_from(["overwrite", "tell again"]), st.integers(0, 2)),
)
_snapshots = st.tuples(
    st.just("snapshot"),
    st.sampled_from(["whole"] * 6 + ["has_more", "error", "silently short", "miscounted"]),
)
_read_snapshot = st.tuples(
    st.just("read snapshot"), st.sampled_from([0, 0, 0, 1, 2]), st.sampled_from([False, False, False, True])
)
_read_changes = st.tuples(st.just("read changes"), st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True))
_hand = st.tuples(st.just("hand"), _ids, st.sampled_from(["amount", "deleted", "absent", "2046", "2046"]))
_gaps = st.tuples(st.just("pass"), st.sampled_from([0, 5, 10, 20, 60, 200]))


def _sometimes(steps: st.SearchStrategy[Step], of_four: int) -> st.SearchStrategy[Step | None]:
    return st.one_of(*[steps] * of_four, *[st.none()] * (4 - of_four))


_hours = st.tuples(
    _sometimes(_edits, 3), _sometimes(_changes, 3), _sometimes(_gaps, 2), _sometimes(_edits, 2),
    _sometimes(_snapshots, 3), _sometimes(_read_snapshot, 3), _sometimes(_gaps, 2), _sometimes(_read_changes, 3),
    _sometimes(_read_changes, 1), _sometimes(st.one_of(_clocks, _hand, _read_snapshot), 1),
)  # fmt: skip
"""What may happen in an hour, in this order."""

_words = st.sampled_from(
    [
        *(("write", stamp) for stamp in ("stamped", "stamped", "plain", "as before", "earlier", "earlier")),
        *((kind, "") for kind in ("tell", "tell with row", "soft delete", "leave")),
    ]
)
_versions = st.tuples(st.just("all"), st.lists(st.tuples(_words, _amounts), min_size=len(IDS), max_size=len(IDS)))
_burst_reads = st.one_of(
    *[st.sampled_from([0, 1, 2]).map(lambda back: ("read changes", [back]))] * 4,
    st.just(("read changes", [0, 1, 2])),
    *[st.just(("read snapshot", 0, False))] * 2,
    st.just(("read snapshot", 0, True)),
    _hand,
)


def _one_after_another(
    versions: list[Step], between: list[Step], snapshot: int, reads: list[Step]
) -> tuple[Step | None, ...]:
    """Change files that speak of every record and a snapshot among them, read in whatever order, or not at all."""
    parts = [[version, ("changes", "whole"), step] for version, step in zip(versions, between, strict=True)]
    parts.insert(snapshot, [("snapshot", "whole")])
    return *(step for part in parts for step in part), *reads


_bursts = st.builds(
    _one_after_another,
    st.lists(_versions, min_size=3, max_size=3),
    st.lists(st.one_of(_gaps, _gaps, _clocks), min_size=3, max_size=3),
    st.integers(0, 3),
    st.lists(_burst_reads, min_size=4, max_size=6),
)
_beginnings = st.tuples(
    _sometimes(st.tuples(st.just("source clock"), st.sampled_from(SKEWS)), 2),
    _sometimes(st.tuples(st.just("exporter clock"), st.sampled_from(SKEWS)), 2),
    _sometimes(st.tuples(st.just("store clock"), st.sampled_from(["2046", "2001"])), 1),
    _sometimes(st.tuples(st.just("claims"), st.just(False)), 1),
)

histories = st.tuples(_beginnings, st.lists(st.one_of(_hours, _bursts), min_size=2, max_size=4)).map(
    lambda drawn: [step for part in (drawn[0], *drawn[1]) for step in part if step is not None]
)


_SNAPSHOT: Final[tuple[Step, ...]] = (("snapshot", "whole"), ("read snapshot", 0, False))
_CHANGES: Final[Step] = ("changes", "whole")


def _write(amount: int, stamp: str) -> Step:
    return ("write", 1, amount, stamp)


CLASSICS: Final[dict[str, tuple[Step, ...]]] = {
    "a change from long before the snapshot that knew better": (
        *(_write(1, "plain"), _CHANGES, ("pass", 20), _write(2, "plain"), *_SNAPSHOT, ("read changes", [0])),
    ),
    "the same with an own time": (
        *(_write(1, "stamped"), _CHANGES, ("pass", 60), _write(2, "plain"), *_SNAPSHOT, ("read changes", [0])),
    ),
    "a change that the snapshot may have missed": (
        *(_write(1, "plain"), _CHANGES, ("pass", 5), _write(2, "plain"), *_SNAPSHOT, ("read changes", [0])),
    ),
    "a change whose own time lies after the snapshot that is newer than its file": (
        *(("source clock", 180), _write(0, "plain"), *_SNAPSHOT, _write(1, "stamped"), _CHANGES, ("pass", 60)),
        *(_write(2, "plain"), *_SNAPSHOT, ("read changes", [0])),
    ),
    "the latest own time in the oldest file, read between two others": (
        *(("source clock", 180), _write(1, "stamped"), _CHANGES, ("source clock", 0), _write(2, "plain"), _CHANGES),
        *(_write(3, "stamped"), _CHANGES, *(("read changes", [back]) for back in (0, 2, 1))),
    ),
    "a snapshot older than the newest change, with a later own time": (
        *(_write(1, "stamped"), ("snapshot", "whole"), ("pass", 20), _write(2, "earlier"), _CHANGES),
        *(("read changes", [0]), ("read snapshot", 0, False)),
    ),
    "an exporter three hours ahead, put right": (
        *(("exporter clock", 180), _write(1, "plain"), *_SNAPSHOT, ("exporter clock", 0), _write(2, "plain")),
        *_SNAPSHOT,
    ),
    "two files with the same own time, the older read later": (
        *(_write(1, "stamped"), _CHANGES, ("pass", 5), _write(2, "as before"), _CHANGES),
        *(("read changes", [0]), ("read changes", [1])),
    ),
    "a source restored to a snapshot, and what a change file said before that was forgotten": (
        *(_write(1, "plain"), *_SNAPSHOT, _write(2, "plain"), _CHANGES, _write(3, "plain"), _CHANGES),
        *(("read changes", [0]), ("read snapshot", 0, True), ("read changes", [1])),
    ),
    "a snapshot older than the change that was read before it": (
        *(_write(1, "plain"), ("snapshot", "whole"), ("pass", 5), _write(2, "plain"), _CHANGES),
        *(("read changes", [0]), ("read snapshot", 0, False)),
    ),
    "a store that lives in 2001": (
        *(("store clock", "2001"), _write(1, "plain"), _CHANGES, ("pass", 5), _write(2, "plain"), _CHANGES),
        *(("read changes", [0]), ("read changes", [1])),
    ),
    "evidence that is yet to come": (
        *(_write(1, "plain"), _CHANGES, ("read changes", [0]), ("hand", 1, "2046"), _write(2, "plain"), _CHANGES),
        ("read changes", [0]),
    ),
    "a stamp of 2046 in a file that comes late": (
        *(_write(1, "2046"), _CHANGES, ("pass", 5), _write(2, "stamped"), _CHANGES),
        *(("read changes", [0]), ("read changes", [1])),
    ),
}
"""Histories that are too rare to be drawn each time; the law tries each of them."""


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
            elif kind in ("overwrite", "tell again"):
                self._write_again(kind, given[0])
            elif kind == "read snapshot" and self.snapshots:
                yield "read", [self.snapshots[-1 - given[0] % len(self.snapshots)]], given[1]
            elif kind == "read changes" and self.changes:
                chosen = {len(self.changes) - 1 - back % len(self.changes) for back in given[0]}
                yield "read", [self.changes[number] for number in sorted(chosen)], False
            elif kind == "hand":
                yield step
            else:
                self._live_on(kind, *given)

    def _write_again(self, kind: str, back: int) -> None:
        """An exporter that overwrites a change file, or says what it said before in a new one."""
        if self.changes:
            old = self.changes[-1 - back % len(self.changes)]
            new = self.export("changes", "whole")
            self.changes[-1] = replace(new, key=old.key) if kind == "overwrite" else replace(new, messages=old.messages)

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
        elif kind == "all":
            for key, ((what, stamp), amount) in zip(IDS, given[0], strict=True):
                self._edit(what, key, amount, stamp)
        elif kind == "undo":
            if self.backups:
                self.rows = dict(self.backups[-min(given[0], len(self.backups))])
        elif kind in ("write", "soft delete", "drop", "tell", "tell with row"):
            self.backups.append(dict(self.rows))
            self._edit(kind, *given)

    def _edit(self, kind: str, key: int, amount: int = 0, stamp: str = "stamped") -> None:
        if kind == "write":
            before = self.rows.get(key, (None, None))[1] or self._stamp()
            at = {
                "stamped": self._stamp(),
                "as before": before,
                "earlier": before - timedelta(minutes=10),
                "2046": FUTURE,
                "2001": PAST,
                "plain": None,
            }[stamp]
            own = {"updated_at": f"{at:%Y-%m-%d %H:%M:%S}"} if at else {}
            self.rows[key] = ({"id": key, "amount": amount, **own}, at)
            self.reported.append(key)
        elif kind == "soft delete" and key in self.rows:
            row, at = self.rows[key]
            self.rows[key] = ({**row, "deleted_at": f"{self.now:%Y-%m-%d %H:%M:%S}"}, at)
            self.reported.append(key)
        elif kind in ("drop", "tell", "tell with row"):
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
        if lie in ("has_more", "error", "silently short"):
            messages = messages[:1]
        written = {"honest": self.now, "2046": FUTURE, "2001": PAST}[self.store_clock]
        files = self.snapshots if kind == "snapshot" else self.changes
        export = Export(
            kind=kind,
            key=f"{kind} {len(files):03}",
            claimed=self.now + timedelta(minutes=self.exporter_clock) if self.claims else None,
            written=written,
            is_whole=lie not in ("has_more", "error"),
            miscounts=lie == "miscounted",
            messages=tuple(messages),
        )
        files.append(export)
        return export


def content_of(export: Export) -> bytes:
    """The file, as an exporter writes it."""
    metadata: dict[str, Any] = {}
    if export.claimed:
        metadata["exported_at"] = export.claimed.isoformat()
    if export.miscounts:
        metadata["record_count"] = len(export.messages) + 2
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
