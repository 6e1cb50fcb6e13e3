"""The same rows, reported by three change files: in whatever order these arrive, the table is the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

from .quick import File, Quick

MONDAY = datetime(2026, 6, 8, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def row(key: int, amount: int, own: str | None = None, **more: object) -> dict[str, Any]:
    return {"id": key, "amount": amount, **({"updated_at": f"2026-06-08 {own}"} if own else {}), **more}


GONE = {"deleted_at": "2026-06-08 01:30:00"}
REPORTED = (
    [
        row(1, 1),
        row(2, 1, "01:10:00"),
        row(3, 1, "01:30:00"),
        row(4, 1, "01:10:00"),
        row(5, 1),
        row(6, 1),
        row(7, 1, "01:40:00"),
        row(8, 1),
    ],
    [
        row(1, 2),
        row(2, 2, "01:20:00"),
        row(3, 2, "01:20:00"),
        row(4, 2, "01:30:00", **GONE),
        row(5, 2, **GONE),
        {"op": "delete", "id": 6},
        row(7, 2, "01:40:00"),
        row(9, 2),
    ],
    [
        row(1, 3),
        row(2, 3, "01:30:00"),
        row(3, 3, "01:10:00"),
        row(4, 3, "01:20:00"),
        row(5, 3),
        row(6, 3),
        row(7, 3, "01:40:00"),
        {"op": "delete", "row": row(8, 3)},
    ],
)
"""What each file says: without own times, with times that follow the files, run against them, or are the same."""

LEFT = {1: 3, 2: 3, 3: 1, 4: "deleted", 5: 3, 6: 3, 7: 3, 8: "deleted", 9: 2}


def _files() -> list[File]:
    return [
        File(at=MONDAY + hour * HOUR, content=json.dumps(reported).encode(), key=f"changes/{hour}.json")
        for hour, reported in enumerate(REPORTED)
    ]


def _left(quick: Quick) -> list[dict[str, Any]]:
    return quick.ask(
        "select id, raw::text as raw, deleted_at, absent_since, source_key, source_at from fuel.records order by id"
    )


def test_three_change_files_give_the_same_table_in_every_order(quick: Quick) -> None:
    tables = []
    for order in [None, *permutations(range(3))]:
        quick.reset()
        files = _files()
        for arrived in [files] if order is None else [[files[place]] for place in order]:
            quick.apply(arrived, "changes")
        tables.append((order, _left(quick)))

    _, first = tables[0]
    assert {
        each["id"]: "deleted" if each["deleted_at"] else json.loads(each["raw"])["amount"] for each in first
    } == LEFT
    for order, left in tables[1:]:
        assert left == first, order


def test_a_catch_up_of_files_listed_in_any_order_is_the_same(quick: Quick) -> None:
    tables = []
    for order in permutations(_files()):
        quick.reset()
        quick.apply(order, "changes")
        tables.append(_left(quick))
    assert all(left == tables[0] for left in tables)
