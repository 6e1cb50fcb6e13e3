"""The only door to PostgreSQL: connect, lock, run a named statement, ingest, and translate driver errors once.

Statements live in `table/sql/<room>.sql` and are called by name; values travel as bound parameters (`$1`, `$2`, …).
Facts about the driver (ADBC 1.13): only a statement without parameters streams; after an error only a rollback works;
`temporary=True` is needed to append to a temporary table; a wrong type of the same width is stored as garbage, so
the callers of `ingest` declare their streams with the types of the staging tables.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, TypeVar

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from fleetfuel import errors
from fleetfuel.database_url import describe, read_url, write_url
from fleetfuel.table.driver import Driver, left_open
from fleetfuel.table.refusals import SerializationConflict, translate, translate_refusal
from fleetfuel.table.statements import named_sql
from fleetfuel.table.surroundings import SEARCH_PATH, Surroundings

__all__ = ["Database", "SerializationConflict", "connect", "named_sql"]

Isolation = Literal["read committed", "repeatable read"]
T = TypeVar("T")

DEFAULTS: Final = (
    ("connect_timeout", "10"),
    # A server that vanished silently is noticed within about a minute, not after the kernel's two hours.
    ("keepalives_idle", "30"),
    ("keepalives_interval", "10"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "60000"),
)
"""Settings of libpq that the URL need not name."""


def _with_defaults(uri: str, application_name: str) -> dict[str, str]:
    """The URL's parameters, with time-outs and our application name if it names none, and always with UTF-8.

    client_encoding goes with the first message to the server, so it outranks PGCLIENTENCODING and the settings of role
    and database: in another encoding texts would arrive garbled, and stay so.
    Raises `ConfigurationError`.
    """
    try:
        given = read_url(uri)
    except ValueError as error:
        raise errors.ConfigurationError(
            reason=f"DATABASE_URL cannot be used: {error}.", next_step="See .env.example for what it may hold."
        ) from None
    defaults = dict((*DEFAULTS, ("application_name", application_name)))
    return {**defaults, **given, "client_encoding": "UTF8"}


JUST_FREED: Final = 2.0
"""If the time to wait for a lock is up but nobody is found to hold it, it was freed just now: it is tried for so many
seconds more."""


class Database:
    """One connection. Nothing is committed until `commit`; leaving the `connect` block rolls back what is open."""

    def __init__(self, connection: adbc.Connection, driver: Driver, uri: str) -> None:
        self._connection = connection
        self._driver = driver
        self._uri = uri
        self._is_settled = False
        """Whether the open transaction has its settings."""
        self._is_open = False
        """Whether anything was sent since the last transaction ended."""
        self.target = describe(read_url(uri))
        self._surroundings: Surroundings | None = None
        self._settings: tuple[str, ...] = (SEARCH_PATH,)

    # -- transactions ---------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Ask, once a connection, what server and role have set. Raises `ConfigurationError` for a database that is not
        in UTF-8."""
        found = self.rows("read_surroundings")[0]
        self.rollback()
        self._surroundings = Surroundings.of(found, self.target)
        self._settings = self._surroundings.settings()

    @property
    def _around(self) -> Surroundings:
        assert self._surroundings, "a connection looks around before anything else"
        return self._surroundings

    @property
    def role(self) -> str:
        """Who is logged in."""
        return self._around.role

    def begin(self, isolation: Isolation = "read committed", *, read_only: bool = False) -> None:
        """Start a fresh transaction (anything open is rolled back first).

        Raises `ReadOnly` for a transaction that writes if the server is set to read only.
        """
        if not read_only:
            self._around.demand_writable()
        if isolation == "repeatable read":
            self._around.demand_every_row()
        self._begin(f"set transaction isolation level {isolation} {'read only' if read_only else 'read write'}")

    def _begin(self, *first: str) -> None:
        """A fresh transaction with its settings, in one message: over a network each statement costs a round trip.

        The driver commits what is open before it runs a script; so what is open is rolled back first.
        """
        if self._is_open:
            self.rollback()
        with self._cursor(settles=False) as cursor:
            script = ";\n".join((first[0], *self._settings, *first[1:]))
            self._driver.call(lambda: cursor.executescript(script), cursor.adbc_cancel)
        self._is_settled = True

    def commit(self, *, is_last: bool = False) -> None:
        """Commit. An interruption of a run's last commit comes too late: what is committed is done.

        Raises `DatabaseUnavailable` if the answer did not come: whether it committed is then unknown.
        """
        self._is_settled = False
        with self._translated():
            self._driver.call(self._connection.commit, finish=is_last)
        self._is_open = False

    def rollback(self) -> None:
        self._is_settled = False
        with self._translated():
            self._driver.call(self._connection.rollback)
        self._is_open = False

    @contextlib.contextmanager
    def second_connection(self) -> Iterator[Database]:
        """Another connection to the same database: to ask what became of the first."""
        with connect(self._uri) as second:
            yield second

    def take_lock(self, isolation: Isolation = "read committed", *, wait_seconds: float = 0) -> None:
        """Start a transaction that holds the run lock. Raises `AnotherRun` if somebody holds it beyond `wait_seconds`.

        It is a table lock. Only a role that may write in `fuel` can take it, and it ends with the transaction, so that
        nothing is left in a pooler's connection. It is taken before anything is read: a snapshot of REPEATABLE READ
        that is older than the lock would lack what the holder wrote. Each try is a transaction of its own, so that its
        now() comes after what the holder wrote.
        """
        self._around.demand_writable()
        deadline = time.monotonic() + wait_seconds
        while True:
            if isolation == "repeatable read":
                self._around.demand_every_row()
            try:
                self._begin(f"set transaction isolation level {isolation} read write", named_sql("take_lock"))
            except errors.LockTimeout:
                self.rollback()
            else:
                return
            if time.monotonic() >= deadline:
                holder = self.rows("lock_holder")
                self.rollback()
                if not holder and time.monotonic() < deadline + JUST_FREED:
                    continue
                said = f" (since {holder[0]['since']}, pid {holder[0]['pid']})" if holder else ""
                raise errors.AnotherRun(holder=said)
            time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))

    # -- statements -----------------------------------------------------------------------------------------------

    def table(self, name: str, *parameters: object) -> pa.Table:
        """The result of the named statement as an Arrow table. A statement without parameters streams."""
        statement = named_sql(name)
        with self._cursor() as cursor:

            def read() -> pa.Table:
                cursor.execute(statement, parameters or None)
                return cursor.fetch_arrow_table()

            return self._driver.call(read, cursor.adbc_cancel)

    def stream(self, name: str, take: Callable[[pa.RecordBatch], T]) -> list[T]:
        """What `take` makes of each batch of the named statement's result: for results too large to be held twice."""
        statement = named_sql(name)
        with self._cursor() as cursor:

            def read() -> list[T]:
                cursor.execute(statement)
                return [take(batch) for batch in cursor.fetch_record_batch()]

            return self._driver.call(read, cursor.adbc_cancel)

    def rows(self, name: str, *parameters: object) -> list[dict[str, Any]]:
        """The result of the named statement as dictionaries: for a handful of rows."""
        found: list[dict[str, Any]] = self.table(name, *parameters).to_pylist()
        return found

    def execute(self, name: str, *parameters: object) -> int:
        """Run the named statement; the number of rows it wrote (-1 if PostgreSQL does not say)."""
        with self._cursor() as cursor:
            self._driver.call(lambda: cursor.execute(named_sql(name), parameters or None), cursor.adbc_cancel)
            return int(cursor.rowcount)

    def script(self, text: str) -> None:
        """Run a migration's text: many statements, no parameters, in a fresh transaction that stays open."""
        self._around.demand_writable()
        self._begin("set transaction isolation level read committed read write", text)

    def ingest(self, table: str, stream: pa.RecordBatchReader) -> int:
        """COPY a stream into a temporary table of this transaction, which has to have exactly the stream's types.

        Returns the number of rows. The driver would read the stream to its end before it notices an interruption; so
        the stream ends itself.
        """
        failures: list[BaseException] = []

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                for batch in stream:
                    if self._driver.is_interrupted.is_set():
                        raise errors.Interrupted()
                    yield batch
            except BaseException as error:
                failures.append(error)
                raise

        guarded = pa.RecordBatchReader.from_batches(stream.schema, batches())
        with self._cursor() as cursor:

            def copy() -> int:
                try:
                    return int(cursor.adbc_ingest(table, guarded, mode="append", temporary=True))
                except adbc.Error as error:
                    raise (failures or [error])[0] from None

            return self._driver.call(copy, cursor.adbc_cancel)

    @contextlib.contextmanager
    def _cursor(self, *, settles: bool = True) -> Iterator[adbc.Cursor]:
        if settles and not self._is_settled:
            self._begin("set transaction isolation level read committed")
        with self._translated():
            self._is_open = True
            cursor = self._connection.cursor()
            try:
                yield cursor
            finally:
                if self._driver.answers:
                    self._driver.call(cursor.close)
                else:
                    left_open.append(cursor)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except adbc.Error as error:
            raise translate(error, self.target, is_interrupted=self._is_cancelled()) from error

    def _is_cancelled(self) -> bool:
        """Whether a person cancelled a statement: here, or at the server. If the server has a time limit, a statement
        that was not interrupted here ran into that."""
        return self._driver.is_interrupted.is_set() or not (self._surroundings and self._surroundings.has_time_limit)

    def _close(self) -> None:
        with contextlib.suppress(adbc.Error, errors.FleetfuelError):
            if self._driver.answers:
                self.rollback()
        with contextlib.suppress(adbc.Error):
            if self._driver.answers:
                self._driver.call(self._connection.close)
            else:
                left_open.append(self._connection)


@contextlib.contextmanager
def connect(uri: str, *, application_name: str = "fleetfuel") -> Iterator[Database]:
    """Connect. Raises `DatabaseUnavailable`, `PermissionDenied` or `ConfigurationError`, never with a password.

    No setting of the session is changed: with a pooler, it is shared with others.
    """
    parameters = _with_defaults(uri, application_name)
    driver = Driver()
    try:
        try:
            connection = driver.call(lambda: adbc.connect(write_url(parameters)))
        except adbc.Error as error:
            raise translate_refusal(error, parameters) from error
        database = Database(connection, driver, uri)
        try:
            database.look_around()
            yield database
        finally:
            database._close()
    finally:
        driver.end()
