"""A plan, applied, makes the table what the feed says; nothing is left to plan then; every record is counted once."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import timedelta
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from table import NOON, balance

from fleetfuel import errors
from fleetfuel.model.plan import Plan
from fleetfuel.plan import batch, words
from fleetfuel.records.rows import CHUNK
from fleetfuel.writes import WRITES, batches

from .quick import File, Quick, exact, examples

Row = dict[str, Any]

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
)
FIELDS = st.sampled_from(("liters", "amount", "car", "type", "datetime", "sender", "note", "plate", "created_at"))
BODIES = st.dictionaries(FIELDS, VALUES, max_size=3)
TABLES = st.dictionaries(st.integers(-3, 12), BODIES, max_size=8)


def _text(value: object) -> str:
    """JSON without what jsonb cannot hold."""
    return json.dumps(value).replace("\\u0000", "").replace("\\ud", "\\\\ud")


def _content(rows: dict[int, Row]) -> bytes:
    return ("[" + ",".join(_text({**body, "id": key}) for key, body in rows.items()) + "]").encode()


def _wanted(rows: dict[int, Row]) -> dict[int, Any]:
    return {record["id"]: record for record in exact(_content(rows))}


@settings(max_examples=examples(40))
@given(steps=st.lists(TABLES, min_size=1, max_size=4))
def test_applying_a_plan_makes_the_live_rows_the_snapshot_and_leaves_nothing_to_plan(
    quick: Quick, steps: list[dict[int, Row]]
) -> None:
    quick.reset()
    for hour, rows in enumerate(step for step in steps if step):
        file = File(at=NOON + timedelta(hours=hour), content=_content(rows))
        quick.apply([file], "snapshot")
        assert quick.live() == _wanted(rows)
        left = quick.stamps()
        again = quick.apply([file], "snapshot")
        assert again.diff.height == 0
        assert again.counts.unchanged == again.counts.records == len(rows)
        assert quick.stamps() == left


@pytest.mark.parametrize("chunk", [1, 2, 3])
@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=TABLES, after=TABLES, repeats=st.lists(st.integers(-3, 12), max_size=3), seed=st.integers(0, 99))
def test_neither_the_order_of_records_nor_the_size_of_a_chunk_matters(
    quick: Quick,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
    before: dict[int, Row],
    after: dict[int, Row],
    repeats: list[int],
    seed: int,
) -> None:
    records = [{**body, "id": key, "updated_at": "2026-06-11 12:30:00"} for key, body in after.items()]
    records += [{"id": key, "updated_at": f"2026-06-11 12:{place:02}:00"} for place, key in enumerate(repeats)]
    shuffled = random.Random(seed).sample(records, len(records))
    reported = []
    for order, size in ((records, CHUNK), (shuffled, chunk)):
        monkeypatch.setattr(batch, "CHUNK", size)
        monkeypatch.setattr(words, "CHUNK", size)
        quick.reset()
        quick.apply([File(at=NOON, content=_content(before))], "snapshot")
        content = ("[" + ",".join(map(_text, order)) + "]").encode()
        plan = quick.apply([File(at=NOON + timedelta(hours=1), content=content, key="after.json")], "snapshot")
        reported.append((plan.counts, dict(plan.columns), dict(plan.rules), quick.live()))
    monkeypatch.undo()
    assert reported[0] == reported[1]


# --- the law of counts --------------------------------------------------------------------------------------------

STRANGE = (
    *(
        "{}",
        '{"success": true}',
        "5",
        "null",
        "[]",
        '"x"',
        '{"id": null}',
        '{"id": "x"}',
        '{"id": 1e400}',
        '{"id": true}',
    ),
    *('{"id": 1, "a": "\\u0000"}', '{"id": 2, "a": "\\ud800"}', '{"op": "delete"}', '{"op": "delete", "id": 1}'),
    *(
        '{"op": "update", "id": 3, "row": {"liters": 1}}',
        '{"id": 4, "is_deleted": true}',
        '{"id": 4, "deleted_at": "2026-06-01"}',
    ),
    *(
        '{"id": 5, "liters": 9999}',
        '{"id": 5, "updated_at": "2026-06-11 11:00:00"}',
        '{"id": "5 "}',
        '{"id": 1}',
        '{"id": 2}',
    ),
    *('{"action": "d", "before": {"id": 6}}', '{"id": 6, "type": "x", "amount": "?"}', '{"message": "m", "error": {}}'),
)
FILES = st.lists(st.sampled_from(STRANGE), max_size=12).map(lambda records: ("[" + ",".join(records) + "]").encode())
RUNS = st.tuples(st.sampled_from(("snapshot", "changes")), st.lists(FILES, min_size=1, max_size=3), st.integers(0, 4))


@settings(max_examples=examples(60))
@given(runs=st.lists(RUNS, min_size=1, max_size=4))
def test_every_record_of_every_file_is_counted_once(
    quick: Quick, runs: list[tuple[Literal["snapshot", "changes"], list[bytes], int]]
) -> None:
    quick.reset()
    mark = -1
    for reading, contents, hour in runs:
        files = [
            File(at=NOON + timedelta(hours=hour, minutes=minute), content=content, key=f"{hour} {minute}.json")
            for minute, content in enumerate(contents if reading == "changes" else contents[:1])
        ]
        try:
            plan = quick.plan(files, reading)
        except errors.BadInput:
            quick.database.rollback()
            continue
        is_old = reading == "snapshot" and hour < mark
        assert [guard.code for guard in plan.guards] == (["old_snapshot"] if is_old else [])
        if is_old:
            quick.database.rollback()
        else:
            quick.write(plan)
            mark = hour if plan.reading == "snapshot" else mark
        counts = {name: getattr(plan.counts, name) for name in plan.counts.__slots__}
        balance(counts)
        assert counts["records"] + counts["skipped"] == sum(len(json.loads(file.content)) for file in files)
        _check_files(plan, counts)
        _check_writes(plan, counts)


def _check_files(plan: Plan, counts: dict[str, int]) -> None:
    """The counts of the files add up to those of the run, and each file's to its own records."""
    summed: Counter[str] = Counter()
    for file in plan.files:
        summed.update(file.counts)
        parts = {name: rows for name, rows in file.counts.items() if name not in ("records", "skipped")}
        assert all(rows > 0 for rows in file.counts.values())
        assert sum(parts.values()) == file.counts.get("records", 0)
    for name, rows in summed.items():
        assert rows == counts[name], name


def _check_writes(plan: Plan, counts: dict[str, int]) -> None:
    writes = pl.concat([WRITES.to_frame(), *batches(plan.diff, 2)])
    assert writes.height == plan.diff.height
    actions: Counter[str] = Counter(writes["action"].to_list())
    named = {
        "insert": "inserts",
        "update": "updates",
        "restore": "restores",
        "soft_delete_flagged": "soft_deletes_flagged",
    }
    named |= {"soft_delete_absent": "soft_deletes_absent"}
    for action, name in named.items():
        assert actions[action] == counts[name]
    assert not writes["id"].is_duplicated().any()
