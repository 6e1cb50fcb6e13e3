"""The only door to PostgreSQL: connect, lock, run a named statement, ingest, and translate driver errors once.

Statements live in `table/sql/<room>.sql` and are called by name; values travel as bound parameters (`$1`, `$2`, …).
Facts about the driver (ADBC 1.13): only a statement without parameters streams; after an error only a rollback works;
`temporary=True` is needed to append to a temporary table; a wrong type of the same width is stored as garbage, so
the callers of `ingest` declare their streams with the types of the staging tables; the driver's Ctrl-C only cancels a
statement, and is lost where none is running, so the driver is called in a thread and the main thread waits for both.
"""

from __future__ import annotations

import contextlib
import queue
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, Final, Literal, TypeVar

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from fleetfuel import errors
from fleetfuel.table.statements import named_sql

Isolation = Literal["read committed", "repeatable read"]
T = TypeVar("T")

DEFAULTS: Final = (
    ("connect_timeout", "10"),
    # A server that vanished without a word is noticed within a minute or so, not after the kernel's two hours.
    ("keepalives_idle", "30"),
    ("keepalives_interval", "10"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "60000"),
)
"""libpq's settings where the URI names none."""

SETTINGS: Final = "set local search_path = pg_catalog, pg_temp"
"""First in every transaction: no statement finds anything in a schema that somebody else may create in. It ends with
the transaction, so that nothing of it is left in a pooler's connection."""

WAITING: Final = 1.0
"""Seconds waited for a call at a time: a signal that comes right before a wait begins is heard after it."""

LETTING_GO: Final = 10.0
"""Seconds that the driver gets to end a call that was interrupted."""


def describe(uri: str) -> str:
    """Host, port, database and user of a URI, never its password: what an error may say."""
    parts = urllib.parse.urlsplit(uri)
    user = urllib.parse.unquote(parts.username or "?")
    return f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path or '/'} as user {user}"


def _with_defaults(uri: str, application_name: str) -> str:
    """The URI with time-outs and our application name where it names none."""
    parts = urllib.parse.urlsplit(uri)
    given = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    names = {name for name, _ in given}
    extra = [(name, value) for name, value in (*DEFAULTS, ("application_name", application_name)) if name not in names]
    query = urllib.parse.urlencode(given + extra, quote_via=urllib.parse.quote)
    return urllib.parse.urlunsplit(parts._replace(query=query))


