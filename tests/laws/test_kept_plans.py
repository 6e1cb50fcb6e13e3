"""A saved plan, applied, is the plan applied; an undo gives back the table before; a redo what was undone; a file
replayed against the past gives what it gave.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from table import EVERYTHING, NOON

from fleetfuel import pipeline
from fleetfuel.model.plan import Plan
from fleetfuel.plan.run import Run
from fleetfuel.records import values
from fleetfuel.report import evidence, plan_file, summary
from fleetfuel.table.as_of import AsOf

from .quick import File, Quick, examples
from .test_plans import TABLES, Row, _content

STATE = """
    select id, raw::text as raw, deleted_at, absent_since, source_key, source_at, change_at, fingerprint::text as print
    from fuel.records order by id
"""
VERSIONS = "select id, raw::text as raw, deleted_at, absent_since from fuel.record_versions order by id, version_id"
KINDS = st.sampled_from(("snapshot", "changes"))
STEPS = st.lists(st.tuples(KINDS, TABLES), min_size=1, max_size=4)


def _file(hour: int, rows: dict[int, Row]) -> File:
    return File(at=NOON + timedelta(hours=hour), content=_content(rows), key=f"{hour}.json")


def _saved(plan: Plan, folder: Path, run_id: str) -> Plan:
    evidence.write_report(plan, summary.summarise(plan), folder)
    return plan_file.read_plan(folder, run_id, plan.started_at)[0]


def _apply(plan: Plan, quick: Quick) -> None:
    pipeline.apply(plan, summary.summarise(plan), quick.database)


def _undo(run_id: str, quick: Quick, number: int) -> Plan:
    run = Run(
        run_id=f"undo {number}",
        mode="undo",
        started_at=datetime.now(UTC),
        zone=values.EAST_AFRICA,
        rules=quick.rules,
        overrides=EVERYTHING,
    )
    quick.database.begin("repeatable read")
    return pipeline.plan_undo(run_id, quick.database, run)


def _reported(quick: Quick) -> list[Any]:
    counts = "select status, counts::text as counts from fuel.ingest_runs order by finished_at"
    return [quick.ask(asked) for asked in (STATE, VERSIONS, counts)]


@settings(max_examples=examples(12))
@given(steps=STEPS)
def test_a_saved_plan_applied_is_the_plan_applied(quick: Quick, steps: list[tuple[Any, dict[int, Row]]]) -> None:
    reported = []
    for saves in (False, True):
        quick.reset()
        with tempfile.TemporaryDirectory() as folder:
            for hour, (reading, rows) in enumerate(steps):
                plan = quick.plan([_file(hour, rows)], reading)
                if saves:
                    plan = _saved(plan, Path(folder) / str(hour), f"saved {plan.run_id}")
                _apply(plan, quick)
        reported.append(_reported(quick))
    assert reported[0] == reported[1]


@settings(max_examples=examples(15))
@given(steps=STEPS)
def test_an_undo_gives_back_the_table_and_a_redo_what_was_undone(
    quick: Quick, steps: list[tuple[Any, dict[int, Row]]]
) -> None:
    quick.reset()
    before: list[dict[str, Any]] = []
    plan: Plan | None = None
    for hour, (reading, rows) in enumerate(steps):
        before = quick.ask(STATE)
        plan = quick.apply([_file(hour, rows)], reading)
    assert plan
    after = quick.ask(STATE)
    _apply(_undo(plan.run_id, quick, 1), quick)
    held = {row["id"] for row in before}
    back = quick.ask(STATE)
    assert [_plain(row) for row in back if row["id"] in held] == [_plain(row) for row in before]
    assert all(row["absent_since"] for row in back if row["id"] not in held)
    _apply(_undo("undo 1", quick, 2), quick)
    assert [_plain(row) for row in quick.ask(STATE)] == [_plain(row) for row in after]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose value came back may have lost its fingerprint: the next run then looks again."""
    return {name: row[name] for name in row if name != "print"}


def _written(plan: Plan) -> pl.DataFrame:
    return plan.diff.others.drop("seen").sort("id")


@settings(max_examples=examples(12))
@given(steps=STEPS)
def test_a_file_replayed_against_the_past_gives_what_it_gave(
    quick: Quick, steps: list[tuple[Any, dict[int, Row]]]
) -> None:
    quick.reset()
    plans = [quick.apply([_file(hour, rows)], reading) for hour, (reading, rows) in enumerate(steps)]
    for hour, ((reading, rows), plan) in enumerate(zip(steps, plans, strict=True)):
        [stamp] = quick.ask("select stamped_at as at from fuel.ingest_runs where run_id = $1", plan.run_id)
        quick.database.begin("repeatable read", read_only=True)
        then = AsOf(quick.database, stamp["at"] - timedelta(microseconds=1))
        again = quick.plan([_file(hour, rows)], reading, table=then)
        assert again.counts == plan.counts
        assert dict(again.columns) == dict(plan.columns)
        assert _written(again).equals(_written(plan))
