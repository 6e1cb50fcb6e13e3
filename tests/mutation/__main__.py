"""A test of the tests: break one place of the deciding rooms at a time, and see whether a test fails.

    cd tests; uv run --with cosmic-ray python -m mutation [ROOM…] [--share 10%] [--seed 1] [--slow]

ROOM is absent, complete, counts, decide, evidence, fold, guards, match or times; without one, all of them. A sample of
the mutants is tried, the same one for the same seed, by the quick tests of the room; with --slow what these let live is
tried by tests on a real server, too. Prints the share of mutants killed and each that lived. Some four seconds of CPU a
mutant; not part of CI. The rooms are mutated in a copy of the repository, never here.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, WorkerOutcome, WorkResult

ROOT: Final = Path(__file__).parents[2]
TESTS: Final = {
    "plan/absent.py": "tests/unit/test_diff.py tests/laws/test_evidence.py",
    "plan/counts.py": "tests/laws/test_plans.py",
    "plan/decide.py": "tests/unit/test_diff.py tests/laws/test_evidence.py",
    "plan/evidence.py": "tests/laws/test_evidence.py",
    "plan/fold.py": "tests/laws/test_evidence.py tests/unit/test_diff.py",
    "plan/guards.py": "tests/unit/test_limits.py",
    "plan/match.py": "tests/unit/test_diff.py",
    "records/complete.py": "tests/unit/test_complete.py tests/unit/test_limits.py",
    "records/times.py": "tests/unit/test_times.py",
}
"""A room, and the quick tests that should notice a break of it."""

SLOW: Final = "tests/laws/test_source.py tests/laws/test_plans.py tests/postgres/test_states.py"
"""Tests on a real server, for what the quick ones let live."""

PATIENCE: Final = 300
"""Seconds after which a mutant that hangs counts as killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One place broken, and what became of it."""

    room: str
    spec: MutationSpec
    is_killed: bool
    diff: str


def main(words: list[str]) -> int:
    """The exit code: 1 if fewer than 95 of 100 mutants were killed."""
    parser = argparse.ArgumentParser(prog="python -m mutation")
    parser.add_argument("rooms", nargs="*", choices=[[], *sorted(Path(room).stem for room in TESTS)])
    parser.add_argument("--share", default="10%", type=lambda text: float(text.removesuffix("%")) / 100)
    parser.add_argument("--seed", default=1, type=int)
    parser.add_argument("--slow", action="store_true")
    given = parser.parse_args(words)
    chosen = {room: tests for room, tests in TESTS.items() if not given.rooms or Path(room).stem in given.rooms}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "fleetfuel"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "*.egg-info", "__pycache__"))
        tried = [each for room in chosen for each in _try_room(copy, room, given.share, given.seed, slow=given.slow)]
    for each in tried:
        if not each.is_killed:
            place = f"{each.room}:{each.spec.start_pos[0]}"
            print(f"\nlived: {place}  {each.spec.operator_name} ({each.spec.occurrence})\n{each.diff}")
    killed = sum(each.is_killed for each in tried)
    print(f"{killed} of {len(tried)} mutants killed ({killed / max(len(tried), 1):.1%})")
    return int(killed < 0.95 * len(tried))


def _try_room(copy: Path, room: str, share: float, seed: int, *, slow: bool) -> Iterator[Mutant]:
    path = copy / "fleetfuel" / room
    source = path.read_text(encoding="utf-8")
    if not _passes(copy, TESTS[room]):
        raise SystemExit(f"{TESTS[room]}: does not pass without a mutant")
    config, session = copy / "cosmic.toml", copy / "session.sqlite"
    config.write_text(
        f'[cosmic-ray]\nmodule-path = "fleetfuel/{room}"\ntimeout = {PATIENCE}.0\nexcluded-modules = []\n'
        f"test-command = {json.dumps(' '.join(_pytest(TESTS[room])))}\n"
        '[cosmic-ray.distributor]\nname = "local"\n'
    )
    session.unlink(missing_ok=True)
    _cosmic_ray(copy, "init", str(config), str(session))
    with use_db(str(session), WorkDB.Mode.open) as database:
        specs = {item.job_id: item.mutations[0] for item in database.work_items}
        alive = [job for job, spec in specs.items() if not _is_never_run(source, *spec.start_pos)]
        alive.sort(key=lambda job: (specs[job].start_pos, specs[job].operator_name, specs[job].occurrence))
        sample = set(random.Random(seed).sample(alive, min(len(alive), round(share * len(alive)) or 1)))
        skipped = WorkResult(worker_outcome=WorkerOutcome.SKIPPED)
        for job in specs.keys() - sample:
            database.set_result(job, skipped)
    print(f"{room}: {len(sample)} of {len(alive)} mutants", flush=True)
    _cosmic_ray(copy, "exec", str(config), str(session))
    with use_db(str(session), WorkDB.Mode.open) as database:
        results = {job: result for job, result in database.results if job in sample}
    path.write_text(source, encoding="utf-8")
    for job in sorted(sample, key=lambda job: specs[job].start_pos):
        spec, result = specs[job], results[job]
        is_killed = bool(result.is_killed)
        if not is_killed and slow:
            _cosmic_ray(copy, "apply", f"fleetfuel/{room}", spec.operator_name, str(spec.occurrence))
            is_killed = not _passes(copy, SLOW)
            path.write_text(source, encoding="utf-8")
        yield Mutant(room=room, spec=spec, is_killed=is_killed, diff=result.diff or "")


def _is_never_run(source: str, line: int, column: int) -> bool:
    """Whether a place is in an annotation, which nothing evaluates."""
    annotations = [
        part
        for node in ast.walk(ast.parse(source))
        for name in ("annotation", "returns")
        if isinstance(part := getattr(node, name, None), ast.expr)
    ]
    return any(
        (part.lineno, part.col_offset) <= (line, column) <= (part.end_lineno or 0, part.end_col_offset or 0)
        for part in annotations
    )


def _pytest(tests: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests.split()]


def _environment(copy: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}


def _passes(copy: Path, tests: str) -> bool:
    done = subprocess.run(_pytest(tests), cwd=copy, env=_environment(copy), check=False, capture_output=True)
    return done.returncode == 0


def _cosmic_ray(copy: Path, *words: str) -> None:
    command = [sys.executable, "-m", "cosmic_ray.cli", *words]
    subprocess.run(command, cwd=copy, env=_environment(copy), check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
