"""A database, a bucket with a generated feed, and the command line run against them as its users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc

from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.sandbox.producer import Producer
from fleetfuel.sandbox.store import ObjectStore

COMMAND = [sys.executable, "-m", "fleetfuel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True, kw_only=True)
class Stage:
    """One operator's world: a folder to work in, settings in the environment, a feed that goes on when told to."""

    folder: Path
    url: str
    store: ObjectStore
    bucket: str = field(default_factory=lambda: f"fuel-{uuid.uuid4().hex[:8]}")
    producer: Producer = field(default_factory=Producer)
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with suppress(self.client().exceptions.BucketAlreadyOwnedByYou, self.client().exceptions.BucketAlreadyExists):
            self.client().create_bucket(Bucket=self.bucket)
        self.env = {
            "DATABASE_URL": self.url,
            "RUSTFS_ENDPOINT": self.store.endpoint,
            "RUSTFS_ACCESS_KEY": self.store.access_key,
            "RUSTFS_SECRET_KEY": self.store.secret_key,
            "RUSTFS_BUCKET": self.bucket,
            "COLUMNS": "88",
            **self.env,
        }

    def run(self, *arguments: str, **changed: str | None) -> Finished:
        """`fleetfuel …` in a process of its own; `changed` adds, replaces or (None) removes variables."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            check=False,
            cwd=self.folder,
            env=environment(self.env | changed),
            capture_output=True,
            text=True,
        )
        return Finished(code=done.returncode, out=done.stdout, err=done.stderr)

    def done(self, *arguments: str, **changed: str | None) -> Finished:
        """A run that has to end with 0."""
        finished = self.run(*arguments, **changed)
        assert finished.code == 0, finished
        return finished

    def shell(self, command: str) -> str:
        """What a shell says to a command of the README or of a "Next" line; it has to end with 0."""
        tools = self.folder / ".tools"
        tools.mkdir(exist_ok=True)
        (tools / "fleetfuel").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fleetfuel "$@"\n')
        (tools / "fleetfuel").chmod(0o755)
        given = environment(self.env)
        given["PATH"] = f"{tools}:{given['PATH']}"
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.folder, env=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done
        return done.stdout

    # --- the feed

    def put(self, item: tuple[str, bytes]) -> None:
        self.client().put_object(Bucket=self.bucket, Key=item[0], Body=item[1])

    def snapshot(self, **happened: int) -> None:
        """An hour passes in which this happened, and the export job writes the snapshot."""
        self.producer.advance(1, **(QUIET | happened))
        self.put(self.producer.snapshot())

    def changes(self, **happened: int) -> None:
        """An hour passes in which this happened, and the export job writes a change file."""
        self.producer.advance(1, **(QUIET | happened))
        self.put(self.producer.changes())

    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.store.endpoint,
            region_name=self.store.region,
            aws_access_key_id=self.store.access_key,
            aws_secret_access_key=self.store.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )

    # --- the database

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """What the database's owner gets for a statement, committed."""
        with adbc.connect(self.url, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            rows: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist() if cursor.description else []
            return rows


def create_database(server: PostgresServer, template: str) -> str:
    """A fresh copy of a database nobody is connected to; its name."""
    name = f"test_{uuid.uuid4().hex}"
    with adbc.connect(server.uri(), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.executescript(f"create database {name} template {template}")
    return name


QUIET = {"fills": 0, "edits": 0, "soft_deletes": 0, "hard_deletes": 0, "resends": 0}


def environment(given: Mapping[str, str | None]) -> dict[str, str]:
    """The process's own environment without what belongs to fleetfuel or a terminal, and `given`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return kept | {name: value for name, value in given.items() if value is not None}
