"""A test of the tests: break one place of the deciding rooms at a time, and see whether a test fails.

    cd tests; uv run --with cosmic-ray python -m mutation [ROOM…]

ROOM is decide, evidence, fold, limits, counts, complete or times; without one, all of them. Prints the share of mutants
killed and each survivor. The rooms are mutated in a copy of the repository, never here. Hours on two cores; not part of
CI. MUTATION_QUICK=1 leaves out the tests that need a server.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TESTS: Final = {
    "plan/match.py": "tests/unit/test_diff.py",
    "plan/decide.py": "tests/unit/test_diff.py tests/laws/test_evidence.py",
    "plan/absent.py": "tests/unit/test_diff.py tests/laws/test_evidence.py",
    "plan/evidence.py": "tests/laws/test_evidence.py",
    "plan/fold.py": "tests/laws/test_evidence.py tests/unit/test_diff.py",
    "plan/limits.py": "tests/unit/test_limits.py",
    "plan/counts.py": "tests/unit/test_summary.py tests/laws/test_evidence.py",
    "records/complete.py": "tests/unit/test_complete.py tests/unit/test_limits.py",
    "records/times.py": "tests/unit/test_times.py",
}
"""A room, and the quick tests that should notice a break of it; what survives these is tried by the slow ones."""

SLOW: Final = "tests/laws/test_source.py tests/postgres/test_stories.py"
"""Tests on a real server, for what the quick ones let live."""


def main(rooms: list[str]) -> int:
    """The exit code: 1 if fewer than 95 of 100 mutants were killed."""
    chosen = {room: tests for room, tests in TESTS.items() if not rooms or Path(room).stem in rooms}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "fleetfuel"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "*.egg-info", "__pycache__"))
        results = [each for room, tests in chosen.items() for each in _mutate(copy, room, tests)]
    killed = sum(bool(each["killed"]) for each in results)
    for each in results:
        if not each["killed"]:
            print(f"{each['room']}:{each['line']}  {each['operator']}\n{each['diff']}")
    print(f"{killed} of {len(results)} mutants killed ({killed / max(len(results), 1):.1%})")
    return int(killed < 0.95 * len(results))


def _mutate(copy: Path, room: str, tests: str) -> list[dict[str, object]]:
    quick = f"{sys.executable} -m pytest -x -q -n 0 -p no:cacheprovider {tests}"
    command = quick if os.environ.get("MUTATION_QUICK") else f"sh -c '{quick} && {quick.replace(tests, SLOW)}'"
    config = copy / "cosmic.toml"
    config.write_text(
        f'[cosmic-ray]\nmodule-path = "fleetfuel/{room}"\ntimeout = 600.0\nexcluded-modules = []\n'
        f'test-command = {json.dumps(command)}\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    session = copy / "session.sqlite"
    session.unlink(missing_ok=True)
    environment = os.environ | {"PYTHONPATH": str(copy)}
    for words in (["init", str(config), str(session)], ["exec", str(config), str(session)]):
        subprocess.run([sys.executable, "-m", "cosmic_ray.cli", *words], cwd=copy, env=environment, check=True)
    dumped = subprocess.run(
        [sys.executable, "-m", "cosmic_ray.cli", "dump", str(session)],
        cwd=copy,
        check=True,
        capture_output=True,
        text=True,
    )
    found = []
    for line in dumped.stdout.splitlines():
        item, result = json.loads(line)
        mutation = item["mutations"][0]
        found.append(
            {
                "room": room,
                "line": mutation["start_pos"][0],
                "operator": mutation["operator_name"],
                "killed": bool(result) and result["test_outcome"] != "survived",
                "diff": (result or {}).get("diff") or "",
            }
        )
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
