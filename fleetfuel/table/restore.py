"""What migrations make besides tables: remembered after each `migrate`, and made again if it is missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fleetfuel import errors
from fleetfuel.printable import counted
from fleetfuel.table.database import Database
from fleetfuel.table.migration_files import MigrationFile

_REPORT: Final = re.compile(r"\bview\s+reporting\.([a-z_0-9]+)", re.IGNORECASE)


def demand_room(database: Database) -> None:
    """Raises `ConfigurationError` if there is a schema `fuel` that holds objects already, or belongs to somebody else.
    An empty one that was made for us is fine.
    """
    found = next(iter(database.rows("read_schema_owner")), None)
    database.rollback()
    if found is None or found["has_ledger"]:
        return
    if found["objects"]:
        reason = (
            f"The schema fuel, of {found['owner']}, holds {counted(found['objects'], 'object')} that no migration made."
        )
    elif not found["is_ours"]:
        reason = f"The schema fuel belongs to {found['owner']}, who could drop and replace what is in it."
    else:
        return
    raise errors.ConfigurationError(
        reason=reason, next_step="Let it be renamed or removed, or migrate as its owner; nothing was changed."
    )


def restore_objects(database: Database) -> str | None:
    """Make again what is missing, and commit; what it was, in words."""
    database.begin()
    restored: str | None = None
    if database.rows("has_function", "fuel.restore_objects()")[0]["present"]:
        restored = database.rows("restore_objects")[0]["said"]
        database.commit()
    database.rollback()
    return restored


def remember_objects(database: Database, files: Sequence[MigrationFile]) -> None:
    """Remember what is there, and commit. In the schema reporting only the views that migrations make are ours."""
    database.begin()
    if database.rows("has_function", "fuel.remember_objects(text[])")[0]["present"]:
        reports = sorted({name for file in files for name in _REPORT.findall(file.text)})
        database.rows("remember_objects", "{" + ",".join(reports) + "}")
        database.commit()
    database.rollback()
