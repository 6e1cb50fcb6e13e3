"""The table follows the source, whatever the clocks, the exports and the operator did before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, note, settings

from fleetfuel.errors import BadInput

from .model import Export, Model
from .quick import File, Quick, examples
from .world import CLASSICS, LONG_AGO, Step, World, content_of, histories

HISTORIES = 40
"""How many the law tries in CI; `test_teeth` says what that is enough for."""

Law = Callable[..., None]

HAND = {
    "amount": "raw = raw || '{{\"amount\": 99}}'",
    "deleted": "deleted_at = coalesce(deleted_at, '2026-01-01')",
    "absent": "absent_since = coalesce(absent_since, '2026-01-01')",
    "2046": "change_at = '2046-01-01'",
}


def _file(export: Export) -> File:
    return File(at=export.written, content=content_of(export), key=export.key)


def _states(quick: Quick) -> dict[int, tuple[bool, bool]]:
    found = quick.ask(
        "select id, deleted_at is not null as is_deleted, absent_since is not null as is_absent"
        " from fuel.records order by id"
    )
    return {row["id"]: (row["is_deleted"], row["is_absent"]) for row in found}


def _read(quick: Quick, model: Model, exports: list[Export], *, is_forced: bool) -> None:
    """One run of the program and of the model, and what they left."""
    kind = exports[0].kind
    note(f"{'forced ' if is_forced else ''}{exports}")
    if exports[0].kind == "changes" and any(not each.is_whole and not each.messages for each in exports):
        with pytest.raises(BadInput, match="an error message and no record"):
            quick.plan([_file(each) for each in exports], "changes")
        quick.database.rollback()
        return
    plan = quick.plan([_file(each) for each in exports], kind, forced=is_forced)
    refused = model.read(exports, datetime.now(UTC), is_forced=is_forced)
    assert sorted(guard.code for guard in plan.guards) == refused
    if not refused:
        quick.write(plan)
    note(f"{plan.counts} {plan.remarks}")
    assert _states(quick) == model.states()
    assert quick.live() == model.live()


def _edit(quick: Quick, model: Model, key: int, what: str) -> None:
    """What somebody does by hand."""
    if model.edit(key, what):
        quick.edit(f"update fuel.records set {HAND[what].format()} where id = {key}")


def _with_classics(law: Law) -> Law:
    for steps in CLASSICS.values():
        law = example(steps=list(steps))(law)
    return law


@settings(max_examples=examples(HISTORIES))
@given(steps=histories)
@_with_classics
def test_after_a_good_snapshot_the_table_equals_the_source(quick: Quick, steps: list[Step]) -> None:
    quick.reset()
    model = Model()
    world = World(began=datetime.now(UTC).replace(second=0, microsecond=0) - LONG_AGO)
    for kind, *given_ in world.run(steps):
        if kind == "read":
            _read(quick, model, given_[0], is_forced=given_[1])
        else:
            _edit(quick, model, *given_)

    end = datetime.now(UTC)
    last = replace(world.export("snapshot", "whole"), claimed=end, written=end)
    _read(quick, model, [last], is_forced=False)
    assert quick.live() == world.live()

    left: Any = quick.stamps()
    again = quick.apply([_file(last)], "snapshot")
    assert again.diff.height == 0
    assert quick.stamps() == left
