"""What server, database and role have set, as far as a run depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from fleetfuel import errors
from fleetfuel.table.statements import named_sql

SEARCH_PATH: Final = "set local search_path = pg_catalog, pg_temp"
"""First in every transaction: no statement finds anything in a schema that somebody else may create in."""


class ReadOnly(errors.ConfigurationError):
    message = """{what}: nothing was written.
    {next_step}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Asked for once a connection (`read_surroundings`)."""

    target: str
    """The database, as messages name it."""
    role: str
    """Who is logged in."""
    has_lock_timeout: bool
    has_time_limit: bool
    """Whether the server ends a statement that takes too long."""
    can_check_connection: bool
    """Whether the server can notice in the middle of a statement that its client is gone."""
    is_replica: bool
    is_read_only: bool
    hides_rows: bool
    """Whether row level security hides rows of the schema `fuel` from this role."""

    @classmethod
    def of(cls, found: Mapping[str, Any], target: str) -> Self:
        """From the row of `read_surroundings`. Raises `ConfigurationError` for a database that is not in UTF-8."""
        encoding = found["server_encoding"]
        if encoding != "UTF8":
            raise errors.ConfigurationError(
                reason=f"The database at {target} is in {encoding}, which cannot hold every text of the feed.",
                next_step="Create one in UTF-8: create database … encoding 'UTF8' template template0;",
            )
        return cls(target=target, **{name: value for name, value in found.items() if name != "server_encoding"})

    def settings(self) -> tuple[str, ...]:
        """What every transaction sets for itself. Each setting ends with its transaction, so that nothing is left in a
        pooler's connection. None takes a snapshot, so that a lock can still come first."""
        wanted = {
            "limit_lock_waits": not self.has_lock_timeout,
            "notice_a_lost_client": self.can_check_connection,
            "limit_idleness": True,
        }
        return (SEARCH_PATH, *(named_sql(name) for name, is_wanted in wanted.items() if is_wanted))

    def demand_writable(self) -> None:
        """Raises `ReadOnly`, or `DatabaseUnavailable` for a replica."""
        if self.is_replica:
            raise errors.DatabaseUnavailable(reason="it is a replica, which nobody can write to", target=self.target)
        if self.is_read_only:
            raise ReadOnly(
                what=f"{self.target} is set to read only (default_transaction_read_only)",
                next_step="Whoever set it protects this database. If it is to be written to, change it for this role "
                "or database: alter role … reset default_transaction_read_only;",
            )

    def demand_every_row(self) -> None:
        """Raises `ReadOnly` if rows are hidden."""
        if self.hides_rows:
            raise ReadOnly(
                what=f"{self.target} has row level security on tables of the fuel schema",
                next_step="A run that does not see every row would take the hidden ones for absent: "
                "alter table … disable row level security;",
            )
