"""What the views cost now against what they cost at another commit: both fleets in one server, asked in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import adbc_driver_postgresql.dbapi as adbc

from .stage import Stage, import_file, timeout_of
from .table import aligned
from .views import FINDINGS, HOURLY_FILLS, ask_seconds, questions_of

FIRST_WAVE: Final = "d19ee51"
"""The commit whose views answered from fills taken one by one: no stops, twins or fuel families."""

AIM: Final = 1.5
"""No question may take longer than so many times what it took then."""

TOUCH_ONE: Final = (
    'update fuel.records set raw = raw || \'{"driver": "Somebody Else"}\''
    " where id = (select max(f.id) from fuel.fill_facts as f)"
)
REFRESH: Final = "select * from fuel.refresh_fill_facts(1)"

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


def measure_against(stage: Stage, size: int, commit: str, rounds: int) -> list[Pair]:
    """Every question of the views that both have, all facts stored; then what it costs to compute facts anew."""
    now_name = stage.loaded(size)
    then_name = _loaded_by(stage, size, commit)
    with _cursor(stage, then_name) as then, _cursor(stage, now_name) as now:
        for cursor in (then, now):
            cursor.executescript("select fuel.refresh_fill_facts(1000000000)")
            cursor.executescript("vacuum (analyze)")
        questions = questions_of(now)
        if not _has_findings(then):
            questions = {key: asked for key, asked in questions.items() if FINDINGS not in asked}
        pairs = [*_asked(then, now, questions, rounds)]
        for what, marked, script in (
            ("one fill changed", TOUCH_ONE, REFRESH),
            ("one fill changed, whole view", TOUCH_ONE, "select max(filled_on) from reporting.v_fuel_efficiency"),
            (f"{HOURLY_FILLS:,} fills", None, f"select * from fuel.refresh_fill_facts({HOURLY_FILLS})"),
        ):
            for cursor in (then, now):
                cursor.executescript(marked) if marked else _mark_all(cursor)
            pairs += _asked(then, now, {("computed anew", what): script}, 1)
    return pairs


def render_pairs(size: int, commit: str, pairs: Sequence[Pair]) -> str:
    rows = [
        (pair.view, pair.question, f"{pair.then:.3f}", f"{pair.now:.3f}", f"{pair.ratio:.2f}")
        for pair in pairs
    ]  # fmt: skip
    asked = [pair for pair in pairs if pair.view.startswith("v_")]
    within = sum(pair.ratio <= AIM for pair in asked)
    lines = aligned([("", "", "then s", "now s", "now ÷ then"), *rows])
    verdict = f"{within} of {len(asked)} questions within {AIM} times {commit}"
    return "\n".join([f"views over {size:,} records, now against {commit}", *lines, verdict])


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


def _has_findings(cursor: adbc.Cursor) -> bool:
    cursor.execute(
        "select exists (select from information_schema.columns"
        " where table_schema = 'reporting' and table_name = 'v_fuel_fills' and column_name = 'finding_codes')"
    )
    return bool(cursor.fetchall()[0][0])


def _mark_all(cursor: adbc.Cursor) -> None:
    for marker in MARKERS:
        cursor.execute("select to_regprocedure($1) is not null", (f"{marker}()",))
        if cursor.fetchall()[0][0]:
            cursor.executescript(f"select {marker}()")
