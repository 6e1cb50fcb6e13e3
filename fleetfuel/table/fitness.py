"""Whether the schema in the database is the one that this program reads and writes: asked before anything else."""

from __future__ import annotations

import json
from pathlib import Path

from fleetfuel import errors
from fleetfuel.table.database import Database


def demand_fitting_schema(database: Database, migrations: Path) -> None:
    """Raises `ConfigurationError` if a later program migrated the database, if row level security would hide rows,
    or if triggers do not fire; `SchemaNotReady` if a migration is missing. Its transaction stays open."""
    database.begin(read_only=True)
    found = database.rows("read_fitness")[0]
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
    if found["is_replica"]:
        raise errors.ConfigurationError(
            reason="session_replication_role is replica here: no trigger fires, so no column would be derived.",
            next_step="Take the setting back (alter role … reset session_replication_role). Nothing was changed.",
        )
    if found["silenced"]:
        raise errors.ConfigurationError(
            reason=f"Triggers are switched off: {found['silenced']}. Columns and history would miss what is loaded.",
            next_step="Switch them on: alter table … enable trigger user. Nothing was changed.",
        )


def demand_no_row_security(secured: str) -> None:
    """Raises `ConfigurationError`; `secured` names the tables."""
    raise errors.ConfigurationError(
        reason=f"Row level security is on for {secured}: rows that it hides would be taken for missing.",
        next_step="Switch it off: alter table … disable row level security. Nothing was changed.",
    )
