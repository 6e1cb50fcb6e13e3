"""The only door to PostgreSQL: connect, lock, run a named SQL file, ingest, and translate driver errors once.

Statements live in `fleetfuel/sql/<name>.sql` and are called by name; values travel as bound parameters (`$1`, `$2`, …).
Facts about the driver (ADBC 1.13): only a statement without parameters streams; after an error only a rollback works;
`temporary=True` is needed to append to a temporary table; a wrong type of the same width is stored as garbage, so
`ingest` compares the stream's schema with the table's before a byte is sent.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import re
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any, Final, Literal

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from fleetfuel import errors

LOCK_KEY: Final = 0x666C_6565_7466_7565  # "fleetfue" in ASCII: one key for imports and migrations of a database
Isolation = Literal["read committed", "repeatable read"]


@functools.cache
def named_sql(name: str) -> str:
    """The text of `fleetfuel/sql/<name>.sql`."""
    return importlib.resources.files("fleetfuel").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def describe(uri: str) -> str:
    """Host, port, database and user of a URI, never its password: what an error may say."""
    parts = urllib.parse.urlsplit(uri)
    user = urllib.parse.unquote(parts.username or "?")
    return f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path or '/'} as user {user}"


def _with_defaults(uri: str, application_name: str) -> str:
    """The URI with a connect time-out and our application name where it names none."""
    parts = urllib.parse.urlsplit(uri)
    given = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    names = {name for name, _ in given}
    extra = [
        (name, value)
        for name, value in (("connect_timeout", "10"), ("application_name", application_name))
        if name not in names
    ]
    query = urllib.parse.urlencode(given + extra, quote_via=urllib.parse.quote)
    return urllib.parse.urlunsplit(parts._replace(query=query))


class Database:
    """One connection. Nothing is committed until `commit`; leaving the `connect` block rolls back what is open."""

    def __init__(self, connection: adbc.Connection, target: str) -> None:
        self._connection = connection
        self.target = target

    # -- transactions ---------------------------------------------------------------------------------------------

    def begin(self, isolation: Isolation = "read committed", *, read_only: bool = False) -> None:
        """Start a fresh transaction (anything open is rolled back first)."""
        self.rollback()
        access = "read only" if read_only else "read write"
        self._run(f"set transaction isolation level {isolation} {access}")

    def commit(self) -> None:
        with self._translated():
            self._connection.commit()

    def rollback(self) -> None:
        with self._translated():
            self._connection.rollback()

    def take_lock(self, *, wait_seconds: float = 0) -> None:
        """Hold the run lock until this connection ends. Raises `AnotherRun` when it is held past `wait_seconds`.

        It is a session lock, taken before the transaction that reads: a REPEATABLE READ snapshot taken by the very
        statement that waits for a lock would be older than what the holder wrote.
        """
        deadline = time.monotonic() + wait_seconds
        while True:
            taken = self.rows("take_lock", LOCK_KEY)[0]["taken"]
            self.commit()
            if taken:
                return
            if time.monotonic() >= deadline:
                holder = self.rows("lock_holder", LOCK_KEY)
                self.rollback()
                said = f" (since {holder[0]['since']}, pid {holder[0]['pid']})" if holder else ""
                raise errors.AnotherRun(holder=said)
            time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))

    # -- statements -----------------------------------------------------------------------------------------------

    def table(self, name: str, *parameters: object) -> pa.Table:
        """The result of the named statement as an Arrow table."""
        with self._cursor() as cursor:
            cursor.execute(named_sql(name), parameters or None)
            return cursor.fetch_arrow_table()

    def rows(self, name: str, *parameters: object) -> list[dict[str, Any]]:
        """The result of the named statement as dictionaries: for a handful of rows."""
        found: list[dict[str, Any]] = self.table(name, *parameters).to_pylist()
        return found

    @contextlib.contextmanager
    def stream(self, name: str) -> Iterator[pa.RecordBatchReader]:
        """The result of a named statement without parameters, batch by batch. No other statement may run meanwhile."""
        with self._cursor() as cursor:
            cursor.execute(named_sql(name))
            yield cursor.fetch_record_batch()

    def execute(self, name: str, *parameters: object) -> int:
        """Run the named statement; the number of rows it wrote (-1 where PostgreSQL does not say)."""
        with self._cursor() as cursor:
            cursor.execute(named_sql(name), parameters or None)
            return int(cursor.rowcount)

    def script(self, text: str) -> None:
        """Run a migration's text: many statements, no parameters, in a fresh transaction that stays open.

        The driver commits what is open before it runs a script; so what is open is rolled back first, as by `begin`.
        """
        self.rollback()
        with self._cursor() as cursor:
            cursor.executescript(text)

    def ingest(self, table: str, stream: pa.RecordBatchReader) -> int:
        """COPY a stream into a temporary table of this transaction. Raises `Bug` where the schemas differ."""
        with self._cursor() as cursor:
            return int(cursor.adbc_ingest(table, stream, mode="append", temporary=True))

    def _run(self, statement: str) -> None:
        with self._cursor() as cursor:
            cursor.execute(statement)

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[adbc.Cursor]:
        with self._translated(), self._connection.cursor() as cursor:
            yield cursor

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except adbc.Error as error:
            raise translate(error, self.target) from error


@contextlib.contextmanager
def connect(uri: str, *, application_name: str = "fleetfuel") -> Iterator[Database]:
    """Connect. Raises `DatabaseUnavailable` or `PermissionDenied`, with host and user, never a password."""
    target = describe(uri)
    try:
        connection = adbc.connect(_with_defaults(uri, application_name))
    except adbc.Error as error:
        raise translate(error, target) from error
    database = Database(connection, target)
    try:
        yield database
    finally:
        with contextlib.suppress(adbc.Error, errors.FleetfuelError):
            database.rollback()
        with contextlib.suppress(adbc.Error):
            connection.close()


class SerializationConflict(errors.WriteConflict):
    """Somebody else changed the same rows meanwhile ({reason}).
    Everything was rolled back. Repeat the command."""


def translate(error: adbc.Error, target: str) -> errors.FleetfuelError:
    """One driver error as one of ours. `reason` is the server's first line, without detail: details quote data."""
    state = str(getattr(error, "sqlstate", None) or "")
    reason = _first_line(error)
    match state:
        case "28P01" | "28000":
            return errors.PermissionDenied(
                what=f"The login to {target}", reason=reason, next_step="Check user and password in DATABASE_URL."
            )
        case "42501":
            return errors.PermissionDenied(
                what=f"A statement on {target}",
                reason=reason,
                next_step="Grant this user the role fuel_ingest (README, Security), then repeat the command.",
            )
        case "40001" | "40P01" | "23505":
            return SerializationConflict(reason=reason)
        case "55P03":
            return errors.LockTimeout(reason=reason)
        case "57014" if "user request" in reason:
            return errors.Interrupted()
        case "3F000" | "42P01" | "42883" | "42703":
            return errors.SchemaNotReady(reason=reason)
        case "57P01" | "57P02" | "57P03":
            return errors.DatabaseInterrupted(reason=reason, target=target)
        case "":
            return errors.DatabaseUnavailable(reason=reason, target=target)
    if state.startswith(("08", "3D", "53", "57", "25006", "58")):
        return errors.DatabaseUnavailable(reason=reason, target=target)
    return errors.Bug(reason=f"PostgreSQL {state}: {reason}")


def _first_line(error: adbc.Error) -> str:
    text = str(error)
    found = re.search(r"(?:ERROR|FATAL|PANIC): +(.+)", text)
    line = found[1] if found else text.strip().splitlines()[-1]
    return line.strip().rstrip(".")[:200]
