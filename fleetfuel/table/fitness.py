"""Whether the schema in the database is the one that this program reads and writes: asked before anything else."""

from __future__ import annotations

import json
from pathlib import Path

from fleetfuel import errors
from fleetfuel.table.database import Database


def demand_fitting_schema(database: Database, migrations: Path) -> None:
    """Raises `ConfigurationError` if a later program migrated the database, or if row level security would hide
    rows; `SchemaNotReady` if a migration of this program is missing."""
    database.begin(read_only=True)
    found = database.rows("read_fitness")[0]
    database.rollback()
    applied, ours = set(json.loads(found["files"])), {path.name for path in migrations.glob("*.sql")}
    if later := sorted(applied - ours):
        raise errors.ConfigurationError(
            reason=f"The database was migrated by a later fleetfuel: {later[0]} is not among the migrations here.",
            next_step="Use that one, or a later one; nothing was changed.",
        )
    if pending := sorted(ours - applied):
        raise errors.SchemaNotReady(reason=f"{pending[0]} is not applied")
    if found["secured"]:
        demand_no_row_security(found["secured"])


def demand_no_row_security(secured: str) -> None:
    """Rows that a policy hides would be taken for rows that are not there."""
    raise errors.ConfigurationError(
        reason=f"Row level security is on for {secured}: rows that it hides would be taken for missing.",
        next_step="Switch it off: alter table … disable row level security. Nothing was changed.",
    )
