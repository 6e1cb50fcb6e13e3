"""From 1.0.0 on an applied migration is never edited, and a database that 1.0.0 made goes on under today's program.

`python -m tests.postgres.test_upgrade --write` lists today's migrations anew. That is for the release alone: afterwards
a line may be added, for a migration that was released, and none may change.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Final

from fleetfuel.packaged import packaged
from fleetfuel.rules.book import load_rules
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import apply_migrations, plan_migrations

from .conftest import CASES, Session
from .test_fill_facts import WRONG_IN_STORE

LIST: Final = Path(__file__).parent / "released.sha256"
VIEWS: Final = ("v_fuel_fills", "v_fuel_efficiency", "v_fuel_anomalies", "v_fuel_monthly")


def released() -> dict[str, str]:
    """File → SHA-256, as `sha256sum` writes them."""
    lines = [line.split() for line in LIST.read_text(encoding="utf-8").splitlines()]
    return {name: checksum for checksum, name in lines}


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_released_migration_is_never_edited() -> None:
    edited = [name for name, was in released().items() if checksum(packaged("migrations") / name) != was]
    assert edited == [], "databases out there have applied these: take the edit back, and write the next migration"


def test_a_database_that_the_release_made_goes_on(empty_database: str, database_uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name in released():
        shutil.copy(packaged("migrations") / name, folder)
    migrate(empty_database, folder)
    upgraded, fresh = Session(empty_database), Session(database_uri)
    records = json.loads((CASES / "figures" / "edited_amount.json").read_text(encoding="utf-8"))["records"]
    upgraded.insert(records)
    assert upgraded.one("select fills from fuel.refresh_fill_facts(1000)") > 0
    migrate(empty_database, packaged("migrations"))
    fresh.insert(records)
    for _ in range(2):  # computed as they are read, then stored
        for view in VIEWS:
            said = f"select (to_jsonb(v) - 'changed_at')::text from reporting.{view} as v order by 1"
            assert upgraded.ask(said) == fresh.ask(said) != []
        upgraded.ask("select vehicles from fuel.refresh_fill_facts(1000)")
        assert upgraded.one(WRONG_IN_STORE) == 0
    upgraded.close()
    fresh.close()


def migrate(uri: str, folder: Path) -> None:
    with connect(uri) as database:
        apply_migrations(database, plan_migrations(database, folder), load_rules())


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("python -m tests.postgres.test_upgrade --write")
    files = sorted(packaged("migrations").glob("*.sql"))
    LIST.write_text("".join(f"{checksum(path)}  {path.name}\n" for path in files), encoding="utf-8")
