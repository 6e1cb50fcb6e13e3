"""What the views cost now against what they cost at another commit: both fleets in one server, asked in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import adbc_driver_postgresql.dbapi as adbc

from .stage import Stage, import_file, timeout_of
from .table import aligned
from .views import ask_seconds, questions_of

FIRST_WAVE: Final = "d19ee51"
"""The commit whose views answered from fills taken one by one: no stops, twins or fuel families."""

AIM: Final = 1.5
"""No question may take longer than so many times what it took then."""

MARKERS: Final = ("fuel.mark_every_vehicle", "fuel.mark_every_plate")
"""What marks every fact as stale, by its name now and before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One question: seconds then and now, and the middle of the rounds' ratios."""

    view: str
    question: str
    then: float
    now: float
    ratio: float


def measure_against(stage: Stage, size: int, commit: str, rounds: int) -> tuple[list[Pair], list[Pair]]:
    """Every question of the views that both have: with all facts stored, and with all of them stale."""
    now_name = stage.loaded(size)
    then_name = _loaded_by(stage, size, commit)
    with _cursor(stage, then_name) as then, _cursor(stage, now_name) as now:
        for cursor in (then, now):
            cursor.executescript("select fuel.refresh_fill_facts(1000000000)")
            cursor.executescript("vacuum (analyze)")
        questions = questions_of(now)
        stored = [*_asked(then, now, questions, rounds)]
        for cursor in (then, now):
            _mark_all(cursor)
            cursor.executescript("vacuum (analyze)")
        stale = [*_asked(then, now, questions, 1)]
    return stored, stale


def render_pairs(size: int, commit: str, stored: list[Pair], stale: list[Pair]) -> str:
    header = ("", "", "then s", "now s", "now ÷ then", "all stale: then s", "now s", "now ÷ then")
    rows = [
        (
            here.view,
            here.question,
            *(f"{here.then:.3f}", f"{here.now:.3f}", f"{here.ratio:.2f}"),
            *(f"{there.then:.3f}", f"{there.now:.3f}", f"{there.ratio:.2f}"),
        )
        for here, there in zip(stored, stale, strict=True)
    ]
    over = [pair for pair in stored if pair.ratio > AIM]
    verdict = f"{len(stored) - len(over)} of {len(stored)} stored questions within {AIM} times {commit}"
    return "\n".join([f"views over {size:,} records, now against {commit}", *aligned([header, *rows]), verdict])


def _asked(then: adbc.Cursor, now: adbc.Cursor, questions: dict[tuple[str, str], str], rounds: int) -> Iterator[Pair]:
    for (view, name), question in questions.items():
        before, after = [], []
        for _ in range(rounds):
            before.append(ask_seconds(then, question))
            after.append(ask_seconds(now, question))
        pair = Pair(
            view=view,
            question=name,
            then=statistics.median(before),
            now=statistics.median(after),
            ratio=statistics.median(b / a for a, b in zip(before, after, strict=True)),
        )
        print(f"{view}, {name}: {pair.then:.3f} s, now {pair.now:.3f} s", file=sys.stderr)
        yield pair


def _loaded_by(stage: Stage, size: int, commit: str) -> str:
    """A database that the program as of this commit made and filled with the same snapshot."""
    folder = stage.folder / commit
    if not folder.exists():
        top = Path(__file__).parents[2]
        archive = subprocess.run(["git", "archive", commit], cwd=top, check=True, capture_output=True).stdout
        folder.mkdir()
        subprocess.run(["tar", "--extract"], cwd=folder, check=True, input=archive)
    name = stage.create("template1")
    for command in (("-m", "fleetfuel", "migrate"), import_file(stage.snapshot(size))):
        subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env={**stage.environment, "DATABASE_URL": stage.server.uri(name)},
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=timeout_of(size),
        )
    return name


@contextmanager
def _cursor(stage: Stage, name: str) -> Iterator[adbc.Cursor]:
    with ExitStack() as stack:
        connection = stack.enter_context(adbc.connect(stage.server.uri(name), autocommit=True))
        yield stack.enter_context(connection.cursor())


def _mark_all(cursor: adbc.Cursor) -> None:
    for marker in MARKERS:
        cursor.execute("select to_regprocedure($1) is not null", (f"{marker}()",))
        if cursor.fetchall()[0][0]:
            cursor.executescript(f"select {marker}()")