class _Driver:
    """The thread that calls the driver, one call after the other, so that Ctrl-C and SIGTERM act at once."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[futures.Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self.is_interrupted = threading.Event()
        self.answers = True
        """Not where a call that was interrupted does not end, nor after the end: what is open is then left as it is,
        for the end of the process. A generator that an interruption left half-way may ask as late as that."""
        self._cancelling: list[threading.Thread] = []
        threading.Thread(target=self._serve, name="fleetfuel-database", daemon=True).start()

    def call(self, call: Callable[[], T], cancel: Callable[[], None] | None = None, *, finish: bool = False) -> T:
        """The call's result. An interruption cancels it, waits until it has ended, and goes on its way.

        With `finish` a call that ends well after all is as good as never interrupted: its result is returned.
        """
        if not self.answers:
            raise errors.Interrupted()
        future: futures.Future[T] = futures.Future()
        self._calls.put((future, call))
        try:
            while not futures.wait([future], timeout=WAITING).done:
                pass
            return future.result()
        except BaseException as interruption:
            if future.done() and future.exception() is interruption:
                raise
            self.is_interrupted.set()
            if future.cancel():  # it has not begun, and will not
                raise
            if cancel and not future.done():
                cancelling = threading.Thread(target=_quietly(cancel), daemon=True)
                cancelling.start()
                self._cancelling.append(cancelling)
            self._await(future)
            if finish and future.done():
                return future.result()
            raise

    def _await(self, future: futures.Future[Any]) -> None:
        deadline = time.monotonic() + LETTING_GO
        while not future.done():
            if time.monotonic() > deadline:
                self.answers = False
                return
            with contextlib.suppress(KeyboardInterrupt, errors.Interruption):  # a second one changes nothing
                futures.wait([future], timeout=0.2)

    def end(self) -> None:
        self.answers = False
        self._calls.put(None)

    def _serve(self) -> None:
        while asked := self._calls.get():
            future, call = asked
            while self._cancelling:  # what is being cancelled must not be closed meanwhile: the driver would crash
                self._cancelling.pop().join()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # the waiting thread's to handle, whatever it is
                    future.set_exception(error)
            del asked, future, call


_left_open: Final[list[object]] = []
"""Kept, because the driver would crash where what it is working on is freed."""


def _quietly(call: Callable[[], None]) -> Callable[[], None]:
    def quiet() -> None:
        with contextlib.suppress(adbc.Error):
            call()

    return quiet


class Database:
    """One connection. Nothing is committed until `commit`; leaving the `connect` block rolls back what is open."""

    def __init__(self, connection: adbc.Connection, driver: _Driver, uri: str) -> None:
        self._connection = connection
        self._driver = driver
        self._uri = uri
        self._is_settled = False
        """Whether the open transaction has its settings."""
        self.target = describe(uri)

    # -- transactions ---------------------------------------------------------------------------------------------

    def begin(self, isolation: Isolation = "read committed", *, read_only: bool = False) -> None:
        """Start a fresh transaction (anything open is rolled back first)."""
        self.rollback()
        access = "read only" if read_only else "read write"
        with self._cursor() as cursor:
            statement = f"set transaction isolation level {isolation} {access}"
            self._driver.call(lambda: cursor.execute(statement), cursor.adbc_cancel)

    def commit(self, *, is_last: bool = False) -> None:
        """Commit. An interruption of a run's last commit comes too late: what is committed is done.

        Raises `DatabaseUnavailable` where the answer did not come: whether it committed is then unknown.
        """
        self._is_settled = False
        with self._translated():
            self._driver.call(self._connection.commit, finish=is_last)

    def rollback(self) -> None:
        self._is_settled = False
        with self._translated():
            self._driver.call(self._connection.rollback)

    @contextlib.contextmanager
    def second_connection(self) -> Iterator[Database]:
        """Another connection to the same database: to ask what became of the first."""
        with connect(self._uri) as second:
            yield second

    def take_lock(self, isolation: Isolation = "read committed", *, wait_seconds: float = 0) -> None:
        """Start a transaction that holds the run lock. Raises `AnotherRun` when it is held past `wait_seconds`.

        It is a table lock, which only who may write in `fuel` can take, and which ends with the transaction: nothing of
        it is left in a pooler's connection. It is taken before anything is read: a snapshot of REPEATABLE READ that is
        older than the lock would lack what the holder wrote. Each try is a transaction of its own, so that its now()
        comes after what the holder wrote.
        """
        deadline = time.monotonic() + wait_seconds
        while True:
            self.begin(isolation)
            try:
                self.execute("take_lock")
            except errors.LockTimeout:
                self.rollback()
            else:
                return
            if time.monotonic() >= deadline:
                holder = self.rows("lock_holder")
                self.rollback()
                said = f" (since {holder[0]['since']}, pid {holder[0]['pid']})" if holder else ""
                raise errors.AnotherRun(holder=said)
            time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))

    # -- statements -----------------------------------------------------------------------------------------------

    def table(self, name: str, *parameters: object) -> pa.Table:
        """The result of the named statement as an Arrow table; without parameters it is read as it streams in."""
        statement = named_sql(name)
        with self._cursor() as cursor:

            def read() -> pa.Table:
                cursor.execute(statement, parameters or None)
                return cursor.fetch_arrow_table()

            return self._driver.call(read, cursor.adbc_cancel)

    def stream(self, name: str, take: Callable[[pa.RecordBatch], T]) -> list[T]:
        """What `take` makes of each batch of the named statement's result: for what is not to be held twice."""
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
        """Run the named statement; the number of rows it wrote (-1 where PostgreSQL does not say)."""
        with self._cursor() as cursor:
            self._driver.call(lambda: cursor.execute(named_sql(name), parameters or None), cursor.adbc_cancel)
            return int(cursor.rowcount)

    def script(self, text: str) -> None:
        """Run a migration's text: many statements, no parameters, in a fresh transaction that stays open.

        The driver commits what is open before it runs a script; so what is open is rolled back first, as by `begin`.
        """
        self.rollback()
        with self._cursor() as cursor:
            self._driver.call(lambda: cursor.executescript(f"{SETTINGS};\n{text}"), cursor.adbc_cancel)

    def ingest(self, table: str, stream: pa.RecordBatchReader) -> int:
        """COPY a stream into a temporary table of this transaction, which has to have the stream's types exactly.

        The driver would read the stream to its end before it hears of an interruption; so the stream ends itself.
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
    def _cursor(self) -> Iterator[adbc.Cursor]:
        with self._translated():
            cursor = self._connection.cursor()
            try:
                if not self._is_settled:
                    self._driver.call(lambda: cursor.execute(SETTINGS), cursor.adbc_cancel)
                    self._is_settled = True
                yield cursor
            finally:
                if self._driver.answers:
                    self._driver.call(cursor.close)
                else:
                    _left_open.append(cursor)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except adbc.Error as error:
            raise translate(error, self.target) from error

    def _close(self) -> None:
        with contextlib.suppress(adbc.Error, errors.FleetfuelError):
            if self._driver.answers:
                self.rollback()
        with contextlib.suppress(adbc.Error):
            if self._driver.answers:
                self._driver.call(self._connection.close)
            else:
                _left_open.append(self._connection)


@contextlib.contextmanager
def connect(uri: str, *, application_name: str = "fleetfuel") -> Iterator[Database]:
    """Connect. Raises `DatabaseUnavailable` or `PermissionDenied`, with host and user, never a password.

    Where neither the URI nor the role sets a lock_timeout, the session gets one: a run by cron never waits for ever.
    """
    driver = _Driver()
    try:
        try:
            connection = driver.call(lambda: adbc.connect(_with_defaults(uri, application_name)))
        except adbc.Error as error:
            raise translate(error, describe(uri)) from error
        database = Database(connection, driver, uri)
        try:
            database.table("limit_lock_waits")
            database.commit()
            yield database
        finally:
            database._close()
    finally:
        driver.end()


class SerializationConflict(errors.WriteConflict):
    message = """Somebody else changed the same rows meanwhile ({reason}).
    Everything was rolled back. Repeat the command."""


def translate(error: adbc.Error, target: str) -> errors.FleetfuelError:
    """One driver error as one of ours. `reason` is the server's first line, without detail: details quote data."""
    state = str(getattr(error, "sqlstate", None) or "")
    reason = _first_line(error)
    if not state and re.search(
        r"authentication failed|pg_hba\.conf|no password supplied|role .* does not exist", reason
    ):
        state = "28000"  # the driver passes on no code of a connection that was refused
    match state:
        case "28P01" | "28000":
            return errors.PermissionDenied(
                what=f"The login to {target}", reason=reason, next_step="Check user and password in DATABASE_URL."
            )
        case "42501":
            return errors.PermissionDenied(
                what=f"A statement on {target}",
                reason=reason,
                next_step="Imports need the role fuel_ingest; migrate and prune need the schema's owner (README).",
            )
        case "40001" | "40P01" | "23505":
            return SerializationConflict(reason=reason)
        case "55P03":
            return errors.LockTimeout(reason=reason)
        case "57014" if "user request" in reason:
            return errors.Interrupted()
        case "3F000" | "42P01" | "42883" | "42703":
            return errors.SchemaNotReady(reason=reason)
        case "57P01" | "57P02" | "57P03" | "25P03" | "25P04":
            return errors.DatabaseInterrupted(reason=reason, target=target)
        case "" if re.search(_LOST, str(error)):
            return errors.DatabaseInterrupted(reason=reason, target=target)
        case "":
            return errors.DatabaseUnavailable(reason=reason, target=target)
    if state.startswith(("08", "3D", "53", "57", "25006", "58")) or "during recovery" in reason:
        return errors.DatabaseUnavailable(reason=reason, target=target)
    return errors.Bug(reason=f"PostgreSQL {state}: {reason}")


_LOST: Final = (
    "server closed the connection|no connection to the server|connection not open|terminating connection"
    "|could not (receive data from|send data to) server|SSL SYSCALL|SSL connection has been closed"
)
"""How libpq says that a connection was lost; it has no code for it."""


def _first_line(error: adbc.Error) -> str:
    """What happened, in one line: the server's own words, else the first of libpq's, which go on with advice."""
    text = str(error)
    found = re.search(r"(?:ERROR|FATAL|PANIC): +(.+)", text)
    line = found[1] if found else text.strip().splitlines()[0]
    return re.sub(r"^[A-Z_]+: (?:\[libpq\] )?(?:Failed to [\w ]+: )?", "", line).strip().rstrip(".")[:200]
