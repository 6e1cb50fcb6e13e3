"""A source table lives through hours; its files arrive late, in groups, twice. The rows end as the newest file says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from hypothesis import given, note, settings
from hypothesis import strategies as st
from table import at

from .quick import File, Quick, examples

Row = dict[str, Any]

IDS: Final = (1, 2, 3)
EVENTS: Final = ("write", "write", "write", "soft delete", "hard delete", "delete told", "delete told with row")
"""`write` inserts, edits or brings back. A told deletion is in the delta, the other hard one in no file."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """One file, and what it says of each id: its record, or None where it is dead."""

    kind: Literal["snapshot", "delta"]
    hour: int
    evidence: dict[int, Row | None]
    content: bytes

    def __repr__(self) -> str:
        return f"{self.kind} {self.hour}: {self.content.decode()}"


@st.composite
def histories(draw: st.DrawFn) -> list[Said]:
    """Hours of a table of three rows: a snapshot and a delta an hour. Odd ids stamp their own updated_at."""
    keeps_deleted = draw(st.booleans())
    stamped = draw(st.sets(st.sampled_from(IDS)))
    rows: dict[int, Row] = {}
    files = []
    for hour in range(1, draw(st.integers(2, 6)) + 1):
        changed: dict[int, str] = {}
        events = draw(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(EVENTS), st.integers(0, 1)), max_size=3))
        for step, (key, event, amount) in enumerate(events):
            own = {"updated_at": f"{at(hour - 0.9 + step / 10):%Y-%m-%d %H:%M:%S}"} if key in stamped else {}
            changed[key] = event
            if event == "write":
                rows[key] = {"id": key, "amount": amount, **own}
            elif event == "soft delete" and key in rows:
                rows[key] = {**rows[key], **own, "deleted_at": f"{at(hour - 0.9 + step / 10):%Y-%m-%d %H:%M:%S}"}
            elif event == "delete told with row" and key in rows:
                changed[key] = json.dumps(rows.pop(key))
            else:
                rows.pop(key, None)
        files += [_snapshot(hour, rows, keeps_deleted=keeps_deleted), _delta(hour, rows, changed, draw(st.booleans()))]
    return files


def _alive(row: Row | None) -> Row | None:
    return row if row and not row.get("deleted_at") else None


def _snapshot(hour: int, rows: dict[int, Row], *, keeps_deleted: bool) -> Said:
    records = [row for row in rows.values() if keeps_deleted or _alive(row)]
    content = {"metadata": {"exported_at": at(hour).isoformat()}, "records": records}
    evidence = {key: _alive(rows.get(key)) for key in IDS}
    return Said(kind="snapshot", hour=hour, evidence=evidence, content=json.dumps(content).encode())


def _delta(hour: int, rows: dict[int, Row], changed: dict[int, str], wraps: bool) -> Said:
    records: list[Row] = []
    evidence = {}
    for key, event in changed.items():
        if key in rows:
            records.append({"op": "update", "id": key, "row": rows[key]} if wraps else rows[key])
        elif event == "delete told":
            records.append({"op": "delete", "id": key})
        elif event.startswith("{"):
            records.append({"op": "delete", "id": key, "before" if wraps else "row": json.loads(event)})
        else:
            continue
        evidence[key] = _alive(rows.get(key))
    content = {"metadata": {"exported_at": at(hour).isoformat()}, "records": records}
    return Said(kind="delta", hour=hour, evidence=evidence, content=json.dumps(content).encode())


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[Said]]:
    """Runs: one snapshot, or some deltas together; a file may come more than once and at any time."""
    files = draw(histories())
    arriving = draw(st.lists(st.sampled_from(files), min_size=1, max_size=8))
    return list(_grouped(arriving, draw(st.integers(1, 3))))


def _grouped(arriving: Sequence[Said], most: int) -> Iterator[list[Said]]:
    group: list[Said] = []
    for said in arriving:
        if group and (said.kind == "snapshot" or len(group) == most):
            yield group
            group = []
        if said.kind == "snapshot":
            yield [said]
        else:
            group.append(said)
    if group:
        yield group


def newest(seen: Sequence[Said]) -> dict[int, Row]:
    """The model: of each id, what the newest file that speaks of it says. Files of one hour agree."""
    latest: dict[int, Row | None] = {}
    for said in sorted(seen, key=lambda each: each.hour):
        latest.update(said.evidence)
    return {key: row for key, row in sorted(latest.items()) if row is not None}


def _files(run: Sequence[Said]) -> list[File]:
    return [File(at=at(said.hour), content=said.content, key=f"{said.hour}.json") for said in sorted(run, key=_hour)]


def _hour(said: Said) -> int:
    return said.hour


@settings(max_examples=examples(80))
@given(runs=deliveries())
def test_whatever_the_order_of_arrival_the_newest_word_on_a_record_stands(quick: Quick, runs: list[list[Said]]) -> None:
    quick.reset()
    seen: list[Said] = []
    for run in runs:
        seen += run
        reading: Literal["snapshot", "changes"] = "snapshot" if run[0].kind == "snapshot" else "changes"
        note(f"{run}")
        plan = quick.apply(_files(run), reading)
        note(f"{plan.counts}")
        assert quick.live() == newest(seen)

    left = quick.stamps()
    again = quick.apply(_files(runs[-1]), reading)
    assert again.diff.height == 0
    assert quick.stamps() == left
