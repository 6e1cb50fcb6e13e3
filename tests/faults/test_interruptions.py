"""Ctrl-C and SIGTERM while the program waits for something: it ends at once, in a sentence; nothing is written."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from fleetfuel.table.database import connect
from fleetfuel.table.statements import named_sql

from .conftest import Ground, Tally, administer, query, until
from .feed import write_bulk
from .footprint import read_reports, take_footprint
from .program import PATIENCE, Program
from .proxy import proxy
from .slow import SLOW_COMMIT, SLOW_MERGE, is_sleeping


def check_interrupted(program: Program) -> None:
    assert program.wait() == 130, program.err
    assert program.said == ["fleetfuel: Interrupted. Nothing is half-written: what was not committed was rolled back."]
    assert program.out == ""
    assert [*(program.folder / "tmp").iterdir()] == []


def is_free(uri: str) -> bool:
    return not query(uri, "select 1 as x from pg_locks where relation = 'fuel.run_lock'::regclass")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", ["fetch", "compare", "report file"])
def test_interrupted_while_it_works(
    ground: Ground, tally: Tally, tmp_path: Path, step: str, how: signal.Signals
) -> None:
    uri = ground.reset()
    program = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=[step])
    program.reach(step)
    program.kill(how)
    check_interrupted(program)
    tally.add("faults tried")
    assert take_footprint(uri) == ground.before
    assert not (tmp_path / "reports").exists() or not [*(tmp_path / "reports").iterdir()]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_within_a_check(ground: Ground, tally: Tally, tmp_path: Path, how: signal.Signals) -> None:
    """The library that calls it would take the interruption for a failing check: it waits until the check is over."""
    uri = ground.reset()
    program = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=["check"])
    program.reach("check")
    program.kill(how)
    program.go_on()
    check_interrupted(program)
    tally.add("faults tried")
    assert take_footprint(uri) == ground.before


SIDE_BY_SIDE = {"fleetfuel.pipeline:LONG_FILES": 0, "fleetfuel.course.reports:LONG_REPORT": 0}
"""Files are cut and reports are written in threads of their own, as long ones are."""


def test_what_is_done_side_by_side_is_done_alike(ground: Ground, tmp_path: Path) -> None:
    uri = ground.reset()
    program = ground.forks.start(tmp_path / "1", ground.argv, database=uri, settings=SIDE_BY_SIDE)
    assert program.wait() == 0, program.err
    assert take_footprint(uri) == ground.once
    [written] = read_reports(tmp_path / "reports").values()
    assert (written.applied, written.parquet) == (True, ground.evidence.parquet)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", ["cut", "report file"])
def test_interrupted_while_it_works_side_by_side(
    ground: Ground, tally: Tally, tmp_path: Path, step: str, how: signal.Signals
) -> None:
    """What is under way next to the database is waited for: it has the file's bytes under its hands."""
    uri = ground.reset()
    program = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=[step], settings=SIDE_BY_SIDE)
    program.reach(step)
    program.kill(how)
    program.go_on()
    check_interrupted(program)
    tally.add("faults tried")
    assert take_footprint(uri) == ground.before
    until(lambda: is_free(uri))


