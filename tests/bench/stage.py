"""Where contenders run: a server of their own with a database for each run, the feed's files, and a bucket."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import adbc_driver_postgresql.dbapi as adbc

from fleetfuel.packaged import packaged
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import PostgresServer, postgres_server
from fleetfuel.sandbox.store import ObjectStore, object_store
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import apply_migrations, plan_migrations

from .measure import Measured, measure
from .snapshot import write_snapshot

SETTINGS: Final = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "fsync": "on",
    "full_page_writes": "on",
}
"""Of the server; all else is PostgreSQL's own default."""

CHANGED_SHARE: Final = 0.01

BUCKET: Final = "fuel"

ROOT: Final = Path(__file__).parents[2]

SETTINGS_OF_PROGRAM: Final = ("DATABASE_URL", "RUSTFS_", "FLEETFUEL_", "PYTHONDONTWRITEBYTECODE")
"""Not passed on: the contenders' own, and what would compile each of them anew, every time."""


class Stage:
    """One server, one folder; everything in both goes when the block ends."""

    def __init__(self, folder: Path, server: PostgresServer, stack: ExitStack, *, is_here: bool) -> None:
        self.folder = folder
        self.server = server
        self._stack = stack
        self._is_here = is_here
        self._store: ObjectStore | None = None
        self._databases = 0
        self._loaded: dict[int, str] = {}
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(SETTINGS_OF_PROGRAM)},
            "FLEETFUEL_REPORTS": str(folder / "reports"),
        }
        self.migrated = self.create("template1")
        with connect(server.uri(self.migrated)) as database:
            apply_migrations(database, plan_migrations(database, packaged("migrations")), load_rules())

    # -- files ---------------------------------------------------------------------------------------------------------

    def snapshot(self, size: int, *, changed: bool = False) -> Path:
        """A snapshot of so many records, made on first use; `changed`: the next one, 1 % of it changed."""
        path = self.folder / f"{size}{'-changed' if changed else ''}.json"
        if not path.exists():
            write_snapshot(path, records=size, changed_share=CHANGED_SHARE if changed else 0.0)
        return path

    def forget(self, size: int) -> None:
        """Give back the room that a size takes."""
        for path in self.folder.glob(f"{size}*.json"):
            path.unlink()
        if size in self._loaded:
            self._run(f"drop database {self._loaded.pop(size)}")

    # -- databases -----------------------------------------------------------------------------------------------------

    @contextmanager
    def database(self, template: str) -> Iterator[str]:
        """The URI of a copy of a database; the copy is dropped unless `adopt` took it."""
        name = self.create(template)
        try:
            yield self.server.uri(name)
        finally:
            if name not in self._loaded.values():
                self._run(f"drop database {name} with (force)")

    def loaded(self, size: int) -> str:
        """A database that holds the snapshot of so many records, loaded by fleetfuel itself."""
        if size not in self._loaded:
            with self.database(self.migrated) as uri:
                self.run([*import_file(self.snapshot(size))], uri, timeout=timeout_of(size))
                self.adopt(uri, size)
        return self._loaded[size]

    def adopt(self, uri: str, size: int) -> None:
        """Keep a database that was just loaded as the one that `loaded` gives, as it is after some hours."""
        if size in self._loaded:
            return
        with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.executescript("select fuel.refresh_fill_facts(1000000000)")
            cursor.executescript("vacuum (analyze)")
        self._loaded[size] = uri.rpartition("/")[2]

    def query(self, uri: str, statement: str) -> dict[str, Any]:
        """The only row of a statement."""
        with adbc.connect(uri) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            found: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
        return found[0]

    def create(self, template: str) -> str:
        """The name of a new copy of a database."""
        self._databases += 1
        name = f"bench_{self._databases}"
        self._run(f"create database {name} template {template} strategy = file_copy")
        return name

    def _run(self, statement: str) -> None:
        with adbc.connect(self.server.uri(), autocommit=True) as connection, connection.cursor() as cursor:
            cursor.executescript(statement)

    # -- the bucket ----------------------------------------------------------------------------------------------------

    def bucket(self, folder: str = "hour") -> Mapping[str, str]:
        """The settings of a bucket, made on first use, and of a folder in it."""
        if self._store is None:
            self._store = self._stack.enter_context(object_store())
            self._client().create_bucket(Bucket=BUCKET)
        return {
            "RUSTFS_ENDPOINT": self._store.endpoint,
            "RUSTFS_ACCESS_KEY": self._store.access_key,
            "RUSTFS_SECRET_KEY": self._store.secret_key,
            "RUSTFS_REGION": self._store.region,
            "RUSTFS_BUCKET": BUCKET,
            "RUSTFS_PREFIX": f"{folder}/",
        }

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write these objects into the bucket."""
        client = self._client()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda file: client.put_object(Bucket=BUCKET, Key=file[0], Body=file[1]), files.items()))

    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        assert self._store is not None
        return boto3.client(
            "s3",
            endpoint_url=self._store.endpoint,
            region_name=self._store.region,
            aws_access_key_id=self._store.access_key,
            aws_secret_access_key=self._store.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )

    # -- runs ----------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def python(self) -> Path:
        """The Python of an environment with what fleetfuel needs and nothing else, compiled, as it is installed: if
        Hypothesis is at hand, Pandera imports it. Or the one that runs this, if the stage is to measure there."""
        if self._is_here:
            return Path(sys.executable)
        folder = self.folder / "installed"
        subprocess.run(
            ["uv", "sync", "--quiet", "--no-default-groups", "--compile-bytecode", "--python", sys.executable],
            cwd=ROOT,
            env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(folder)},
            check=True,
        )
        return folder / "bin" / "python"

    def python_with(self, *requirements: str) -> Path:
        """The Python of an environment of its own that holds these packages, made on first use."""
        folder = self.folder / re.sub(r"\W+", "-", " ".join(requirements))
        python = folder / "bin" / "python"
        if not python.exists():
            subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, folder], check=True)
            subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, *requirements], check=True)
        return python

    def run(
        self,
        command: Sequence[str],
        uri: str,
        *,
        timeout: float,
        settings: Mapping[str, str] | None = None,
        python: Path | None = None,
    ) -> Measured:
        """Run a command of Python, `{uri}` in it being the database's. Raises `ContenderFailed`."""
        shutil.rmtree(self.folder / "reports", ignore_errors=True)
        self._run("checkpoint")
        return measure(
            [str(python or self.python), *(word.replace("{uri}", uri) for word in command)],
            environment={**self.environment, **(settings or {}), "DATABASE_URL": uri},
            folder=self.folder,
            timeout=timeout,
            server=self.server.pid,
        )


def import_file(path: Path) -> tuple[str, ...]:
    return ("-m", "fleetfuel", "import", "--file", str(path), "--as", "snapshot", "--apply", "--json")


def timeout_of(size: int) -> float:
    """Seconds after which a run over so many records is hopeless."""
    return 300 + size * 0.002


@contextmanager
def open_stage(*, is_here: bool = False) -> Iterator[Stage]:
    """`is_here`: contenders run in the environment of this program, not in one that is made for them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleetfuel-bench-")))
        server = stack.enter_context(postgres_server(settings=SETTINGS))
        yield Stage(folder, server, stack, is_here=is_here)
