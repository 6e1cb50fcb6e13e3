"""A saved plan, and an undo, killed anywhere: nothing or all of it; and two at once: one works, the other hears so."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .conftest import Ground, Tally, query
from .footprint import take_footprint

STEPS = (
    "begin",
    "lock",
    "sql create_stage",
    "batch",
    "sql find_moved",
    "sql merge_writes",
    "ledger",
    "commit",
    "committed",
)
ROWS = "select id, raw::text as raw, deleted_at, absent_since is null as is_present from fuel.records order by id"


def make_plan(ground: Ground, uri: str, folder: Path) -> Path:
    """The report of a dry run."""
    dry = ground.forks.start(folder / "dry", [word for word in ground.argv if word != "--apply"], database=uri)
    assert dry.wait() == 0, dry.err
    return next((folder / "reports").iterdir())


@pytest.mark.parametrize("step", STEPS)
def test_a_saved_plan_killed_at_a_step_is_applied_whole_or_not_at_all(ground: Ground, tally: Tally, step: str) -> None:
    uri = ground.reset()
    with ground.trial() as folder:
        argv = ["apply", str(make_plan(ground, uri, folder))]
        killed = ground.forks.start(folder / "killed", argv, database=uri, stops=[step])
        killed.reach(step)
        killed.kill(signal.SIGKILL)
        killed.wait()
        tally.add("kills tried")
        found = take_footprint(uri).tables["records"]
        assert found in (ground.before.tables["records"], ground.once.tables["records"])
        again = ground.forks.start(folder / "again", [*argv, "--wait", "60"], database=uri)
        assert again.wait() == (4 if step == "committed" else 0), again.err
        for name in ("records", "record_versions", "rejects"):
            assert take_footprint(uri).tables[name] == ground.once.tables[name]


def test_a_plan_half_written_is_never_applied(ground: Ground, tally: Tally) -> None:
    uri = ground.reset()
    dry = [word for word in ground.argv if word != "--apply"]
    for step in ("report file", "report plan"):
        with ground.trial() as folder:
            killed = ground.forks.start(folder / "killed", dry, database=uri, stops=[step])
            killed.reach(step)
            killed.kill(signal.SIGKILL)
            killed.wait()
            tally.add("kills tried")
            for path in (folder / "reports").iterdir():
                assert ground.forks.start(folder / "apply", ["apply", str(path)], database=uri).wait() in (65, 66)
            assert make_plan(ground, uri, folder).name.startswith("20")
            assert [path for path in (folder / "reports").iterdir() if path.name.startswith(".")] == []
    assert take_footprint(uri) == ground.before


def test_two_at_once_apply_one_plan(ground: Ground, tally: Tally) -> None:
    uri = ground.reset()
    with ground.trial() as folder:
        argv = ["apply", str(make_plan(ground, uri, folder))]
        first = ground.forks.start(folder / "1", argv, database=uri, stops=["commit"])
        first.reach("commit")
        assert ground.forks.start(folder / "2", argv, database=uri).wait() == 75
        waiting = ground.forks.start(folder / "3", [*argv, "--wait", "60"], database=uri)
        waiting.reach("sql take_lock", times=2)
        first.go_on()
        assert (first.wait(), waiting.wait()) == (0, 4), (first.err, waiting.err)
        assert "is applied once" in waiting.err
        tally.add("faults tried")
        assert take_footprint(uri).tables["records"] == ground.once.tables["records"]


@pytest.mark.parametrize("step", ["lock", "batch", "sql merge_writes", "ledger", "commit", "committed"])
def test_an_undo_killed_at_a_step_gives_back_all_or_nothing(ground: Ground, tally: Tally, step: str) -> None:
    uri = ground.reset()
    with ground.trial() as folder:
        before = query(uri, ROWS)
        assert ground.forks.start(folder / "import", ground.argv, database=uri).wait() == 0
        after = query(uri, ROWS)
        argv = ["undo", "last", "--apply", "--max-deletes", "100%", "--max-updates", "100%"]
        killed = ground.forks.start(folder / "killed", argv, database=uri, stops=[step])
        killed.reach(step)
        killed.kill(signal.SIGKILL)
        killed.wait()
        tally.add("kills tried")
        held = {row["id"] for row in before}
        found = query(uri, ROWS)
        is_done = found != after
        assert is_done == (step == "committed")
        if not is_done:
            assert ground.forks.start(folder / "again", [*argv, "--wait", "60"], database=uri).wait() == 0
        assert [row for row in query(uri, ROWS) if row["id"] in held] == before
