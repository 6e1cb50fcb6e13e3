"""Killed anywhere: what was not committed leaves nothing, what was is whole, and running again completes it."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from .conftest import KILLS, Ground, Tally
from .footprint import Footprint, read_reports, take_footprint
from .program import Program, start_plainly

KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
SIGNALS = (KILL, TERM, INT)


def check_end(program: Program, how: signal.Signals, *, early: Sequence[int] = ()) -> None:
    """It ended by the signal, with one sentence if it could say one; or it was done already."""
    code = program.wait()
    if code == 0 or code in early:
        return
    if how == KILL:
        assert code == -KILL, (code, program.err)
        return
    assert code == 130, (code, program.seen, program.err)
    assert len(program.said) == 1, program.err
    assert "fleetfuel: Interrupted. " in program.said[0], program.err


def check_atoms(ground: Ground, found: Footprint, program: Program) -> bool:
    """All or nothing; whether it was all."""
    assert found in (ground.before, ground.once), (
        program.seen,
        found.differences_from(ground.once if len(found.run_ids) > 1 else ground.before),
    )
    return found == ground.once


def check_repetition(ground: Ground, uri: str, folder: Path, killed: Sequence[Program], tally: Tally) -> None:
    """Run once more: table, history, ledger, watermark, rejects and reports are those of undisturbed runs."""
    was_committed = take_footprint(uri) == ground.once
    wanted = ground.twice if was_committed else ground.once
    again = ground.forks.start(folder / "again", [*ground.argv, "--wait", "60"], database=uri)
    assert again.wait() == 0, again.err
    found = take_footprint(uri)
    tally.add("rows lost", found.lost_from(wanted))
    assert found == wanted, found.differences_from(wanted)
    changed = found.run_ids[1]
    evidence = read_reports(folder / "reports")
    assert evidence[changed].applied, (again.err, [program.seen for program in killed])
    assert evidence[changed].parquet == ground.evidence.parquet
    assert evidence[changed].plan == ground.evidence.plan
    for run_id, each in evidence.items():
        assert each.applied == (run_id in found.run_ids)
        assert each.parquet == ground.evidence.parquet or run_id in found.run_ids[2:]
    for program in (*killed, again):
        assert [*(program.folder / "tmp").iterdir()] == []
    if not any(program.wait() == -KILL for program in killed):
        assert [path for path in (folder / "reports").iterdir() if path.name.startswith(".")] == []


def test_killed_at_every_step(ground: Ground, tally: Tally) -> None:
    assert {"lock", "state", "compare", "report plan", "ingest fuel_stage", "batch", "sql merge_writes", "commit"} < {
        *ground.steps
    }
    for step in ground.steps:
        uri = ground.reset()
        with ground.trial() as folder:
            killed = []
            for number, how in enumerate(SIGNALS):
                program = ground.forks.start(folder / str(number), ground.argv, database=uri, stops=[step])
                program.reach(step)
                program.kill(how)
                if step == "check" and how != signal.SIGKILL:
                    program.go_on()  # a check that a library calls is interrupted once it is over
                check_end(program, how)
                assert program.wait() != 0, step
                killed.append(program)
                tally.add("kills tried")
                if check_atoms(ground, take_footprint(uri), program):
                    break  # after the commit a second run is another run
            check_repetition(ground, uri, folder, killed, tally)


@pytest.mark.parametrize("how", SIGNALS)
@pytest.mark.parametrize("step", ["committed", "finish report", "summary"])
def test_killed_after_the_commit(ground: Ground, tally: Tally, step: str, how: signal.Signals) -> None:
    """The run is applied; the next one finds its report unfinished, and says so."""
    uri = ground.reset()
    with ground.trial() as folder:
        program = ground.forks.start(folder / "1", ground.argv, database=uri, stops=[step])
        program.reach(step)
        program.kill(how)
        check_end(program, how)
        tally.add("kills tried")
        assert take_footprint(uri) == ground.once
        check_repetition(ground, uri, folder, [program], tally)
        said = (folder / "again" / "err").read_text()
        assert ("was cut short after its commit" in said) == (step != "summary"), said


def kill_at_random(ground: Ground, tally: Tally, chance: random.Random, folder: Path) -> None:
    uri = ground.reset()
    how = chance.choice(SIGNALS)
    delay = chance.uniform(0, 1.1 * ground.seconds)
    program = ground.forks.start(folder / "1", ground.argv, database=uri, steps=False)
    time.sleep(delay)
    program.kill(how)
    check_end(program, how)
    tally.add("kills tried")
    is_all = check_atoms(ground, take_footprint(uri), program)
    assert is_all or program.wait() != 0, (how, delay, program.err)
    check_repetition(ground, uri, folder, [program], tally)


def test_killed_at_random_instants(
    request: pytest.FixtureRequest, ground: Ground, tally: Tally, chance: random.Random
) -> None:
    kills: int = request.config.getoption("--kills", default=None) or KILLS
    ends = time.monotonic() + 60 * (request.config.getoption("--soak", default=None) or 0)
    tried = 0
    while tried < kills or time.monotonic() < ends:
        with ground.trial() as folder:
            kill_at_random(ground, tally, chance, folder)
        tried += 1


@pytest.mark.parametrize("how", SIGNALS)
def test_the_whole_program_killed(ground: Ground, tally: Tally, chance: random.Random, how: signal.Signals) -> None:
    """Interpreter, imports and all. Before it has a handler, a signal ends it the way signals do."""
    for _ in range(2):
        uri = ground.reset()
        with ground.trial() as folder:
            program = start_plainly(folder / "1", ground.argv, database=uri)
            time.sleep(chance.uniform(0, 3))
            program.kill(how)
            early = () if (folder / "1" / "tmp").exists() and program.err == "" else (-how, 1)
            check_end(program, how, early=(-how, *early))
            tally.add("kills tried")
            check_atoms(ground, take_footprint(uri), program)
            check_repetition(ground, uri, folder, [program], tally)