@pytest.mark.parametrize(
    ("step", "setting"),
    [("piece", "fleetfuel.records.texts:PIECE"), ("report rows", "fleetfuel.report.evidence:BATCH")],
)
def test_long_work_next_to_the_database_is_given_up_at_its_next_piece(
    ground: Ground, tally: Tally, tmp_path: Path, step: str, setting: str
) -> None:
    """Not waited for to its end: a file of ten million records takes its seconds to cut, and its report more."""
    uri = ground.reset()
    bulk = write_bulk(tmp_path, records=2_000)
    argv = [
        "import",
        "--file",
        str(bulk),
        "--as",
        "snapshot",
        "--apply",
        "--max-deletes",
        "100%",
        "--max-updates",
        "100%",
    ]
    small = SIDE_BY_SIDE | {setting: 4_096 if step == "piece" else 20}
    program = ground.forks.start(tmp_path / "1", argv, database=uri, slow={step: 0.2}, settings=small)
    program.reach(step, times=3)
    program.kill(signal.SIGINT)
    check_interrupted(program)
    tally.add("faults tried")
    assert program.seen.count(step) < 20  # of a hundred or so
    assert take_footprint(uri) == ground.before
    assert not (tmp_path / "reports").exists() or not [*(tmp_path / "reports").iterdir()]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_the_server_merges(ground: Ground, tally: Tally, tmp_path: Path, how: signal.Signals) -> None:
    """A second and a third signal, while it rolls back, do no harm."""
    with ground.database() as uri:
        administer(ground.server, SLOW_MERGE, uri)
        program = ground.forks.start(tmp_path / "1", ground.argv, database=uri)
        program.reach("sql merge_inserts")
        until(lambda: is_sleeping(uri))
        for _ in range(3):
            program.kill(how)
        check_interrupted(program)
        tally.add("faults tried")
        assert "sql merge_writes" not in program.seen
        assert take_footprint(uri) == ground.before
        until(lambda: is_free(uri))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_it_stages(ground: Ground, tally: Tally, tmp_path: Path, how: signal.Signals) -> None:
    """The stream that the driver reads ends long before its end."""
    uri = ground.reset()
    bulk = write_bulk(tmp_path, records=2_000)
    argv = ["import", "--file", str(bulk), "--apply", "--no-report", "--max-updates", "100%"]
    program = ground.forks.start(
        tmp_path / "1", argv, database=uri, slow={"batch": 0.1}, settings={"fleetfuel.table.load:BATCH": 10}
    )
    program.reach("batch", times=3)
    program.kill(how)
    check_interrupted(program)
    tally.add("faults tried")
    assert program.seen.count("batch") < 100
    assert take_footprint(uri) == ground.before


def test_interrupted_while_it_waits_for_the_lock(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    uri = ground.reset()
    first = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=["state"])
    first.reach("state")
    second = ground.forks.start(tmp_path / "2", [*ground.argv, "--wait", "600"], database=uri)
    second.reach("sql take_lock")
    second.kill(signal.SIGINT)
    check_interrupted(second)
    tally.add("faults tried")
    first.go_on()
    assert first.wait() == 0, first.err
    assert take_footprint(uri) == ground.once


def test_interrupted_while_it_waits_for_a_table(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    """A wait in the server for somebody else's lock."""
    with ground.database() as uri, ground.locked(uri):
        program = ground.forks.start(tmp_path / "1", [*ground.argv, "--no-report"], database=uri)
        program.reach("sql read_rows")
        until(lambda: bool(query(uri, "select 1 as x from pg_locks where not granted")))
        program.kill(signal.SIGINT)
        check_interrupted(program)
        tally.add("faults tried")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_it_commits(ground: Ground, tally: Tally, tmp_path: Path, how: signal.Signals) -> None:
    """The commit is on its way: it is waited for, and the run is complete."""
    with ground.database() as uri:
        administer(ground.server, SLOW_COMMIT, uri)
        program = ground.forks.start(tmp_path / "1", ground.argv, database=uri)
        program.reach("commit")
        until(lambda: is_sleeping(uri))
        program.kill(how)
        program.kill(how)
        assert program.wait() == 0, program.err
        tally.add("faults tried")
        assert take_footprint(uri) == ground.once


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_nobody_answers(ground: Ground, tally: Tally, tmp_path: Path, how: signal.Signals) -> None:
    """A network that swallows everything, the cancellation too: it ends all the same."""
    uri = ground.reset()
    with proxy(ground.server.host, ground.server.port) as between:
        between.needle, between.cut = named_sql("merge_inserts").encode()[:60], "freeze"
        program = ground.forks.start(
            tmp_path / "1", ground.argv, database=between.uri(f"{uri}?connect_timeout=2"),
            settings={"fleetfuel.table.driver:LETTING_GO": 0.5},
        )  # fmt: skip
        until(lambda: between.cuts == 1)
        program.kill(how)
        check_interrupted(program)
        tally.add("faults tried")
    assert take_footprint(uri) == ground.before


def test_a_statement_left_half_way_is_let_go_after_the_end(ground: Ground) -> None:
    """An interruption may leave one to be tidied up when the thread that would have to do it has ended."""
    with connect(ground.reset()) as database:
        left = database._cursor()
        left.__enter__()
    tidying = threading.Thread(target=left.__exit__, args=(None, None, None), daemon=True)
    tidying.start()
    tidying.join(PATIENCE)
    assert not tidying.is_alive()
